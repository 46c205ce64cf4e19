/*
 * merge.c: main of opampd-merge, the one-shot that alone reads YAML: the settings at start, a
 * configuration to compose, or one to judge once more.  It reads what it was handed, hands one
 * answer back and ends.  It never sees a file, a network or a secret that outlives it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "compose.h"
#include "merge_params.h"
#include "privsep/child.h"
#include "privsep/log.h"
#include "privsep/memfd.h"
#include "settings_read.h"

struct input {
	int fd;
	char *data;
	size_t len;
	struct memfd_view view; /* of large ones */
};

struct merge {
	struct child child;
	struct input settings, passwd, group, environment, remote, parameters, emitted;
	struct input local[LIMIT_CONFIG_FILES];
	size_t local_count;
};

static int
take_file(void *ctx, struct message *m)
{
	struct merge *me = ctx;
	const struct msg_file *f = m->payload;
	struct input *in = NULL;

	if (m->type != MSG_CHILD_FILE)
		return -1;
	switch (f->kind) {
	case FILE_SETTINGS:
		in = &me->settings;
		break;
	case FILE_PASSWD:
		in = &me->passwd;
		break;
	case FILE_GROUP:
		in = &me->group;
		break;
	case FILE_ENVIRONMENT:
		in = &me->environment;
		break;
	case FILE_REMOTE:
		in = &me->remote;
		break;
	case FILE_PARAMETERS:
		in = &me->parameters;
		break;
	case FILE_EMITTED:
		in = &me->emitted;
		break;
	case FILE_LOCAL:
		if (f->index >= LIMIT_CONFIG_FILES || f->index != me->local_count)
			return -1;
		in = &me->local[me->local_count++];
		break;
	default:
		return -1;
	}
	if (in->fd >= 0)
		return -1;
	in->fd = message_take_fd(m);
	return 0;
}

static void
answer(struct merge *me, uint32_t status, const void *data, size_t len)
{
	struct msg_merge a = {.kind = me->child.start.merge_kind, .status = status};

	child_send_blob(&me->child, PROC_PARENT, MSG_MERGE_ANSWER, &a, NULL, 0, data, len);
	child_exit(&me->child, 0);
}

static void
refuse(struct merge *me, const char *text)
{
	answer(me, MERGE_REFUSED, text, strlen(text));
}

static int
load(struct input *in, size_t limit, struct error *err)
{
	if (in->fd < 0) {
		in->data = calloc(1, 1);
		in->len = 0;
		return in->data == NULL ? error_set(err, "no memory") : 0;
	}
	return file_read(in->fd, limit, &in->data, &in->len, err);
}

/* The same for what another process of ours made, which may be large. */
static int
view(struct input *in, size_t limit, struct error *err)
{
	int fd = in->fd;

	if (fd < 0)
		return load(in, limit, err);
	in->fd = -1;
	if (memfd_view(fd, limit, &in->view, err) == -1)
		return -1;
	in->data = in->view.data;
	in->len = in->view.len;
	return 0;
}

/* ---- the settings */

static const char *
environment_value(const char *environment, const char *name)
{
	size_t len = strlen(name);
	const char *e;

	for (e = environment; *e != '\0'; e += strlen(e) + 1)
		if (strncmp(e, name, len) == 0 && e[len] == '=')
			return e + len + 1;
	return NULL;
}

static void
send_section(struct merge *me, struct settings_reader *r, uint32_t proc)
{
	struct msg_section section = {.proc = proc};
	struct error err;
	int fd = record_finish_memfd(&r->sections[proc], "settings", &err);

	if (fd == -1)
		fatal("%s", err.text);
	child_send(&me->child, PROC_PARENT, MSG_MERGE_SECTION, &section, NULL, 0, fd);
}

static void
refuse_settings(struct merge *me, struct settings_reader *r)
{
	char *text = calloc(1, SETTINGS_ERRORS * (sizeof(r->problems[0].text) + 1) + 1), *p = text;
	size_t i;

	if (text == NULL) {
		refuse(me, "no memory for the list of problems");
		return;
	}
	for (i = 0; i < r->problem_count; i++)
		p = stpcpy(stpcpy(p, r->problems[i].text), "\n");
	/* what could be read: the parent looks whether the files are there, to tell all in one run */
	if ((me->child.start.flags & CHILD_CHECK_ONLY) != 0 && r->parsed)
		send_section(me, r, PROC_PARENT);
	refuse(me, text);
}

