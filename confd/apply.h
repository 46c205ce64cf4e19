/*
 * apply.h: the apply transaction: which configuration the agent runs, which one is on trial, what the
 * server is told of it (design: "The life of a remote configuration").  confd only.
 * A state machine without descriptors or clocks of its own, so that tests can drive it; what is on
 * disk goes through store.h.  It never looks into a configuration.
 *
 * One attempt at a time:
 *
 *	compose -> check -> the agent's own validation -> generation on disk, trial in the record
 *	    -> the agent runs on it -> gate -> commit
 *
 * and from anywhere back to the last committed one.  Before the agent was switched there is nothing
 * to go back from.  `base` is what runs while nothing was ever committed: put together from local
 * files, committed once it has proved itself, never a reason to stop.
 */
#ifndef CONFD_APPLY_H
#define CONFD_APPLY_H

#include "privsep/child.h"
#include "privsep/memfd.h"
#include "store.h"

#define APPLY_WORDS_MS    2000  /* the agent's last words come after its end, or not at all */
#define APPLY_SETTLE_BACK 5000  /* beyond agent.stop_timeout: to run again after a rollback */
#define APPLY_RETRY_MS    30000 /* a hash that failed for a passing reason; doubles ... */
#define APPLY_RETRY_MAX   600000
#define APPLY_AGAIN_MS    1000 /* local files that cannot be put together; doubles up to ... */
#define APPLY_AGAIN_MAX   60000
#define APPLY_LINKS       12 /* so often a trial's time begins anew because link did */
#define APPLY_TRIALS      3 /* of ours alone that failed in the agent: then only a change is a reason */

enum apply_phase {
	APPLY_WAITING, /* for procd's word on what runs already */
	APPLY_PROBE,   /* the agent's program is asked what it can do */
	APPLY_IDLE,
	APPLY_COMPOSE,
	APPLY_CHECK,
	APPLY_VALIDATE,
	APPLY_WORDS, /* validation said no: its last words are on their way */
	APPLY_GATE,
	APPLY_ROLLBACK, /* the old one is to run again before FAILED is told */
	APPLY_STOPPING, /* an empty map: APPLIED is told when the agent has ended */
};

enum apply_timer {
	APPLY_TIMER_GATE,   /* config_apply_timeout */
	APPLY_TIMER_SETTLE, /* healthy for settling_time */
	APPLY_TIMER_WORDS,
	APPLY_TIMER_BACK, /* a rollback or stop has had its time */
	APPLY_TIMER_RATE, /* the next offer may be taken */
	APPLY_TIMER_AGAIN,
	APPLY_TIMERS
};

struct apply_settings {
	int injects;   /* Collectors: the opamp extension, hence the link; no-op pipeline */
	int raw;       /* the server's one file as it is */
	int has_local; /* agent.config_files names a file */
	int accepts;   /* capabilities.accepts_remote_config */
	int weak;      /* remote configuration is refused: the agent could read our state */
	int validates, hup, probes, accepts_restart;
	uint64_t timeout_ms, settling_ms, stop_ms;
	uint64_t keep, config_limit, offers_per_minute, restarts_per_minute;
	uint32_t port; /* link's */
	uint64_t sum;  /* of all that decides what can be run; 0: not known */
	int reloaded;  /* the settings were read again, because somebody wanted it */
};

struct apply_bytes {
	char *data;
	size_t len;
	struct memfd_view view; /* what data lies in; zero: data is malloc'd */
};

struct apply_ops {
	/* MERGE_COMPOSE (emitted NULL) or MERGE_CHECK; a new job drops the one before */
	void (*merge)(void *ctx, uint32_t job, uint32_t kind, struct apply_bytes *remote,
	    struct apply_bytes *emitted);
	void (*run)(void *ctx, const struct msg_run *m);
	void (*stop)(void *ctx, const struct msg_run *m);
	void (*job)(void *ctx, const struct msg_job *m);
	void (*status)(void *ctx);                   /* a->told has changed: tell the server */
	void (*baseline)(void *ctx, uint32_t start); /* that start proved itself */
	void (*effective)(void *ctx, const char *text, size_t len); /* what runs, as text */
	void (*changed)(void *ctx);                                 /* health may have */
	void (*timer)(void *ctx, enum apply_timer t, uint64_t ms);  /* 0 = off */
	uint64_t (*now_ms)(void *ctx);
	uint64_t (*now_ns)(void *ctx); /* CLOCK_REALTIME */
};

struct apply_words { /* the last output of a start */
	uint32_t start;
	char text[TEXT_TAIL + 1];
};

struct apply_agent { /* what is known of the agent, by every source */
	int proc_known;
	int proc_fresh; /* procd's channel is new: the next state is its first */
	struct msg_state proc;
	int link_up;
	uint32_t link_start; /* connected: by which start; 0 = not */
	int health_known;
	struct msg_agent_health health;
	char error[LIMIT_AGENT_TEXT + 1], status[LIMIT_AGENT_TEXT + 1];
	char *component; /* ComponentHealth, opaque */
	size_t component_len;
	struct msg_probe probe; /* start 0 = not known */
	char probe_text[512];
	struct apply_words run_words, job_words;
};

struct apply_told {      /* the remote configuration status, as the server was told it */
	uint32_t status; /* enum config_status */
	int passing;
	uint64_t failed_at_ns;
	struct apply_bytes hash;
	char message[STORE_MESSAGE];
};

