/*
 * fuzz_yaml.c: what a server and an operator may write, through load, merge, emit and both checks.
 * Three things must hold: whatever compose_run accepts, compose_check accepts; the Collector,
 * played here by its own search and replace, never looks up what no list permits; and no remote file
 * that is accepted has an anchor or an alias, as libyaml sees it.
 * Input: up to three files with a line "%%%%" between them: a remote one, a local one, and a
 * second remote one.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "confd/compose.h"
#include "privsep/limits.h"

#define CUT   "\n%%%%\n"
#define PARTS 3
#define ROOM  4096
#define TURNS 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a listed expansion may yield: the worst an operator's value could be without being one. */
static const char *const values[] = {"", "$", "x$", "{", "}", "word"};

/* Cuts the text to len and puts `with` in for every `what`, as strings.ReplaceAll does. */
static int
replace_all(char *text, const char *what, const char *with)
{
	char out[ROOM];
	size_t n = 0, what_len = strlen(what), with_len = strlen(with);
	const char *p = text;

	while (*p != '\0') {
		if (n + with_len + 2 > sizeof(out))
			return -1;
		if (strncmp(p, what, what_len) == 0) {
			memcpy(out + n, with, with_len);
			n += with_len;
			p += what_len;
		} else {
			out[n++] = *p++;
		}
	}
	out[n] = '\0';
	memcpy(text, out, n + 1);
	return 0;
}

/* confmap/expand.go: findURI.  1 with the URI, braces included, in uri. */
static int
find_uri(const char *text, char uri[ROOM])
{
	const char *from = text, *end, *open, *p;
	size_t dollars;

	while ((end = strchr(from, '}')) != NULL) {
		open = NULL;
		for (p = from; p + 1 <= end; p++)
			if (p[0] == '$' && p[1] == '{')
				open = p;
		if (open == NULL) {
			from = end + 1;
			continue;
		}
		/* the Collector counts from the start of what is left */
		for (dollars = 0, p = open; p > from && p[-1] == '$'; p--)
			dollars++;
		if (dollars % 2 == 1)
			return 0;
		memcpy(uri, open, (size_t)(end - open) + 1);
		uri[end - open + 1] = '\0';
		return 1;
	}
	return 0;
}

static int
permitted(const struct compose_input *in, const char *uri)
{
	char name[ROOM + 8];
	size_t len = strlen(uri) - 3;

	(void)snprintf(name, sizeof(name), "%s%.*s",
	    memchr(uri + 2, ':', len) == NULL ? "env:" : "", (int)len, uri + 2);
	return expansion_listed(&in->allowed, name);
}

static void
play_collector(const struct compose_input *in, const char *text, const char *value)
{
	char now[ROOM], uri[ROOM];
	int turn;

	if (strlen(text) >= sizeof(now))
		return;
	memcpy(now, text, strlen(text) + 1);
	for (turn = 0; turn < TURNS && find_uri(now, uri); turn++) {
		if (!permitted(in, uri))
			abort();
		/* a text that is nothing but one expansion becomes the operator's value */
		if (strcmp(uri, now) == 0 || replace_all(now, uri, value) == -1)
			return;
	}
}

static void
each_text(const struct compose_input *in, const struct yaml_node *n)
{
	size_t i, k;

	for (i = 0; n->kind == YAML_MAP && i < n->count; i++)
		each_text(in, n->pairs[i].value);
	for (i = 0; n->kind == YAML_SEQ && i < n->count; i++)
		each_text(in, n->items[i]);
	for (k = 0; n->kind == YAML_SCALAR && k < sizeof(values) / sizeof(values[0]); k++)
		play_collector(in, n->value, values[k]);
}

static int
has_alias(const struct offer_part *body)
{
	yaml_parser_t p;
	yaml_event_t e;
	int found = 0, end = 0;

	if (!yaml_parser_initialize(&p))
		abort();
	yaml_parser_set_input_string(&p, (const unsigned char *)body->data, body->len);
	while (!end && yaml_parser_parse(&p, &e)) {
		found |=
		    e.type == YAML_ALIAS_EVENT ||
		    (e.type == YAML_SCALAR_EVENT && e.data.scalar.anchor != NULL) ||
		    (e.type == YAML_SEQUENCE_START_EVENT && e.data.sequence_start.anchor != NULL) ||
		    (e.type == YAML_MAPPING_START_EVENT && e.data.mapping_start.anchor != NULL);
		end = e.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&e);
	}
	yaml_parser_delete(&p);
	return end && found;
}

static void
run(const struct compose_input *in)
{
	size_t i;

	struct compose_result out;
	struct yaml_tree tree = {0};
	struct error err;

	if (compose_run(in, &out, &err) == -1) {
		if (err.text[0] == '\0' || out.data != NULL)
			abort();
		return;
	}
	for (i = 0; i < in->remote->count; i++)
		if (has_alias(&in->remote->files[i].body))
			abort();
	if (compose_check(in, out.data, out.len, &err) == -1) {
		fprintf(stderr, "%s\n%.*s\n", err.text, (int)out.len, out.data);
		abort();
	}
	if (tree_load(&tree, "result", out.data, out.len, YAML_REMOTE, &err) == -1)
		abort();
	if (in->local_count == 0)
		each_text(in, tree.root);
	tree_free(&tree);
	free(out.data);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const order[] = {"local.yaml", "$REMOTE_CONFIG"};
	static const struct compose_attribute attributes[] = {
	    {"service.instance.id", "id"}, {"host.name", "a$b"}};
	struct compose_file local = {"local.yaml", "", 0};
	struct offer_file files[2] = {{{"", 0}, {"", 0}, {"", 0}}, {{"b", 1}, {"", 0}, {"", 0}}};
	struct offer remote = {.count = 1, .files = files};
	struct compose_input in = {.inject = 1,
	    .uid_text = "0190a5b4-6d8e-7c3f-9a1b-2c3d4e5f6071",
	    .port = 4320,
	    .noop = NOOP_PIPELINE,
	    .attributes = attributes,
	    .attribute_count = 2,
	    .order = order + 1,
	    .order_count = 1,
	    .local = &local,
	    .remote = &remote};
	const char *part[PARTS] = {(const char *)data}, *cut, *end = (const char *)data + size;
	size_t len[PARTS] = {size}, n = 1;

	while (n < PARTS && (cut = memmem(part[n - 1], len[n - 1], CUT, strlen(CUT))) != NULL) {
		len[n - 1] = (size_t)(cut - part[n - 1]);
		part[n] = cut + strlen(CUT);
		len[n] = (size_t)(end - part[n]);
		n++;
	}
	files[0].body = (struct offer_part){part[0], len[0]};
	if (n > 1) {
		local.data = part[1];
		local.len = len[1];
		in.order = order;
		in.order_count = 2;
		in.local_count = len[1] > 0; /* an empty one stands for none */
		if (in.local_count == 0) {
			in.order = order + 1;
			in.order_count = 1;
		}
	}
	if (n > 2) {
		files[1].body = (struct offer_part){part[2], len[2]};
		remote.count = 2;
	}
	if (expansion_add(&in.allowed, "env:OK", 6) == -1 ||
	    expansion_add(&in.allowed, "file:/etc/otel/*", 16) == -1)
		abort();
	run(&in);
	in.inject = 0;
	run(&in);
	expansion_list_free(&in.allowed);
	return 0;
}
