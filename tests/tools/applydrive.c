/*
 * applydrive.c: confd's whole apply transaction (confd/apply.h over the real store), killed at each of its
 * system calls, with the power lost there, and with that call failing; then the next start, cold or
 * beside the agent that still runs.  What must come of it: the agent runs the old configuration or the
 * new one, whole; the server is told the truth and is never left with APPLYING; the next offer works.
 * procd, merge and the agent's check are played here.  Prints TAP.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "confd/apply.h"
#include "confd/merge_params.h"
#include "image.h"
#include "privsep/log.h"
#include "privsep/offer.h"
#include "privsep/record.h"
#include "stepper.h"

#define NAME "effective.yaml"
#define BAD  "bad" /* a configuration that the agent dies of */

enum deed_result {
	DEED_NOT_OPENED,
	DEED_WRONG
};

struct agent { /* procd and the agent: they outlive confd, so this is in shared memory */
	uint32_t start;
	struct msg_state proc;
};

struct world {
	struct apply a;
	struct store *store;
	uint64_t now, timers[APPLY_TIMERS];
	int merge_due, job_due, run_due, stop_due;
	uint32_t merge_job, merge_kind;
	char text[64]; /* what merge will answer */
	struct msg_run run;
	struct msg_job job;
};

static struct msg_environment env;
static struct agent *agent;
static char top[PATH_MAX], place[PATH_MAX + 16];
static char why[512];

#define WANT(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			(void)snprintf(why, sizeof(why), "%s:%d: %s", __func__, __LINE__, #x);     \
			return -1;                                                                 \
		}                                                                                  \
	} while (0)

/* ---- the neighbours */

static void
do_merge(
    void *ctx, uint32_t job, uint32_t kind, struct apply_bytes *remote, struct apply_bytes *emitted)
{
	struct world *w = ctx;
	struct offer o = {0};

	(void)emitted;
	w->merge_due = 1;
	w->merge_job = job;
	w->merge_kind = kind;
	if (kind != MERGE_COMPOSE)
		return;
	(void)snprintf(w->text, sizeof(w->text), "local");
	if (remote != NULL &&
	    offer_open(&o, remote->data, remote->len, LIMIT_CONFIG_BYTES, NULL) == 0 && o.count > 0)
		(void)snprintf(w->text, sizeof(w->text), "%.*s", (int)o.files[0].body.len,
		    o.files[0].body.data);
	offer_close(&o);
}

static void
do_run(void *ctx, const struct msg_run *m)
{
	struct world *w = ctx;

	w->run = *m;
	w->run_due = 1;
	w->stop_due = 0;
}

static void
do_stop(void *ctx, const struct msg_run *m)
{
	struct world *w = ctx;

	w->run = *m;
	w->stop_due = 1;
	w->run_due = 0;
}

static void
do_job(void *ctx, const struct msg_job *m)
{
	struct world *w = ctx;

	w->job = *m;
	w->job_due = 1;
}

static void
do_nothing(void *ctx)
{
	(void)ctx;
}

static void
do_baseline(void *ctx, uint32_t start)
{
	(void)ctx;
	(void)start;
}

static void
do_effective(void *ctx, const char *text, size_t len)
{
	(void)ctx;
	(void)text;
	(void)len;
}

static void
do_timer(void *ctx, enum apply_timer t, uint64_t ms)
{
	struct world *w = ctx;

	w->timers[t] = ms == 0 ? 0 : w->now + ms;
}

static uint64_t
do_now_ms(void *ctx)
{
	return ((struct world *)ctx)->now;
}

static uint64_t
do_now_ns(void *ctx)
{
	return ((struct world *)ctx)->now * 1000000;
}

static const struct apply_ops ops = {.merge = do_merge,
    .run = do_run,
    .stop = do_stop,
    .job = do_job,
    .status = do_nothing,
    .baseline = do_baseline,
    .effective = do_effective,
    .changed = do_nothing,
    .timer = do_timer,
    .now_ms = do_now_ms,
    .now_ns = do_now_ns};

