/*
 * api.c: /api/v1: which request is whose, and what its parts share (see hub/openapi.json).
 * opamphub-store.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config_files.h"
#include "static.h"
#include "web_inside.h"
#include "yaml_problems.h"
#include "wire/wire.h"

#define PREFIX   "/api/v1/"
#define SEGMENTS 6

int
api_number(const char *text, uint64_t *n)
{
	char *end;

	*n = 0;
	if (text == NULL || text[0] < '0' || text[0] > '9' || strlen(text) > 19)
		return -1;
	*n = strtoull(text, &end, 10);
	return *end == '\0' ? 0 : -1;
}

json_t *
api_text(struct bytes b)
{
	return b.data == NULL ? json_null() : json_stringn(b.data, b.len);
}

json_t *
api_time(uint64_t unix_ns)
{
	time_t s = (time_t)(unix_ns / 1000000000);
	char day[32], text[48];
	struct tm tm;

	if (unix_ns == 0 || gmtime_r(&s, &tm) == NULL)
		return json_null();
	(void)strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(text, sizeof(text), "%s.%03uZ", day, (unsigned)(unix_ns / 1000000 % 1000));
	return json_string(text);
}

json_t *
api_hex(struct bytes b)
{
	char *text = malloc(2 * b.len + 1);
	json_t *j;

	if (b.data == NULL || text == NULL) {
		free(text);
		return json_null();
	}
	hex_text(text, (const uint8_t *)b.data, b.len);
	j = json_string(text);
	free(text);
	return j;
}

struct bytes
api_author(const struct web_request *q)
{
	return q->author[0] == '\0' ? (struct bytes){"local", 5}
				    : (struct bytes){q->author, strlen(q->author)};
}

struct bytes
api_member(const json_t *body, const char *name)
{
	const json_t *t = json_object_get(body, name);

	return (struct bytes){json_string_value(t), json_string_length(t)};
}

/* ---- POST /check */

static int
is_yaml(const char *type)
{
	return type == NULL || type[0] == '\0' || strstr(type, "yaml") != NULL;
}

void
api_check(struct web_request *q)
{
	json_t *body = web_body(q), *files, *file, *problems = json_array();
	const char *name;
	struct error err;

	if (body == NULL) {
		json_decref(problems);
		return;
	}
	files = json_object_get(body, "files");
	if (config_files_check(files, &err) == -1) {
		web_fault(q, 422, "%s", err.text);
		json_decref(problems);
		json_decref(body);
		return;
	}
	json_object_foreach(files, name,
	    file) if (is_yaml(json_string_value(json_object_get(file, "content_type"))))
	    yaml_problems(problems, name, json_string_value(json_object_get(file, "body")),
		json_string_length(json_object_get(file, "body")));
	json_decref(body);
	web_json(q, 200, json_pack("{s:o}", "problems", problems));
}

/* ---- the rest */

static int
other(struct web_request *q, char **part, size_t count)
{
	if (count == 1 && strcmp(part[0], "openapi.json") == 0 && q->method == METHOD_GET)
		web_reply(q, 200, "application/json", hub_openapi, hub_openapi_size);
	else if (count == 1 && strcmp(part[0], "session") == 0 && q->method == METHOD_POST)
		web_session(q);
	else if (count == 1 && strcmp(part[0], "check") == 0 && q->method == METHOD_POST)
		api_check(q);
	else if (count == 1 && strcmp(part[0], "stream") == 0 && q->method == METHOD_GET)
		stream_begin(q);
	else
		return 0;
	return 1;
}

void
api_request(struct web_request *q)
{
	char path[WEB_PATH], *part[SEGMENTS], *next, *save = NULL;
	size_t count = 0;
	int done = 0;

	if (strcmp(q->path, "/metrics") == 0 && q->method == METHOD_GET) {
		metrics_reply(q);
		return;
	}
	if (strncmp(q->path, PREFIX, sizeof(PREFIX) - 1) != 0) {
		web_fault(q, 404, "there is no %s", q->path);
		return;
	}
	(void)snprintf(path, sizeof(path), "%s", q->path + sizeof(PREFIX) - 1);
	(void)store_failed(fleet_store(q->web->fleet)); /* of what was before it is no fault */
	for (next = strtok_r(path, "/", &save); next != NULL && count < SEGMENTS;
	     next = strtok_r(NULL, "/", &save))
		part[count++] = next;
	if (count > 0 && next == NULL) {
		if (strcmp(part[0], "agents") == 0 || strcmp(part[0], "events") == 0 ||
		    strcmp(part[0], "attributes") == 0)
			done = api_agents(q, part, count);
		else if (strcmp(part[0], "configurations") == 0 || strcmp(part[0], "versions") == 0)
			done = api_configurations(q, part, count);
		else if (strcmp(part[0], "assignments") == 0)
			done = api_assignments(q, part, count);
		else if (strcmp(part[0], "settings-offers") == 0)
			done = api_settings(q, part, count);
		else
			done = other(q, part, count);
	}
	if (!done)
		web_fault(q, 404, "the API has nothing at %s with this method", q->path);
}