static void
read_settings(struct merge *me)
{
	struct settings_reader *r = calloc(1, sizeof(*r));
	struct record_writer warnings = {0};
	struct error err;
	char *data;
	size_t len;
	uint32_t i;

	if (r == NULL || load(&me->settings, LIMIT_SETTINGS_FILE, &err) == -1)
		fatal("reading the settings: %s", r == NULL ? "no memory" : err.text);
	r->file = environment_value(me->environment.data, "OPAMPD_SETTINGS_NAME");
	if (r->file == NULL)
		r->file = "opampd.yaml";
	r->environment = me->environment.data;
	r->cwd = environment_value(me->environment.data, "PWD");
	r->users.wanted = (me->child.start.flags & CHILD_UNPRIVILEGED) == 0;
	r->users.passwd = me->passwd.data;
	r->users.group = me->group.data;
	if (settings_read(r, me->settings.data, me->settings.len) == -1)
		refuse_settings(me, r);
	for (i = PROC_PARENT; i < PROC_COUNT; i++)
		send_section(me, r, i);
	if (r->warnings[0] != '\0')
		record_put_string(&warnings, RESULT_WARNING, r->warnings);
	if (record_finish(&warnings, &data, &len, &err) == -1)
		fatal("%s", err.text);
	answer(me, MERGE_DONE_OK, data, len);
}

/* ---- a configuration */

static int
read_parameters(
    struct merge *me, struct compose_input *in, struct record *params, struct error *err)
{
	struct compose_attribute *attributes;
	struct record_entry e;
	const char **order;
	size_t pos = 0, n = 0, k = 0;

	if (load(&me->parameters, LIMIT_SETTINGS_RECORD, err) == -1 ||
	    record_open(params, me->parameters.data, me->parameters.len, err) == -1)
		return -1;
	attributes = calloc(params->count + 1, sizeof(*attributes));
	order = calloc(params->count + 1, sizeof(*order));
	in->attributes = attributes; /* all that is in `in` lives as long as the process */
	in->order = order;
	if (attributes == NULL || order == NULL)
		return error_set(err, "no memory");
	while (record_next(params, &pos, 0, &e)) {
		const char *nul = memchr(e.value, '\0', e.len);

		if (e.key == PARAM_ORDER) {
			order[n] = strndup(e.value, e.len);
			if (order[n++] == NULL)
				return error_set(err, "no memory");
		} else if (e.key == PARAM_ALLOW) {
			if (expansion_add(&in->allowed, e.value, e.len) == -1)
				return error_set(err, "no memory");
		} else if (e.key == PARAM_ATTRIBUTE && nul != NULL) {
			attributes[k].name = strndup(e.value, e.len);
			attributes[k].value = strndup(nul + 1, e.len - (size_t)(nul - e.value) - 1);
			if (attributes[k].name == NULL || attributes[k++].value == NULL)
				return error_set(err, "no memory");
		}
	}
	in->uid_text = record_string(params, PARAM_UID_TEXT);
	in->port = (unsigned)record_u64(params, PARAM_PORT, 0);
	in->noop = (enum noop_form)record_u64(params, PARAM_NOOP, NOOP_NONE);
	in->inject = record_u64(params, PARAM_INJECT, 0) != 0;
	in->attribute_count = k;
	in->order_count = n;
	if (in->inject && in->uid_text == NULL)
		return error_set(err, "no instance uid among the parameters");
	return 0;
}

static int
read_local(struct merge *me, struct compose_input *in, struct error *err)
{
	struct compose_file *files = calloc(me->local_count + 1, sizeof(*files));
	size_t i, k = 0;

	in->local = files;
	if (files == NULL)
		return error_set(err, "no memory");
	for (i = 0; i < me->local_count; i++)
		if (load(&me->local[i], LIMIT_CONFIG_BYTES, err) == -1)
			return error_prefix(err, "local configuration file %zu", i + 1);
	for (i = 0; i < in->order_count && k < me->local_count; i++)
		if (in->order[i][0] != '$') {
			files[k] = (struct compose_file){
			    in->order[i], me->local[k].data, me->local[k].len};
			k++;
		}
	in->local_count = k;
	return 0;
}