/* What the agent finds when it reads its configuration; "" = no file, or not a whole one. */
static void
agents_text(const char *path, char text[64])
{
	char file[PATH_MAX + 64];
	ssize_t n;
	int fd;

	(void)snprintf(file, sizeof(file), "%s/agent/%s", path, NAME);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	n = fd == -1 ? 0 : TEMP_FAILURE_RETRY(read(fd, text, 63));
	text[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
}

static void
answer_merge(struct world *w)
{
	struct msg_merge m = {w->merge_job, w->merge_kind, MERGE_DONE_OK, 0};
	struct record_writer r = {0};
	char *data = NULL;
	size_t len = 0;

	w->merge_due = 0;
	record_put(&r, RESULT_EFFECTIVE, 0, 0, w->text, strlen(w->text));
	if (record_finish(&r, &data, &len, NULL) == -1)
		errx(1, "no memory");
	apply_merged(&w->a, &m, &(struct apply_bytes){.data = data, .len = len});
}

static void
answer_run(struct world *w)
{
	char text[64];
	int stays = w->run.how == RUN_ENSURE && agent->proc.state == AGENT_RUNNING &&
		    agent->proc.generation == w->run.generation;

	w->run_due = 0;
	agents_text(place, text);
	if (!stays) {
		agent->proc = (struct msg_state){.state = AGENT_RUNNING,
		    .start = ++agent->start,
		    .pid = 1,
		    .generation = w->run.generation,
		    .started_ns = w->now};
		if (strcmp(text, BAD) == 0 || text[0] == '\0')
			agent->proc = (struct msg_state){.state = AGENT_BACKOFF,
			    .generation = w->run.generation,
			    .exit = EXIT_CODE,
			    .value = 1,
			    .exit_start = agent->start};
	}
	agent->proc.token = w->run.token;
	(void)apply_proc_state(&w->a, &agent->proc);
}

/* Until nothing is left to happen; time passes as fast as it can. */
static void
quiesce(struct world *w)
{
	struct msg_job_done done = {.start = 900, .kind = AGENT_VALIDATE, .exit = EXIT_CODE};
	int t, next, turns;

	for (turns = 0; turns < 1000; turns++) {
		if (w->merge_due) {
			answer_merge(w);
		} else if (w->job_due) {
			w->job_due = 0;
			done.token = w->job.token;
			(void)apply_job_done(&w->a, &done);
		} else if (w->run_due) {
			answer_run(w);
		} else if (w->stop_due) {
			w->stop_due = 0;
			agent->proc =
			    (struct msg_state){.state = AGENT_STOPPED, .token = w->run.token};
			(void)apply_proc_state(&w->a, &agent->proc);
		} else {
			for (next = -1, t = 0; t < APPLY_TIMERS; t++)
				if (w->timers[t] != 0 && t != APPLY_TIMER_AGAIN &&
				    (next == -1 || w->timers[t] < w->timers[next]))
					next = t;
			if (next == -1)
				return;
			if (w->timers[next] > w->now)
				w->now = w->timers[next];
			w->timers[next] = 0;
			apply_timeout(&w->a, (enum apply_timer)next);
		}
	}
}

static int
begin(struct world *w, const char *path)
{
	static const struct apply_settings set = {.accepts = 1,
	    .has_local = 1,
	    .validates = 1,
	    .timeout_ms = 30000,
	    .settling_ms = 2000,
	    .stop_ms = 1000,
	    .keep = 3,
	    .config_limit = LIMIT_CONFIG_BYTES,
	    .offers_per_minute = 1000,
	    .restarts_per_minute = 10};
	struct error error;
	char told[1024];
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	memset(w, 0, sizeof(*w));
	w->now = 1000000;
	w->store = dir == -1 ? NULL : store_open(dir, NAME, &env, told, &error);
	if (w->store == NULL)
		return -1;
	apply_init(&w->a, &ops, w, &set, w->store, "01890000-0000-7000-8000-000000000001");
	apply_procd_up(&w->a);
	(void)apply_proc_state(&w->a, &agent->proc);
	return 0;
}

static void
end(struct world *w)
{
	apply_free(&w->a);
	store_close(w->store);
}

static void
offer(struct world *w, const char *name)
{
	struct offer_file f = {{"", 0}, {"", 0}, {name, strlen(name)}};
	struct offer o = {.hash = {name, strlen(name)}, .count = 1, .files = &f};
	char *data;
	size_t len;

	if (strcmp(name, "stop") == 0) {
		o.count = 0;
		o.empty_map = 1;
	}
	if (offer_pack(&o, LIMIT_CONFIG_BYTES, &data, &len, NULL) == -1)
		errx(1, "no memory");
	apply_offer(&w->a, &(struct apply_bytes){.data = data, .len = len});
}

/* ---- deeds */

struct scenario {
	const char *name;
	const char *before; /* offers applied before, separated by spaces */
	const char *offers; /* what the deed offers */
};

static const struct scenario scenarios[] = {
    {"a first start", "", ""},
    {"a first start and its first offer", "", "two"},
    {"an apply", "one", "two"},
    {"an apply that is rolled back", "one", BAD},
    {"a first offer that is rolled back", "", BAD},
    {"a rollback, then an apply", "one", BAD " two"},
    {"the fifth apply, with pruning", "one two three four", "five"},
    {"the same text under another hash, then an empty map", "one", "stop"},
};

static void
offer_all(struct world *w, const char *names)
{
	char name[64];
	int n;

	while (sscanf(names, "%63s%n", name, &n) == 1) {
		offer(w, name);
		quiesce(w);
		names += n;
	}
}

/* The truth: what runs is what is committed, whole, and the server knows how its last offer ended. */
static int
truth(struct world *w, const char *path, int broken)
{
	char text[64], *data = NULL;
	size_t len = 0;
	uint64_t home;

	WANT(w->a.phase == APPLY_IDLE);
	WANT(w->a.told.status != CONFIG_APPLYING);
	WANT(w->a.switched == 0 || broken); /* it says so, and tries again */
	home = w->a.committed != 0 ? w->a.committed : w->a.base;
	if (home == 0) {
		WANT(broken || agent->proc.state != AGENT_RUNNING);
		return 0;
	}
	agents_text(path, text);
	WANT(store_generation_effective(w->store, home, &data, &len, NULL) == 0 || broken);
	WANT(data == NULL || (broken && (text[0] == '\0' || w->a.switched)) ||
	     (len == strlen(text) && memcmp(data, text, len) == 0));
	free(data);
	if (broken)
		return 0;
	WANT(agent->proc.state == AGENT_RUNNING);
	WANT(strcmp(text, BAD) != 0);
	if (w->a.told.status == CONFIG_APPLIED)
		WANT(w->a.told.hash.len == strlen(text) || strcmp(text, "local") == 0);
	return 0;
}

static const struct scenario *doing;
static int errors_come; /* calls fail: not everything can be read back */

#define DEED_TOLD 16 /* beyond this: what the server was told last */

static int
deed(void *arg)
{
	static struct world w;
	int good, status;

	if (begin(&w, arg) == -1)
		return DEED_NOT_OPENED;
	quiesce(&w);
	offer_all(&w, doing->offers);
	good = truth(&w, arg, errors_come) == 0;
	status = (int)w.a.told.status;
	end(&w);
	return good ? DEED_TOLD + status : DEED_WRONG;
}

/* ---- the next start */

static int
look(const char *path, const struct agent *was, int cold)
{
	static struct world w;
	char text[64];
	int r;

	*agent = *was;
	if (cold)
		agent->proc = (struct msg_state){.state = AGENT_STOPPED};
	(void)snprintf(place, sizeof(place), "%s", path);
	WANT(begin(&w, path) == 0);
	quiesce(&w);
	r = truth(&w, path, 0);
	if (r == 0) {
		w.now += 3600000;
		offer(&w, "last");
		quiesce(&w);
		r = truth(&w, path, 0);
	}
	if (r == 0) {
		agents_text(path, text);
		WANT(w.a.told.status == CONFIG_APPLIED && strcmp(text, "last") == 0);
	}
	end(&w);
	return r;
}

/* ---- all points */

static unsigned tests, failures, all_points;

static void
report(const char *how, unsigned points, int good, unsigned at)
{
	printf("%s %u - I8 CF-07 %s: %s, %u points\n", good ? "ok" : "not ok", ++tests, doing->name,
	    how, points);
	all_points += points;
	if (!good) {
		failures++;
		printf("# at %u: %s\n", at, why);
	}
	fflush(stdout);
}

static void
remove_all(const char *path)
{
	char below[PATH_MAX];
	struct dirent *e;
	DIR *d = opendir(path);

	while (d != NULL && (e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    snprintf(below, sizeof(below), "%s/%s", path, e->d_name) < (int)sizeof(below) &&
		    unlink(below) == -1)
			remove_all(below);
	if (d != NULL)
		closedir(d);
	(void)rmdir(path);
}

static void
on_synced(void *ctx, int fd)
{
	image_synced(ctx, fd);
}

static int
look_at(const struct image *durable, const struct image *now, enum image_loss names,
    enum image_loss bytes, const struct agent *was, int cold)
{
	char other[PATH_MAX + 16], back[PATH_MAX + 16];
	int r;

	(void)snprintf(other, sizeof(other), "%s/other", top);
	(void)snprintf(back, sizeof(back), "%s", place);
	image_make(durable, now, names, bytes, other);
	r = look(other, was, cold);
	(void)snprintf(place, sizeof(place), "%s", back);
	remove_all(other);
	return r;
}

/* Each is some times slower under the sanitizers, which look for other things: a part of them then. */
#ifdef OPAMPD_SANITIZED
#define STRIDE 11
#define EACH   "at every eleventh system call"
#else
#define STRIDE 1
#define EACH   "at each system call"
#endif

static void
kill_everywhere(const struct image *before, const struct agent *then)
{
	static const enum image_loss losses[][2] = {
	    {LOSS_ALL, LOSS_ALL}, {LOSS_ALL, LOSS_TORN}, {LOSS_NONE, LOSS_TORN}};
	unsigned at, i, kills = 0, lost = 0;
	int result, good = 1;

	errors_come = 0;
	for (at = 1; good; at += STRIDE) {
		struct step s = {.kill_at = at, .synced = on_synced};
		struct image *durable, *now;
		struct agent was;

		image_make(before, before, LOSS_NONE, LOSS_NONE, place);
		durable = image_of(place);
		s.ctx = durable;
		*agent = *then;
		result = step_run(&s, deed, place);
		was = *agent;
		now = image_of(place);
		if (result != STEP_KILLED && result < DEED_TOLD) {
			(void)snprintf(why, sizeof(why), "the deed came to %d", result);
			good = 0;
		}
		/* confd alone died; or everything did; or the power went */
		good = good && look_at(now, now, LOSS_NONE, LOSS_NONE, &was, 0) == 0 &&
		       look_at(now, now, LOSS_NONE, LOSS_NONE, &was, 1) == 0;
		kills += 2;
		for (i = 0; good && i < sizeof(losses) / sizeof(losses[0]); i++, lost++)
			good = look_at(durable, now, losses[i][0], losses[i][1], &was, 1) == 0;
		image_free(now);
		image_free(durable);
		remove_all(place);
		if (!s.reached)
			break;
	}
	report("killed, or power lost, " EACH, kills + lost, good, at);
}

static void
fail_everywhere(const struct image *before, const struct agent *then, int error, int onwards)
{
	unsigned at, points = 0;
	int result, good = 1;
	char how[64];

	errors_come = 1;
	for (at = 1; good; at += STRIDE) {
		struct step s = {.fail_at = at, .error = error, .onwards = onwards};
		struct image *now;
		struct agent was;

		image_make(before, before, LOSS_NONE, LOSS_NONE, place);
		*agent = *then;
		result = step_run(&s, deed, place);
		was = *agent;
		now = image_of(place);
		if (result < DEED_TOLD && result != DEED_NOT_OPENED) {
			(void)snprintf(why, sizeof(why), "the deed came to %d", result);
			good = 0;
		}
		good = good && look_at(now, now, LOSS_NONE, LOSS_NONE, &was, 0) == 0 &&
		       look_at(now, now, LOSS_NONE, LOSS_NONE, &was, 1) == 0;
		image_free(now);
		remove_all(place);
		if (!s.reached)
			break;
		points++;
	}
	(void)snprintf(how, sizeof(how), "%s " EACH " %s", strerrorname_np(error),
	    onwards ? "and from there on" : "once");
	report(how, points, good, at);
}

/* Interrupted, or half done: nobody notices, and the server hears the same. */
static void
hinder_everywhere(const struct image *before, const struct agent *then, int shorter)
{
	unsigned at, points = 0;
	int result, undisturbed = -1, good = 1;

	errors_come = 0;
	for (at = 0; good; at += STRIDE) { /* at 0: undisturbed */
		struct step s = {.error = EINTR};

		*(shorter ? &s.short_at : &s.fail_at) = at;
		image_make(before, before, LOSS_NONE, LOSS_NONE, place);
		*agent = *then;
		result = step_run(&s, deed, place);
		if (at == 0)
			undisturbed = result;
		remove_all(place);
		if (result != undisturbed || result < DEED_TOLD) {
			(void)snprintf(why + strlen(why), sizeof(why) - strlen(why),
			    " the deed came to %d, undisturbed %d", result, undisturbed);
			good = 0;
		}
		if (at > 0 && !s.reached)
			break;
		points++;
	}
	report(shorter ? "each read and write by half, " EACH ", unnoticed"
		       : "EINTR " EACH ", unnoticed",
	    points, good, at);
}

static struct image *
prepare(struct agent *then)
{
	static struct world w;
	struct image *made;

	memset(agent, 0, sizeof(*agent));
	agent->proc.state = AGENT_STOPPED;
	if (mkdir(place, 0711) == -1)
		err(1, "%s", place);
	if (doing->before[0] != '\0') {
		if (begin(&w, place) == -1)
			errx(1, "the store cannot be made");
		quiesce(&w);
		offer_all(&w, doing->before);
		end(&w);
	}
	*then = *agent;
	made = image_of(place);
	remove_all(place);
	return made;
}

int
main(void)
{
	static const int errors[] = {EIO, ENOSPC, EROFS, EMFILE};
	const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
	size_t i, e;

	log_init("confd", LOG_SINK_STDERR, LOG_LEVEL_ERROR);
	agent =
	    mmap(NULL, sizeof(*agent), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (agent == MAP_FAILED || freopen("/dev/null", "w", stderr) == NULL)
		err(1, "starting");
	env.agent_gid = getegid();
	(void)snprintf(top, sizeof(top), "%s/applydrive-XXXXXX", where == NULL ? "/tmp" : where);
	if (mkdtemp(top) == NULL)
		err(1, "%s", top);
	(void)snprintf(place, sizeof(place), "%s/state", top);
	(void)umask(0);
	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		struct agent then;
		struct image *before;

		doing = &scenarios[i];
		before = prepare(&then);
		kill_everywhere(before, &then);
		for (e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
			fail_everywhere(before, &then, errors[e], 0);
			fail_everywhere(before, &then, errors[e], 1);
		}
		hinder_everywhere(before, &then, 0);
		hinder_everywhere(before, &then, 1);
		image_free(before);
	}
	remove_all(top);
	printf("# %u points were tried\n1..%u\n", all_points, tests);
	return failures != 0;
}
