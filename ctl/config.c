/*
 * config.c: `opampctl config` and `opampctl history`: what the agent runs, what the server sent, what was
 * tried.  opampctl only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "diff.h"
#include "privsep/offer.h"
#include "words.h"

/* ---- the rows of the history */

struct generation {
	uint64_t number, source, outcome, made, ended;
	struct record_entry hash, message;
};

/* The next row; *pos starts at 0. */
static int
next_row(const struct record *r, size_t *pos, struct generation *g)
{
	struct record_entry e;
	size_t at;
	uint64_t value;

	if (!record_next(r, pos, CK_ROW, &e))
		return 0;
	memset(g, 0, sizeof(*g));
	for (at = *pos; record_next(r, &at, 0, &e) && e.key != CK_ROW; *pos = at) {
		value = 0;
		if (e.len == sizeof(value))
			memcpy(&value, e.value, sizeof(value));
		if (e.key == CK_GENERATION)
			g->number = value;
		else if (e.key == CK_SOURCE)
			g->source = value;
		else if (e.key == CK_OUTCOME)
			g->outcome = value;
		else if (e.key == CK_MADE)
			g->made = value;
		else if (e.key == CK_ENDED)
			g->ended = value;
		else if (e.key == CK_CONFIG_HASH)
			g->hash = e;
		else if (e.key == CK_CONFIG_MESSAGE)
			g->message = e;
	}
	return 1;
}

static const char *
mark(const struct record *r, uint64_t number)
{
	if (number == record_u64(r, CK_TRIAL, 0))
		return "on trial";
	if (number == record_u64(r, CK_RUNNING, 0))
		return "running";
	return number == record_u64(r, CK_COMMITTED, 0) ? "committed" : NULL;
}

enum ctl_exit
verb_history(struct ctl *c, int argc, char **argv)
{
	static const char *const columns[] = {
	    "generation", "now", "made", "source", "outcome", "hash", "error", NULL};
	struct generation g;
	struct reply reply;
	size_t pos = 0;
	enum ctl_exit status;

	(void)argc;
	(void)argv;
	if (c->lines == 0) { /* what is asked for by 0 would be all of them */
		(void)error_set(&c->err, "history -n 0: a number from 1; without -n all are shown");
		return CTL_USAGE;
	}
	status = ctl_ask(c, CONTROL_HISTORY, 0, c->lines > 0 ? (uint64_t)c->lines : 0, &reply);
	if (status != CTL_OK)
		return status;
	out_table(c->w, "generations", columns);
	while (next_row(&reply.record, &pos, &g)) {
		out_row(c->w);
		out_number(c->w, "generation", g.number);
		out_string(c->w, "now", mark(&reply.record, g.number));
		out_time(c->w, "made", g.made);
		out_string(c->w, "source", word_source(g.source));
		out_string(c->w, "outcome", word_outcome(g.outcome));
		if (g.hash.len > 0)
			out_hex(
			    c->w, "hash", g.hash.value, c->json || g.hash.len < 6 ? g.hash.len : 6);
		if (g.message.len > 0)
			out_bytes(c->w, "error", g.message.value, g.message.len);
	}
	out_end(c->w);
	reply_free(&reply);
	return CTL_OK;
}

/* ---- bodies */

/* Into a file or a pipe as it is; on a terminal what could steer it is escaped. */
static enum ctl_exit
print_body(struct ctl *c, const char *text, size_t len)
{
	char *escaped = NULL;
	int bad;

	if (isatty(1)) {
		escaped = escape_lines(text, len);
		if (escaped == NULL) {
			(void)error_set(&c->err, "no memory");
			return CTL_FAILED;
		}
		text = escaped;
		len = strlen(escaped);
	}
	bad = fwrite(text, 1, len, stdout) != len;
	if (isatty(1) && len > 0 && text[len - 1] != '\n')
		bad |= fputc('\n', stdout) == EOF;
	free(escaped);
	if (bad) {
		(void)error_errno(&c->err, "writing");
		return CTL_FAILED;
	}
	return CTL_OK;
}

static enum ctl_exit
ask_text(struct ctl *c, uint64_t number, struct reply *reply, struct record_entry *text)
{
	enum ctl_exit status = ctl_ask(c, CONTROL_CONFIG, CONTROL_CONFIG_EFFECTIVE, number, reply);

	if (status != CTL_OK || record_find(&reply->record, CK_TEXT, text))
		return status;
	reply_free(reply);
	(void)error_set(&c->err, "nothing runs yet: there is no configuration to show");
	return CTL_FAILED;
}

static enum ctl_exit
show_effective(struct ctl *c, uint64_t number)
{
	struct record_entry text;
	struct reply reply;
	enum ctl_exit status = ask_text(c, number, &reply, &text);

	if (status != CTL_OK)
		return status;
	if (c->json)
		out_bytes(c->w, "effective", text.value, text.len);
	else
		status = print_body(c, text.value, text.len);
	reply_free(&reply);
	return status;
}

static void
remote_as_json(struct ctl *c, const struct offer *o)
{
	static const char *const columns[] = {"name", "content_type", "body", NULL};
	uint32_t i;

	out_hex(c->w, "hash", o->hash.data, o->hash.len);
	out_table(c->w, "files", columns);
	for (i = 0; i < o->count; i++) {
		out_row(c->w);
		out_bytes(c->w, "name", o->files[i].name.data, o->files[i].name.len);
		out_bytes(c->w, "content_type", o->files[i].type.data, o->files[i].type.len);
		out_bytes(c->w, "body", o->files[i].body.data, o->files[i].body.len);
	}
	out_end(c->w);
}

