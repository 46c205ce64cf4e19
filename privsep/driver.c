/*
 * driver.c: the agents' command lines (see driver.h).  The parent only.
 */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const none[] = {NULL};
static const char *const collector_run[] = {
    "--config", "${config}", "--config", "${secret}", "${gate}", "${args}", NULL};
static const char *const collector_validate[] = {
    "validate", "--config", "${config}", "--config", "${secret}", "${gate}", "${args}", NULL};
static const char *const collector_probe[] = {"featuregate", "service.AllowNoPipelines", NULL};
static const char *const generic_run[] = {"${args}", NULL};
static const char *const generic_validate[] = {"${validate_args}", NULL};

static const struct driver drivers[] = {
    {"collector", 1, collector_run, collector_validate, collector_probe},
    {"generic", 0, generic_run, generic_validate, none},
};

const struct driver *
driver_of(const struct settings *s)
{
	uint64_t type = settings_u64(s, SET_AGENT_TYPE);

	return &drivers[type < sizeof(drivers) / sizeof(drivers[0]) ? type : 0];
}

struct arguments {
	char **argv;
	size_t count;
	int failed;
};

/* The first ${config} in text is replaced. */
static char *
with_config(const char *text, size_t len, const char *config)
{
	static const char mark[] = "${config}";
	const char *at = memmem(text, len, mark, sizeof(mark) - 1);
	char *out;

	if (at == NULL)
		return strndup(text, len);
	if (asprintf(&out, "%.*s%s%.*s", (int)(at - text), text, config,
		(int)(len - (size_t)(at - text) - sizeof(mark) + 1), at + sizeof(mark) - 1) == -1)
		return NULL;
	return out;
}

static void
add(struct arguments *a, const char *text, size_t len, const char *config)
{
	char *copy = a->count < DRIVER_ARGS ? with_config(text, len, config) : NULL;

	if (copy == NULL)
		a->failed = 1;
	else
		a->argv[a->count++] = copy;
}

static void
add_list(struct arguments *a, const struct settings *s, enum setting key, const char *config)
{
	struct record_entry e;
	size_t pos = 0;

	while (settings_next(s, &pos, key, &e))
		add(a, e.value, e.len, config);
}

char **
driver_argv(const struct driver *d, const struct settings *s, uint32_t kind, uint32_t flags,
    const char *run_path, const char *candidate_path, struct error *err)
{
	const char *const *t = kind == AGENT_RUN        ? d->run
			       : kind == AGENT_VALIDATE ? d->validate
							: d->probe;
	const char *config = kind == AGENT_VALIDATE ? candidate_path : run_path;
	struct arguments a = {.argv = calloc(DRIVER_ARGS + 1, sizeof(char *))};
	char secret[40], *executable = settings_string(s, SET_EXECUTABLE);

	if (a.argv == NULL || executable == NULL) {
		free(executable);
		free(a.argv);
		error_set(err, "no memory for the agent's arguments");
		return NULL;
	}
	(void)snprintf(secret, sizeof(secret), "file:/proc/self/fd/%d", DRIVER_SECRET_FD);
	a.argv[a.count++] = executable;
	for (; *t != NULL; t++) {
		if (strcmp(*t, "${secret}") == 0)
			add(&a, secret, strlen(secret), config);
		else if (strcmp(*t, "${args}") == 0)
			add_list(&a, s, SET_ARGS, config);
		else if (strcmp(*t, "${validate_args}") == 0)
			add_list(&a, s, SET_VALIDATE_ARGS, config);
		else if (strcmp(*t, "${gate}") != 0)
			add(&a, *t, strlen(*t), config);
		else if ((flags & AGENT_NO_PIPELINES_GATE) != 0)
			add(&a, "--feature-gates=service.AllowNoPipelines", 40, config);
	}
	if (a.failed) {
		driver_free(a.argv);
		error_set(err, "the agent has more than %d arguments, or no memory", DRIVER_ARGS);
		return NULL;
	}
	return a.argv;
}

void
driver_free(char **argv)
{
	size_t i;

	for (i = 0; argv != NULL && argv[i] != NULL; i++)
		free(argv[i]);
	free(argv);
}
