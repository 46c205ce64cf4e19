/*
 * parent.h: the state of the parent, shared by the parent*.c files and by nobody else.
 * The parent starts the others and the agent, hands out descriptors, reaps, ends them.  It reads no
 * foreign bytes: fixed-size messages, descriptors, and its own section of the settings.
 */
#ifndef PRIVSEP_PARENT_H
#define PRIVSEP_PARENT_H

#include <event2/event.h>
#include <signal.h>
#include <sys/types.h>

#include "agent_spawn.h"
#include "channel.h"
#include "log.h"
#include "upgrade_state.h"

#define AGENT_SLOTS   2 /* the one that runs, and one validation or probe */
#define CONNECT_SLOTS 2 /* for netd, for link */

struct parent;

enum slot_state {
	SLOT_DOWN,
	SLOT_STARTING,
	SLOT_UP,
	SLOT_ENDING
};

struct rate { /* how often something was asked for in the window that began then */
	uint64_t since_ms;
	unsigned count;
};

struct slot { /* one process of ours */
	struct parent *parent;
	enum proc proc;
	enum slot_state state;
	pid_t pid;
	int pidfd;
	struct channel *channel;
	int end;                      /* the channel's descriptor, which is the channel's */
	struct event *exited, *timer; /* timer: ready in time, or the next start */
	uint64_t since_ms, backoff_ms, last_accused_ms;
	uint32_t restarts;
	/* one-shots: for whom, and what */
	enum proc asker;
	struct msg_connect connect, next_connect;
	struct msg_merge merge;
	int answered;
	int waiting; /* next_connect, or parent.merge_next, starts when this one was reaped */
	struct rate asked;
};

struct agent_slot { /* one start of the agent */
	struct parent *parent;
	struct event *exited, *sweep, *patience; /* patience: asked to end, then killed */
	uint32_t start, kind, flags, stage, uid;
	uint64_t generation, started_ns;
	pid_t pid, agent_pid;   /* see struct agent_start */
	int pidfd, agent, init; /* likewise */
	int group, secret;      /* secret: a duplicate, for a new link */
	int out, err;           /* duplicates, for a new link */
	int spawn_error, sweeps;
	int asked;                 /* to end, by us */
	struct msg_agent_exit end; /* how it ended, while its group empties */
};

struct merge_job { /* what confd handed over for one merge; descriptors or -1 */
	uint32_t job;
	int remote, emitted, parameters;
};

struct ready { /* parent_ready.c: what the service manager was told, and will be */
	struct event *watchdog, *limit, *news,
	    *again;                /* again: the word on the agent, after another one */
	uint32_t settled;          /* enum settled: confd's last word on the agent */
	struct msg_agent_exit end; /* how the agent ended last, if by itself */
	int told;                  /* READY=1 */
	char status[256];          /* the last STATUS= */
};

enum upgrade_stage {
	UPGRADE_NONE,
	UPGRADE_CHECK, /* the new program is asked whether it can take over */
	UPGRADE_WAIT,  /* until a configuration that is being applied is on trial */
	UPGRADE_HOLD,  /* our children end; nobody is started any more */
};

struct upgrade {
	enum upgrade_stage stage;
	int wanted;     /* when the reload is done that is under way */
	int program;    /* the new one's file, asked and executed by this descriptor; -1 */
	pid_t pid;      /* of the one that is asked; 0 */
	int pidfd;      /* likewise, or -1 */
	int end_signal; /* came meanwhile, for the new one; 0 */
	int rounds;     /* of the loop, with all signals blocked */
	uint64_t wait_until_ms;
	uint64_t
	    turning_ms; /* a configuration was found good then, and the agent was not started since; 0 */
	sigset_t before; /* those that were before */
	struct rate asked;
	struct event *exited, *deadline, *step;
};

struct guard { /* the procd of the opampd before us, until there is another one */
	pid_t pid;
	int pidfd, channel;
	struct event *exited;
};