struct apply_attempt {
	uint32_t source; /* enum store_source */
	int has_offer;   /* its end is told to the server */
	int empty_map;
	int trusted; /* ours alone is new in it: no validation */
	int validated;
	struct apply_bytes hash;
	struct apply_bytes remote, text; /* until they are on disk */
	int has_remote;
	uint64_t generation; /* from the trial on */
	uint64_t made_ns;    /* of one that is recalled: what started before has not read it */
	int reload;          /* was switched by a signal */
	unsigned links;      /* how many came anew in the gate */
};

struct apply_bucket { /* so many a minute */
	uint64_t per_minute, at_ms;
	double tokens;
};

struct apply {
	const struct apply_ops *ops;
	void *ctx;
	struct apply_settings set;
	struct store *store;
	struct apply_agent agent;
	struct apply_told told;
	enum apply_phase phase;
	char uid_text[40];
	int gate;   /* service.AllowNoPipelines: -1 not known, 0, 1 */
	int ending; /* CHILD_END: nothing is begun any more */

	/* what is to run */
	uint64_t committed;                /* generation; 0 = none yet */
	struct apply_bytes committed_hash; /* of the offer in it */
	int committed_offer;               /* it came from the server */
	uint64_t base;                     /* generation that runs while committed is 0 */
	int stopped;                       /* by an empty map */
	int waiting;                       /* nothing to run before the server sends something */
	uint64_t run_generation;           /* what procd was last told; 0 = to stop */
	uint64_t token;
	int obeyed;      /* procd has repeated it */
	uint32_t to_end; /* the start that the last RUN_RESTART found */
	uint64_t next;   /* generation number */

	/* the attempt */
	struct apply_attempt try;
	int switched;   /* the agent was put on something uncommitted: an abort has to go back */
	unsigned stuck; /* how often that could not be done */
	int recompose;  /* uid, settings or local files may have changed */
	uint32_t job;   /* of merge */
	uint64_t job_token, job_last; /* of the job that is waited for; of the last one */
	struct msg_job_done job_done;
	/* the gate */
	uint64_t well_since_ms; /* in the gate */
	uint32_t run_start;     /* the start that runs what was last told; 0 = not yet */
	int baselined;          /* link knows which components are well */
	int stale;              /* after a reload: what the agent said before it does not count */
	/* the way back */
	int fail_passing, want_words;
	uint32_t words_start, words_exit; /* whose words, and how it ended */
	char fail_text[STORE_MESSAGE];

	/* offers */
	struct apply_bytes pending;
	int told_again;    /* that what was refused came again */
	uint64_t last_sum; /* of the bytes of the last offer acted on */
	unsigned failures; /* of the same hash in a row, for passing reasons */
	struct apply_bucket offers, restarts;
	int held;                        /* until APPLY_TIMER_AGAIN */
	unsigned again;                  /* tries to put it together anew that came to nothing */
	char local_error[STORE_MESSAGE]; /* "" or why nothing can be run */
	struct store_state scratch;
};

void apply_init(struct apply *a, const struct apply_ops *ops, void *ctx,
    const struct apply_settings *set, struct store *store, const char *uid_text);
void apply_free(struct apply *a);

/* ---- what happens */

/* netd: an offer (offer.h), which is taken. */
void apply_offer(struct apply *a, struct apply_bytes *offer);
/* The server's restart command; -1: err says why not. */
int apply_restart(struct apply *a, int by_server, struct error *err);
/* Something that goes into every configuration may have changed. */
void apply_recompose(struct apply *a);
void apply_uid(struct apply *a, const char *uid_text);
/*
 * Settings were read again: what was FAILED may work now.  The server is told no hash, so that one which
 * compares hashes offers it again (CF-03).
 */
void apply_try_anew(struct apply *a);
/* opampd ends: the agent is to stop; apply_ended tells when it has. */
void apply_end(struct apply *a);
int apply_ended(const struct apply *a);

/* merge's answer, which is taken. */
void apply_merged(struct apply *a, const struct msg_merge *m, struct apply_bytes *answer);

void apply_procd_up(struct apply *a);
void apply_procd_down(struct apply *a);
int apply_proc_state(struct apply *a, const struct msg_state *m); /* -1: a field out of range */
int apply_job_done(struct apply *a, const struct msg_job_done *m);

void apply_link_up(struct apply *a);
void apply_link_down(struct apply *a);
int apply_link_agent(struct apply *a, const struct msg_link_agent *m);
/* text: last_error, NUL, status; component is taken. */
int apply_health(struct apply *a, const struct msg_agent_health *m, const char *text,
    size_t text_len, char *component, size_t component_len);
int apply_probed(struct apply *a, const struct msg_probe *m, const char *text, size_t len);
int apply_output_end(struct apply *a, const struct msg_output_end *m, const char *text, size_t len);

void apply_timeout(struct apply *a, enum apply_timer t);

/* ---- what is */

/* The agent's process runs what it was last told to run. */
int apply_running(const struct apply *a);
/* Well by every source there is. */
int apply_well(const struct apply *a);
/* The number of the configuration that runs or is to run; 0 = none. */
uint64_t apply_current(const struct apply *a);
/* 1: an agent that reports is not one that was told to end. */
int apply_may_run(const struct apply *a);

/* "exit code 1" and the like. */
const char *apply_exit_text(char *text, size_t size, uint32_t exit, int32_t value, uint32_t stage);

#endif