/* One file is printed as it is; of several each has its name before it, in YAML's comments. */
static enum ctl_exit
remote_as_text(struct ctl *c, const struct offer *o)
{
	enum ctl_exit status = CTL_OK;
	uint32_t i;
	char *name;

	if (o->count == 0)
		out_note(c->w, "the server sent an empty map: nothing is to run");
	for (i = 0; i < o->count && status == CTL_OK; i++) {
		name = escape_lines(o->files[i].name.data, o->files[i].name.len);
		if (o->count > 1)
			printf("%s# ---- %s\n", i > 0 ? "\n" : "", name == NULL ? "" : name);
		free(name);
		status = print_body(c, o->files[i].body.data, o->files[i].body.len);
	}
	return status;
}

static enum ctl_exit
show_remote(struct ctl *c, uint64_t number)
{
	struct record_entry e;
	struct offer offer;
	struct reply reply;
	enum ctl_exit status = ctl_ask(c, CONTROL_CONFIG, CONTROL_CONFIG_REMOTE, number, &reply);

	if (status != CTL_OK)
		return status;
	if (!record_find(&reply.record, CK_OFFER, &e)) {
		(void)(number == 0 ? error_set(&c->err, "the server has sent no configuration")
				   : error_set(&c->err,
					 "generation %llu was made without one of the server's: "
					 "opampctl history says where each is from",
					 (unsigned long long)number));
		status = CTL_FAILED;
	} else if (offer_open(&offer, e.value, e.len, LIMIT_MEMFD, &c->err) == -1) {
		status = CTL_FAILED;
	} else {
		if (c->json)
			remote_as_json(c, &offer);
		else
			status = remote_as_text(c, &offer);
		offer_close(&offer);
	}
	reply_free(&reply);
	return status;
}

/* ---- the difference */

/*
 * Without numbers: what is on trial against what is committed; without a trial, what is committed against
 * the one committed before it.
 */
static enum ctl_exit
choose(struct ctl *c, uint64_t *from, uint64_t *to)
{
	struct generation g;
	struct reply reply;
	size_t pos = 0;
	uint64_t committed, trial;
	enum ctl_exit status = ctl_ask(c, CONTROL_HISTORY, 0, 0, &reply);

	if (status != CTL_OK)
		return status;
	committed = record_u64(&reply.record, CK_COMMITTED, 0);
	trial = record_u64(&reply.record, CK_TRIAL, 0);
	*from = trial != 0 ? committed : 0;
	*to = trial != 0 ? trial : committed;
	while (trial == 0 && next_row(&reply.record, &pos, &g))
		if (g.number < committed && g.number > *from && g.outcome == 1)
			*from = g.number; /* 1 = committed */
	reply_free(&reply);
	if (*from != 0 && *to != 0)
		return CTL_OK;
	(void)error_set(&c->err, "there is no earlier configuration to compare with");
	return CTL_FAILED;
}

static enum ctl_exit
show_diff(struct ctl *c, uint64_t from, uint64_t to)
{
	struct reply ra, rb;
	struct record_entry a, b;
	char a_name[64], b_name[64], *text;
	enum ctl_exit status = ask_text(c, from, &ra, &a);

	if (status != CTL_OK)
		return status;
	status = ask_text(c, to, &rb, &b);
	if (status != CTL_OK) {
		reply_free(&ra);
		return status;
	}
	(void)snprintf(a_name, sizeof(a_name), "generation %llu", (unsigned long long)from);
	if (to != 0)
		(void)snprintf(b_name, sizeof(b_name), "generation %llu", (unsigned long long)to);
	else
		(void)snprintf(b_name, sizeof(b_name), "running");
	text = diff_unified(a.value, a.len, a_name, b.value, b.len, b_name, &c->err);
	if (text == NULL)
		status = CTL_FAILED;
	else if (c->json)
		out_string(c->w, "diff", text);
	else if (text[0] == '\0')
		out_note(c->w, "%s and %s are the same", a_name, b_name);
	else
		status = print_body(c, text, strlen(text));
	free(text);
	reply_free(&ra);
	reply_free(&rb);
	return status;
}

enum ctl_exit
verb_config(struct ctl *c, int argc, char **argv)
{
	uint64_t numbers[2] = {0, 0};
	const char *what = argc > 0 ? argv[0] : "effective";
	int i;
	enum ctl_exit status;

	for (i = 1; i < argc; i++)
		if (ctl_number(c, argv[i], &numbers[i - 1]) == -1)
			return CTL_USAGE;
	if (strcmp(what, "effective") == 0 && argc <= 2)
		return show_effective(c, numbers[0]);
	if (strcmp(what, "remote") == 0 && argc <= 2)
		return show_remote(c, numbers[0]);
	if (strcmp(what, "diff") == 0) {
		if (argc > 1)
			return show_diff(c, numbers[0], numbers[1]);
		status = choose(c, &numbers[0], &numbers[1]);
		return status == CTL_OK ? show_diff(c, numbers[0], numbers[1]) : status;
	}
	(void)error_set(&c->err,
	    "config %s: effective [number], remote [number] or diff [number [number]] belongs "
	    "there",
	    what);
	return CTL_USAGE;
}