struct parent {
	struct event_base *base;
	const char *version;
	char *program; /* where we were executed from */
	char **argv;
	const char *settings_name;
	int foreground, unprivileged, landlock_abi;
	int check_only; /* opampd -n: nothing is started but the settings' reader */
	enum log_sink sink;
	enum log_level level;
	int verbose;
	char *cwd;
	char **environment; /* as we were started: for ${env:X} in the settings */

	uint64_t settings_id[5],
	    new_settings_id[5];       /* the file that is in force, that was read last */
	struct settings settings;     /* our section */
	int sections[PROC_COUNT];     /* memfds, -1 */
	int new_sections[PROC_COUNT]; /* while they are read */
	int reading, read_status;     /* 1 while merge reads the settings; then 0 good, -1 bad */
	char *program_dir;            /* where our programs are */
	int programs[PROC_COUNT];     /* opened and checked once */

	struct slot daemons[PROC_COUNT];
	struct slot connects[CONNECT_SLOTS];
	struct slot merge;                   /* one configuration job */
	struct slot reader;                  /* the settings */
	struct merge_job staged, merge_next; /* for the request to come; for the one that waits */
	struct msg_merge merge_asked;
	struct rate starts, reloads;
	uint32_t epoch;

	struct agent_command command;
	struct agent_slot agents[AGENT_SLOTS];
	struct cgroup cgroup;
	uint32_t next_start;
	int secret_next; /* the file for the next start, -1 */
	int secret_own;  /* 1: link did not make it */

	int state_dir, log_dir, work_dir, control, link_listener;
	char *log_path;
	unsigned link_port;
	struct rate rotations;

	uint64_t kept; /* capabilities, since the start */
	struct upgrade upgrade;
	unsigned upgrades;           /* of this process */
	struct upgrade_state *taken; /* until all that was left to us is taken over; NULL */
	int taken_changed;           /* the settings are others than its */
	struct guard guard;

	struct event *signals[5];
	struct event *deadline;
	struct ready ready;
	int ending; /* 0, or which step of the shutdown */
	int exit_status;
	char *title; /* where the kernel finds what ps shows of us */
	size_t title_size;
	int reloading, reload_again; /* again: asked for while one was under way */
	int reloaded;                /* and confd was not told yet */
	uint64_t agent_capabilities; /* those that opampd was started with */
};

/* parent_files.c: what the settings name.  Prints every fault; -1 if there was one. */
int parent_open_programs(struct parent *p); /* check_only: merge alone */
int parent_open_files(struct parent *p);
void parent_look_at_rest(struct parent *p); /* -n, after settings with a mistake: what they name */
int parent_log_open(struct parent *p);      /* agent.log for appending */
void parent_log_rotate(struct parent *p);

/* parent_command.c: the agent's command and the files of p->settings; prints every fault. */
int parent_command_read(struct parent *p);
void parent_command_look(struct parent *p); /* of settings with a mistake: what there is of it */
/*
 * The agent's executable as it stands at its path now.  0: the file it was; 1: another one, or that one
 * was written to; -1: err and errno, and nothing has changed.
 */
int parent_open_executable(struct parent *p, struct error *err);
int parent_identity(int fd, uint64_t *id);     /* five numbers that change with the file */
int parent_command_work_dir(struct parent *p); /* made if it is missing */
void parent_command_free(struct agent_command *c);
uid_t parent_trusted_user(const struct parent *p);
/* Opens the file that key names; -1: not set, or a fault. */
int parent_open_named(struct parent *p, enum setting key, struct error *err);
/* The path of key, or its default: as root, or below storage.directory.  malloc'd. */
char *parent_path(const struct parent *p, enum setting key, const char *as_root, const char *below);
/* "file:line:column: key" for messages. */
void parent_place(const struct parent *p, enum setting key, char *buf, size_t size);

/* parent_settings.c */
int parent_read_settings(struct parent *p); /* runs the loop until merge has answered */
int parent_settings_begin(struct parent *p);
int parent_settings_file(const struct parent *p, struct error *err); /* opened, as trusted */
void parent_environment(struct parent *p);
int parent_settings_result(struct parent *p);
void parent_settings_message(struct slot *s, struct message *m);

/* parent_exec.c: in the child; never returns */
void parent_exec_child(const struct parent *p, enum proc proc, int channel)
    __attribute__((noreturn));