static void
run_compose(struct merge *me, const struct compose_input *in)
{
	struct record_writer w = {0};
	struct compose_result out;
	struct error err;
	char *data;
	size_t len;

	if (compose_run(in, &out, &err) == -1)
		refuse(me, err.text);
	record_put(&w, RESULT_EFFECTIVE, 0, 0, out.data, out.len);
	record_put_u64(&w, RESULT_SUM, out.sum);
	free(out.data);
	if (out.warning[0] != '\0')
		record_put_string(&w, RESULT_WARNING, out.warning);
	if (record_finish(&w, &data, &len, &err) == -1)
		refuse(me, err.text);
	answer(me, MERGE_DONE_OK, data, len);
}

static void
run_check(struct merge *me, struct compose_input *in)
{
	struct record_entry e;
	struct record result;
	struct error err;

	if (view(&me->emitted, LIMIT_MEMFD, &err) == -1 ||
	    record_open(&result, me->emitted.data, me->emitted.len, &err) == -1)
		refuse(me, err.text);
	if (!record_find(&result, RESULT_EFFECTIVE, &e) || e.len > LIMIT_YAML_OUTPUT)
		refuse(me, "there is no configuration to check");
	in->sum = record_u64(&result, RESULT_SUM, 0);
	if (in->sum == 0 && e.len > COMPOSE_READ_BACK)
		refuse(me, "it is not known what the configuration should be");
	if (compose_check(in, e.value, e.len, &err) == -1)
		refuse(me, err.text);
	answer(me, MERGE_DONE_OK, "", 0);
}

static void
configuration(struct merge *me)
{
	struct compose_input in = {0};
	struct record params;
	struct offer offer;
	struct error err;

	if (read_parameters(me, &in, &params, &err) == -1 || read_local(me, &in, &err) == -1)
		refuse(me, err.text);
	if (me->remote.fd >= 0) {
		if (view(&me->remote, LIMIT_MEMFD, &err) == -1 ||
		    offer_open(&offer, me->remote.data, me->remote.len,
			(size_t)record_u64(&params, PARAM_CONFIG_LIMIT, LIMIT_CONFIG_BYTES),
			&err) == -1)
			refuse(me, err.text);
		in.remote = &offer;
	}
	if (me->child.start.merge_kind == MERGE_COMPOSE)
		run_compose(me, &in);
	else
		run_check(me, &in);
}

/* ---- start */

static const struct child_handlers handlers = {.message = take_file};

/* The first merge finds out itself whom to become: the parent reads no files. */
static void
find_own_user(struct merge *me)
{
	struct error err;

	if (load(&me->passwd, LIMIT_SETTINGS_FILE * 8, &err) == -1 ||
	    load(&me->group, LIMIT_SETTINGS_FILE * 8, &err) == -1 ||
	    load(&me->environment, LIMIT_SETTINGS_FILE, &err) == -1)
		fatal("reading users and environment: %s", err.text);
	if ((me->child.start.flags & CHILD_UNPRIVILEGED) != 0 || me->child.start.uid != 0)
		return;
	if (settings_user(
		me->passwd.data, "_opampd_merge", &me->child.start.uid, &me->child.start.gid) == -1)
		refuse(me,
		    "there is no user _opampd_merge (opampd needs seven users of its own when root "
		    "starts it); `make users` in the source makes them, or for each of _opampd_net "
		    "_opampd_link _opampd_conf _opampd_proc _opampd_dns _opampd_merge "
		    "_opampd_agent: "
		    "useradd --system --user-group --no-create-home --home-dir /nonexistent "
		    "--shell /usr/sbin/nologin NAME");
}

int
main(void)
{
	static struct merge me;
	struct rlimit cpu = {LIMIT_MERGE_SECONDS, LIMIT_MERGE_SECONDS};
	size_t i;

	me.settings.fd = me.passwd.fd = me.group.fd = me.environment.fd = -1;
	me.remote.fd = me.parameters.fd = me.emitted.fd = -1;
	for (i = 0; i < LIMIT_CONFIG_FILES; i++)
		me.local[i].fd = -1;
	child_begin(&me.child, &policy_merge, &handlers, &me);
	if (me.child.start.merge_kind == MERGE_SETTINGS)
		find_own_user(&me);
	(void)setrlimit(RLIMIT_CPU, &cpu);
	child_sandbox(&me.child);
	switch (me.child.start.merge_kind) {
	case MERGE_SETTINGS:
		read_settings(&me);
		break;
	case MERGE_COMPOSE:
	case MERGE_CHECK:
		configuration(&me);
		break;
	default:
		fatal("no such kind of merge");
	}
	return 1;
}
