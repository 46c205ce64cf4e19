/*
 * ctl.h: opampctl's verbs.  opampctl only.
 * A verb asks, writes through the writer, and returns an exit status; its errors go through ctl_fail.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include "client.h"
#include "privsep/sandbox.h"
#include "writer.h"

struct ctl {
	const char *socket_path;
	int json;
	struct writer *w;
	int silent; /* the verb has printed what there is: the writer is not asked */
	/* options of verbs */
	int follow;
	long lines;       /* -n; -1 = not given */
	struct error err; /* filled when a verb does not return CTL_OK; may be empty */
};

struct verb {
	const char *name;
	const char *args;    /* for the usage line; "" = none */
	const char *options; /* getopt's, beside j and s */
	const char *words;   /* what completion offers for the first argument; NULL = nothing */
	const char *help;    /* NULL = not listed */
	int most;            /* arguments */
	enum ctl_exit (*run)(struct ctl *c, int argc, char **argv);
};

extern const struct verb ctl_verbs[]; /* ends with name NULL */

/* Asks; on failure c->err is filled. */
enum ctl_exit ctl_ask(
    struct ctl *c, enum control_verb verb, uint32_t argument, uint64_t number, struct reply *reply);

/* "17" or "0".."9" only: 0, or -1 with c->err filled. */
int ctl_number(struct ctl *c, const char *text, uint64_t *value);

/* sandbox_policy.c: what is declared for a process (or the agent); NULL: there is none of that name. */
const struct policy *sandbox_policy(const char *name);
void sandbox_show(struct ctl *c, const char *name);

enum ctl_exit verb_status(struct ctl *c, int argc, char **argv);
enum ctl_exit verb_health(struct ctl *c, int argc, char **argv);
enum ctl_exit verb_history(struct ctl *c, int argc, char **argv);
enum ctl_exit verb_config(struct ctl *c, int argc, char **argv);
enum ctl_exit verb_log(struct ctl *c, int argc, char **argv);
enum ctl_exit verb_restart(struct ctl *c, int argc, char **argv);
enum ctl_exit verb_reload(struct ctl *c, int argc, char **argv);
enum ctl_exit verb_sandbox(struct ctl *c, int argc, char **argv);
enum ctl_exit verb_version(struct ctl *c, int argc, char **argv);
enum ctl_exit verb_completion(struct ctl *c, int argc, char **argv);

#endif