/* parent_child.c */
int parent_arm(struct event *e, uint64_t ms); /* a timer; 0, or -1 */
/* Has the child of that pidfd ended?  Then it is waited for, and info says how. */
int parent_reaped(int pidfd, siginfo_t *info);
int slot_start(struct slot *s, uint32_t merge_kind, uint32_t endpoint);
void slot_send(struct slot *s, uint32_t type, const void *payload, int fd);
void slot_kill(struct slot *s, const char *why);
void slot_end(struct slot *s, uint64_t patience_ms); /* asked to end, then killed */
void slot_replace(struct slot *s); /* ended, and started anew at once: with new settings */
/* fork(2); a signal that comes for the child does not find our handler in it (see agent_spawn). */
pid_t slot_fork(void);
void slot_timer(struct slot *s, uint64_t ms);
void parent_give_netd(struct slot *s); /* parent_give.c */
void parent_start_daemons(struct parent *p);
void parent_child_ready(struct slot *s);
void parent_tell_child(struct parent *p, const struct slot *s);

/* parent_jobs.c */
int parent_too_often(struct rate *r, unsigned limit, uint64_t window_ms);
int parent_connect_request(struct slot *from, const struct msg_connect *m);
void parent_connect_cancel(struct slot *from);
void parent_connector_message(struct slot *s, struct message *m);
void parent_merge_input(struct parent *p, uint32_t type, const struct msg_merge *m, int fd);
int parent_merge_request(struct parent *p, const struct msg_merge *m, int params);
void parent_merge_message(struct slot *s, struct message *m);
void parent_job_ended(struct slot *s, int status);
void parent_job_next(struct slot *s);   /* starts the one that waits, if there is one */
void parent_asker_gone(struct slot *s); /* nobody waits for its answers any more */

/* parent_agent.c */
int parent_agent_request(struct parent *p, const struct msg_agent_start *m);
int parent_agent_secret(struct parent *p, int fd); /* -1: it is not what link may give */
void parent_agent_take_over(struct parent *p, const struct upgrade_agent *from);
void parent_agent_kill(struct parent *p, uint32_t start);
void parent_agent_tell_procd(struct parent *p);
void parent_agent_tell_link(struct parent *p);
int parent_agent_lives(const struct parent *p);
void parent_agent_stop(struct parent *p); /* asks it to end: procd starts it anew */
void parent_agent_kill_all(struct parent *p);

/* parent_ready.c */
void parent_ready_begin(struct parent *p, uint64_t limit_ms);
int parent_ready_settled(struct parent *p, const struct msg_settled *m);
void parent_ready_agent_ended(struct parent *p, const struct msg_agent_exit *m);
void parent_ready_reloads(struct parent *p, int done);
void parent_ready_upgrades(struct parent *p, int refused);
void parent_ready_ends(struct parent *p);

/* parent_reload.c */
void parent_reload(struct parent *p);
void parent_reload_request(struct parent *p); /* confd's: not as often as it likes */
void parent_reload_done(struct parent *p);

/* parent_upgrade.c */
void parent_upgrade(struct parent *p); /* by a signal, and by nothing else */
void parent_upgrade_cancel(struct parent *p);
int parent_upgrade_holds(const struct parent *p);
void parent_upgrade_step(struct parent *p); /* somebody has ended */

/* parent_takeover.c */
void parent_takeover_begin(
    struct parent *p, int check_only);          /* p->taken, if we were left something */
int parent_takeover_settings(struct parent *p); /* -1: it cannot be with these */
int parent_takeover_storage(struct parent *p);  /* 1: taken over; 0: open it as at a start */
int parent_takeover_control(struct parent *p);  /* likewise */
int parent_takeover_link(struct parent *p);     /* likewise */
void parent_takeover(struct parent *p);
void parent_takeover_guarded(struct parent *p);
void parent_takeover_end(struct parent *p);

/* parent.c */
void parent_take_level(struct parent *p); /* telemetry.logs.level, unless -v */
int parent_run(struct parent *p);
void parent_shutdown(struct parent *p);
void parent_shutdown_step(struct parent *p);

#endif
