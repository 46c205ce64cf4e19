/*
 * messages.h: every message that one process of opampd can send to another, in one table.
 *
 * The dispatcher, its checks, the trace (`opampd -dv`), doc/messages.md and the fuzz target are
 * all made from MESSAGE_TABLE.  Who has read it knows what each process can ask of the others.
 *
 *   MESSAGE(name, from, to, payload, tail, descriptor, meaning)
 *
 * from, to    sets of processes; a message on a channel is legal only if the peer at the other end
 *             is in `from` and we are in `to`.  The peer is the descriptor a message came in on.
 * payload     a struct of exactly this size comes first (fixed size; `struct msg_none` is 0 bytes)
 * tail        most bytes of text or data that may follow the struct; 0 for all that the parent and
 *             procd receive (invariant I2)
 * descriptor  FD_NONE, or the one kind of descriptor that must come along (checked by fstat, seals
 *             and socket options before the handler runs)
 *
 * All integers are in host order: both ends are on one host.  Every enum has 0 = nothing.
 */
#ifndef PRIVSEP_MESSAGES_H
#define PRIVSEP_MESSAGES_H

#include <stdint.h>

#include "limits.h"

enum proc {
	PROC_NOBODY, /* the zero value of an identity is nobody (I6) */
	PROC_PARENT,
	PROC_NETD,
	PROC_LINK,
	PROC_CONFD,
	PROC_PROCD,
	PROC_CONNECT,
	PROC_MERGE,
	PROC_COUNT
};

#define P(x)       (1u << PROC_##x)
#define P_CHILDREN (P(NETD) | P(LINK) | P(CONFD) | P(PROCD) | P(CONNECT) | P(MERGE))
#define P_DAEMONS  (P(NETD) | P(LINK) | P(CONFD) | P(PROCD)) /* those that live on */

enum fd_kind {
	FD_NONE,
	FD_MEMFD, /* all four seals, at most LIMIT_MEMFD bytes */
	FD_FILE,  /* regular file (or memfd), any size */
	FD_DIR,
	FD_STREAM,   /* TCP stream socket */
	FD_LISTENER, /* listening stream or seqpacket socket */
	FD_CHANNEL,  /* connected AF_UNIX SOCK_SEQPACKET */
	FD_NETLINK,
	FD_PIPE,
	FD_PIDFD,
	FD_CGROUP, /* a file of cgroup2 */
};

/* ---- values */

enum child_flag {
	CHILD_UNPRIVILEGED = 1, /* started by an ordinary user: no ids to change to */
	CHILD_SINK_JOURNAL = 2,
	CHILD_SINK_SYSLOG = 4,
	CHILD_CHECK_ONLY = 8, /* opampd -n */
};

enum file_kind { /* what a file handed to netd or merge is */
	FILE_NOTHING,
	FILE_CA,         /* server.tls.ca_file */
	FILE_SYSTEM_CA,  /* the host's bundle */
	FILE_CERT,       /* server.tls.cert_file */
	FILE_KEY,        /* server.tls.key_file */
	FILE_OS_RELEASE, /* for os.description */
	FILE_MACHINE_ID, /* for host.id */
	FILE_SETTINGS,   /* merge: opampd.yaml */
	FILE_PASSWD,
	FILE_GROUP,
	FILE_ENVIRONMENT, /* merge: NUL-separated, what ${env:X} in the settings may see */
	FILE_LOCAL,       /* merge: a file of agent.config_files; index = its place */
	FILE_REMOTE,      /* merge: an offer (offer.h) */
	FILE_PARAMETERS,  /* merge: record (record.h) of what confd wants put together */
	FILE_EMITTED,     /* merge, second run: what the first one made */
};

enum endpoint {
	ENDPOINT_NONE,
	ENDPOINT_SERVER, /* server.endpoint */
	ENDPOINT_HEALTH, /* agent.health.endpoint */
};

enum connect_failure {
	CONNECT_OK,
	CONNECT_RESOLVE, /* code: an EAI_ value */
	CONNECT_ERRNO,   /* code: an errno value of connect(2) */
	CONNECT_TIMEOUT,
	CONNECT_DIED, /* the connector ended without a word */
};

enum merge_kind {
	MERGE_NOTHING,
	MERGE_SETTINGS, /* parent only: read opampd.yaml */
	MERGE_COMPOSE,  /* put the configuration together */
	MERGE_CHECK,    /* judge what MERGE_COMPOSE emitted, in a fresh process */
};

enum merge_status {
	MERGE_NO_ANSWER,
	MERGE_DONE_OK, /* the memfd is the result */
	MERGE_REFUSED, /* the memfd is the text of the error */
	MERGE_DIED,    /* killed, crashed, out of time or memory; code = wait status */
};

enum agent_kind { /* what the agent's executable is started for */
	AGENT_NOTHING,
	AGENT_RUN,      /* for good, on the configuration in effective.yaml */
	AGENT_VALIDATE, /* its own check of candidate.yaml */
	AGENT_PROBE,    /* what it can do (collector: featuregate service.AllowNoPipelines) */
};

enum agent_flag {
	AGENT_NO_PIPELINES_GATE = 1, /* collector: add --feature-gates=service.AllowNoPipelines */
};

enum run_how {
	RUN_NOTHING,
	RUN_RESTART, /* stop what runs, start anew */
	RUN_RELOAD,  /* by the driver's signal if it runs, else start */
	RUN_ENSURE,  /* start only if it does not run */
};

enum agent_state {
	AGENT_STATE_NONE,
	AGENT_STOPPED,  /* as asked */
	AGENT_STARTING, /* asked of the parent, no pid yet */
	AGENT_RUNNING,
	AGENT_STOPPING,
	AGENT_BACKOFF,  /* died or could not be started; next try at next_ms */
	AGENT_GIVEN_UP, /* the ceiling of the settings was reached */
};

enum settled {           /* how it is with the agent, in a word: for the service manager */
	SETTLED_NOT,     /* between two of these */
	SETTLED_RUNS,    /* and is well by every source there is */
	SETTLED_UNWELL,  /* runs, but is not well */
	SETTLED_WAITS,   /* no configuration yet */
	SETTLED_STOPPED, /* by the server's empty configuration */
	SETTLED_REFUSED, /* there is nothing that it could run on */
	SETTLED_ENDED,   /* by itself, or could not be started: it is tried again */
	SETTLED_GIVEN_UP,
	SETTLED_COUNT
};

enum exit_kind {
	EXIT_NONE,
	EXIT_CODE,    /* value = exit status */
	EXIT_SIGNAL,  /* value = signal number */
	EXIT_OOM,     /* killed by the kernel for want of memory */
	EXIT_SPAWN,   /* could not be started; value = errno, stage = where */
	EXIT_TIMEOUT, /* a validation or probe that we ended */
};

enum link_event {
	LINK_EVENT_NONE,
	LINK_CONNECTED,
	LINK_DISCONNECTED
};

enum worst { /* the state of the worst component the agent reports */
	WORST_NONE,
	WORST_OK,
	WORST_STARTING,
	WORST_RECOVERABLE_OLD, /* was not well at the baseline either, or there is no baseline */
	WORST_RECOVERABLE_NEW, /* was well at the baseline */
	WORST_PERMANENT,
	WORST_FATAL,
	WORST_STOPPED,
};

enum server_event {
	SERVER_NONE,
	SERVER_CONNECTING,
	SERVER_CONNECTED, /* first ServerToAgent was received */
	SERVER_LOST,      /* tail: why; next try at next_ms */
};

enum offer_flag {
	OFFER_EMPTY_MAP = 1, /* config unset or no entry: "run without remote configuration" */
};

enum config_status { /* numbers as in RemoteConfigStatuses */
	CONFIG_UNSET,
	CONFIG_APPLIED,
	CONFIG_APPLYING,
	CONFIG_FAILED,
};

/* ---- payloads.  No padding: channel.c asserts the sizes where it matters not at all who sends. */

struct msg_none {
	char nothing[0];
};

struct msg_start {
	uint32_t proc; /* what you are */
	uint32_t epoch;
	uint32_t flags; /* child_flag */
	uint32_t log_level;
	uint32_t uid, gid; /* to become; ignored with CHILD_UNPRIVILEGED */
	uint32_t merge_kind;
	uint32_t endpoint;    /* connect: which */
	uint32_t group_count; /* supplementary groups */
	uint32_t groups[16];
};

struct msg_peer {
	uint32_t peer;
	uint32_t epoch;
};

struct msg_ready {
	uint32_t seccomp;      /* 1 = filter on */
	uint32_t landlock_abi; /* 0 = none */
	uint32_t namespaces;   /* bits of enum sandbox_namespace */
};

struct msg_accuse {
	uint32_t peer; /* who broke the rule */
	uint32_t rule; /* enum channel_rule */
	uint32_t type; /* message type */
};

struct msg_file {
	uint32_t kind; /* enum file_kind */
	uint32_t index;
};

struct msg_connect {
	uint32_t endpoint;
	uint32_t attempt; /* chosen by the asker, repeated in the answer */
};

struct msg_connect_failed {
	uint32_t endpoint;
	uint32_t attempt;
	uint32_t kind; /* enum connect_failure */
	int32_t code;
};

struct msg_section {
	uint32_t proc; /* whose section of the settings */
};

struct msg_merge {
	uint32_t job;  /* chosen by confd, repeated in the answer */
	uint32_t kind; /* enum merge_kind */
	uint32_t status;
	int32_t code; /* MERGE_REFUSED: 1 = for a reason that may pass */
};

struct msg_environment {     /* what confd must know of the host */
	uint32_t agent_gid;  /* group of the directory agent/ */
	uint32_t admin_gid;  /* who may act by opampctl, beside root; -1u = nobody */
	uint32_t reader_gid; /* who may look; -1u = nobody */
	uint32_t owner_uid;  /* the user opampd was started by */
	uint32_t link_port;  /* loopback port of link */
	uint32_t weak; /* 1 = ordinary user without Landlock: no remote configuration by default */
	uint32_t reloaded; /* 1 = the settings were read again, because somebody wanted it */
	uint32_t lives;    /* 1 = the agent runs: this confd takes another one's place */
	uint64_t binary_dev, binary_ino, binary_size, binary_mtime, binary_ctime; /* ns; identity */
};

struct msg_child { /* for opampctl */
	uint32_t proc;
	int32_t pid; /* 0 = not running */
	uint32_t restarts;
	uint32_t pad;
	uint64_t since_ms; /* CLOCK_REALTIME */
};

struct msg_output {
	uint32_t start;  /* number of the start; never 0, never used twice by one parent */
	uint32_t kind;   /* enum agent_kind */
	uint32_t stream; /* 1 stdout, 2 stderr */
};

struct msg_secret {
	uint32_t start; /* 0 = for a start to come */
};

struct msg_agent_start {
	uint32_t kind;
	uint32_t flags;
	uint64_t generation;
};

struct msg_agent {
	uint32_t start;
	uint32_t kind;
	int32_t pid;
	uint32_t flags;
	uint32_t uid; /* whom the agent runs as: link compares it with a connection's owner */
	uint32_t pad;
	uint64_t generation;
	uint64_t started_ns; /* CLOCK_REALTIME, Unix nanoseconds */
};

struct msg_agent_exit {
	uint32_t start; /* 0 if it never came to be */
	uint32_t kind;  /* enum agent_kind */
	uint32_t exit;  /* enum exit_kind */
	int32_t value;
	uint32_t stage; /* enum spawn_stage for EXIT_SPAWN */
	uint32_t
	    asked; /* 1 = by the parent, since its command has changed: no failure of its own */
	uint64_t generation;
};

struct msg_start_id {
	uint32_t start;
};

struct msg_run {
	uint32_t how;   /* enum run_how */
	uint32_t flags; /* enum agent_flag */
	uint64_t generation;
	uint64_t token; /* repeated in the states that follow */
};

struct msg_job {
	uint32_t kind; /* AGENT_VALIDATE or AGENT_PROBE */
	uint32_t flags;
	uint64_t generation;
	uint64_t token;
};

struct msg_job_done {
	uint64_t token;
	uint32_t start;
	uint32_t kind;
	uint32_t exit;
	int32_t value;
	uint32_t stage;
	uint32_t pad;
};

struct msg_state {
	uint32_t state; /* enum agent_state */
	uint32_t start;
	int32_t pid;
	uint32_t restarts; /* by itself, since confd last spoke */
	uint64_t generation;
	uint64_t token; /* of the last msg_run obeyed */
	uint64_t started_ns;
	uint64_t next_ms; /* until the next try; 0 = none */
	uint32_t exit;    /* the last end: enum exit_kind, value, stage */
	int32_t value;
	uint32_t stage;
	uint32_t exit_start;
};

struct msg_link_agent {
	uint32_t start; /* which start the connection belongs to, by its secret */
	uint32_t event; /* enum link_event */
};

struct msg_agent_health { /* tail: last_error, NUL, status text */
	uint32_t start;
	uint32_t healthy;
	uint32_t worst;      /* enum worst */
	uint32_t components; /* how many */
	uint64_t status_time_ns;
};

struct msg_blob {
	uint32_t start;
	uint32_t flags;
};

struct msg_output_end { /* tail: the last lines, error lines first, '\n' between them */
	uint32_t start;
	uint32_t kind;
};

struct msg_probe { /* the health endpoint; tail: why not */
	uint32_t start;
	uint32_t ok;
};

struct msg_uid {
	uint8_t uid[16];
};

struct msg_offer {
	uint32_t flags; /* enum offer_flag */
	uint32_t files;
};

struct msg_server {           /* tail: why, for people */
	uint32_t event;       /* enum server_event */
	uint32_t http_status; /* 401, 403 ... when the server refused by HTTP */
	uint64_t next_ms;
	uint64_t capabilities; /* ServerCapabilities bits */
	uint64_t for_ms; /* for so long it is connected, or is not, whatever was tried meanwhile */
};

struct msg_settled {
	uint32_t what; /* enum settled */
};

struct
    msg_health { /* tail: last_error, NUL, status text; memfd: ComponentHealth of the agent or empty */
	uint32_t healthy;
	uint32_t pad;
	uint64_t started_ns; /* 0 when the agent is not running */
	uint64_t status_time_ns;
};

struct msg_status {      /* memfd: u32 length of hash, hash, error message to the end */
	uint32_t status; /* enum config_status */
};

enum effective_form {
	EFFECTIVE_NONE,
	EFFECTIVE_PROTOBUF, /* opamp.proto.v1.EffectiveConfig, as the agent reported it */
	EFFECTIVE_TEXT,     /* the text of the one file the agent runs */
};

struct msg_effective {
	uint32_t form;
};

#define TEXT_TAIL (8 * KIB)

#define MESSAGE_TABLE                                                                              \
	/* ---- every child: its start */                                                          \
	MESSAGE(CHILD_START, P(PARENT), P_CHILDREN, msg_start, 0, FD_MEMFD,                        \
	    "what you are, and your section of the settings (record.h)")                           \
	MESSAGE(CHILD_PEER, P(PARENT), P_DAEMONS, msg_peer, 0, FD_CHANNEL,                         \
	    "your channel to a neighbour; again, with a higher epoch, when it was replaced")       \
	MESSAGE(CHILD_FILE, P(PARENT), P(NETD) | P(MERGE), msg_file, 0, FD_FILE,                   \
	    "a file that the settings or a job name, open for reading")                            \
	MESSAGE(CHILD_GO, P(PARENT), P_CHILDREN, msg_none, 0, FD_NONE,                             \
	    "you have everything: enter the sandbox and work")                                     \
	MESSAGE(CHILD_READY, P_CHILDREN, P(PARENT), msg_ready, 0, FD_NONE,                         \
	    "in the sandbox; from here on foreign bytes are read")                                 \
	MESSAGE(CHILD_ACCUSE, P_DAEMONS, P(PARENT), msg_accuse, 0, FD_NONE,                        \
	    "my peer broke a rule of its channel: end it")                                         \
	MESSAGE(CHILD_END, P(PARENT), P_DAEMONS, msg_none, 0, FD_NONE,                             \
	    "shut down in order; exit when done")                                                  \
	/* ---- connecting */                                                                      \
	MESSAGE(CONNECT_REQUEST, P(NETD) | P(LINK), P(PARENT), msg_connect, 0, FD_NONE,            \
	    "have a connection made to an endpoint of the settings")                               \
	MESSAGE(CONNECT_CANCEL, P(NETD) | P(LINK), P(PARENT), msg_connect, 0, FD_NONE,             \
	    "no longer wanted")                                                                    \
	MESSAGE(CONNECTOR_DONE, P(CONNECT), P(PARENT), msg_none, 0, FD_STREAM, "connected")        \
	MESSAGE(                                                                                   \
	    CONNECTOR_FAILED, P(CONNECT), P(PARENT), msg_connect_failed, 0, FD_NONE, "could not")  \
	MESSAGE(CONNECT_DONE, P(PARENT), P(NETD) | P(LINK), msg_connect, 0, FD_STREAM,             \
	    "the connection asked for")                                                            \
	MESSAGE(CONNECT_FAILED, P(PARENT), P(NETD) | P(LINK), msg_connect_failed, 0, FD_NONE,      \
	    "no connection, and why")                                                              \
	/* ---- merge */                                                                           \
	MESSAGE(MERGE_SECTION, P(MERGE), P(PARENT), msg_section, 0, FD_MEMFD,                      \
	    "a process's section of the settings")                                                 \
	MESSAGE(MERGE_ANSWER, P(MERGE), P(PARENT), msg_merge, 0, FD_MEMFD,                         \
	    "done: the result, or the error as text")                                              \
	MESSAGE(MERGE_REMOTE, P(CONFD), P(PARENT), msg_merge, 0, FD_MEMFD,                         \
	    "the offer that the next MERGE_REQUEST of this job is about")                          \
	MESSAGE(MERGE_EMITTED, P(CONFD), P(PARENT), msg_merge, 0, FD_MEMFD,                        \
	    "the bytes that the next MERGE_REQUEST of this job is to judge")                       \
	MESSAGE(MERGE_REQUEST, P(CONFD), P(PARENT), msg_merge, 0, FD_MEMFD,                        \
	    "run merge with these parameters (record.h)")                                          \
	MESSAGE(MERGE_RESULT, P(PARENT), P(CONFD), msg_merge, 0, FD_MEMFD,                         \
	    "what merge answered, handed through unread (empty if it died)")                       \
	/* ---- confd and the parent */                                                            \
	MESSAGE(CONFD_STATE_DIR, P(PARENT), P(CONFD), msg_none, 0, FD_DIR, "storage.directory")    \
	MESSAGE(                                                                                   \
	    CONFD_CONTROL, P(PARENT), P(CONFD), msg_none, 0, FD_LISTENER, "the control socket")    \
	MESSAGE(CONFD_ENVIRONMENT, P(PARENT), P(CONFD), msg_environment, 0, FD_NONE,               \
	    "ids, the link's port, the agent binary's identity")                                   \
	MESSAGE(CONFD_CHILD, P(PARENT), P(CONFD), msg_child, 0, FD_NONE,                           \
	    "a process came or went, for opampctl")                                                \
	MESSAGE(RELOAD_REQUEST, P(CONFD), P(PARENT), msg_none, 0, FD_NONE,                         \
	    "an admin asked for a reload of the settings")                                         \
	/* ---- link and the parent */                                                             \
	MESSAGE(LINK_LISTENER, P(PARENT), P(LINK), msg_none, 0, FD_LISTENER,                       \
	    "the loopback listener for the agent")                                                 \
	MESSAGE(LINK_DIAG, P(PARENT), P(LINK), msg_none, 0, FD_NETLINK,                            \
	    "sock_diag: who owns the other end of a loopback connection")                          \
	MESSAGE(LINK_LOG, P(PARENT), P(LINK), msg_none, 0, FD_FILE,                                \
	    "agent.log, open for appending; a new one after each rotation")                        \
	MESSAGE(LINK_OUTPUT, P(PARENT), P(LINK), msg_output, 0, FD_PIPE,                           \
	    "the reading end of one stream of the agent's output")                                 \
	MESSAGE(LINK_SECRET, P(PARENT), P(LINK), msg_secret, 0, FD_MEMFD,                          \
	    "a secret file that is not yours: your predecessor's, or the parent's")                \
	MESSAGE(LINK_SECRET_NEXT, P(LINK), P(PARENT), msg_none, 0, FD_MEMFD,                       \
	    "the secret file for the next start; the parent looks at its form (link_file.h)")      \
	MESSAGE(LINK_ROTATE, P(LINK), P(PARENT), msg_none, 0, FD_NONE,                             \
	    "agent.log is full: rotate, and hand me a new one")                                    \
	MESSAGE(LINK_BEGUN, P(PARENT), P(LINK), msg_agent, 0, FD_NONE,                             \
	    "the agent was started with the next secret")                                          \
	MESSAGE(                                                                                   \
	    LINK_ENDED, P(PARENT), P(LINK), msg_agent_exit, 0, FD_NONE, "that start has ended")    \
	/* ---- procd and the parent */                                                            \
	MESSAGE(AGENT_START, P(PROCD), P(PARENT), msg_agent_start, 0, FD_NONE,                     \
	    "start the agent's command of the settings")                                           \
	MESSAGE(AGENT_KILL, P(PROCD), P(PARENT), msg_start_id, 0, FD_NONE,                         \
	    "kill that start with everything it started (where there is no cgroup)")               \
	MESSAGE(AGENT_STARTED, P(PARENT), P(PROCD), msg_agent, 0, FD_PIDFD,                        \
	    "it runs; also sent to a new procd for each start that lives")                         \
	MESSAGE(AGENT_CGROUP, P(PARENT), P(PROCD), msg_start_id, 0, FD_CGROUP,                     \
	    "cgroup.kill of that start")                                                           \
	MESSAGE(AGENT_EXITED, P(PARENT), P(PROCD), msg_agent_exit, 0, FD_NONE,                     \
	    "it ended, was reaped, and its group is empty; or could not be started")               \
	/* ---- confd and procd */                                                                 \
	MESSAGE(PROC_RUN, P(CONFD), P(PROCD), msg_run, 0, FD_NONE,                                 \
	    "have the agent run on this generation")                                               \
	MESSAGE(PROC_STOP, P(CONFD), P(PROCD), msg_run, 0, FD_NONE, "have no agent run")           \
	MESSAGE(                                                                                   \
	    PROC_JOB, P(CONFD), P(PROCD), msg_job, 0, FD_NONE, "validate or probe; one at a time") \
	MESSAGE(PROC_JOB_DONE, P(PROCD), P(CONFD), msg_job_done, 0, FD_NONE, "how it ended")       \
	MESSAGE(PROC_STATE, P(PROCD), P(CONFD), msg_state, 0, FD_NONE,                             \
	    "the state of the agent's process, at each change and first on a new channel")         \
	/* ---- link and confd */                                                                  \
	MESSAGE(LINK_AGENT, P(LINK), P(CONFD), msg_link_agent, 0, FD_NONE,                         \
	    "the agent connected to its link, or left it")                                         \
	MESSAGE(AGENT_HEALTH, P(LINK), P(CONFD), msg_agent_health, TEXT_TAIL, FD_MEMFD,            \
	    "its health, summed up; memfd: ComponentHealth as it sent it (latest wins)")           \
	MESSAGE(AGENT_DESCRIPTION, P(LINK), P(CONFD), msg_blob, 0, FD_MEMFD,                       \
	    "its AgentDescription, opaque to confd (latest wins)")                                 \
	MESSAGE(AGENT_EFFECTIVE, P(LINK), P(CONFD), msg_blob, 0, FD_MEMFD,                         \
	    "its EffectiveConfig, opaque to confd (latest wins)")                                  \
	MESSAGE(AGENT_OUTPUT_END, P(LINK), P(CONFD), msg_output_end, TEXT_TAIL, FD_NONE,           \
	    "all output of that start was read; its last words")                                   \
	MESSAGE(AGENT_PROBED, P(LINK), P(CONFD), msg_probe, TEXT_TAIL, FD_NONE,                    \
	    "the health endpoint's answer, when it changes")                                       \
	MESSAGE(LINK_BASELINE, P(CONFD), P(LINK), msg_start_id, 0, FD_NONE,                        \
	    "which components are well now is what later trials are measured by")                  \
	MESSAGE(LINK_IDENTITY, P(CONFD), P(LINK), msg_uid, 0, FD_NONE,                             \
	    "the instance uid the agent is to speak with")                                         \
	/* ---- netd and confd */                                                                  \
	MESSAGE(OFFER, P(NETD), P(CONFD), msg_offer, 0, FD_MEMFD,                                  \
	    "a remote configuration (offer.h); one credit, given back by OFFER_CREDIT")            \
	MESSAGE(OFFER_CREDIT, P(CONFD), P(NETD), msg_none, 0, FD_NONE, "the next offer may come")  \
	MESSAGE(SERVER_RESTART, P(NETD), P(CONFD), msg_none, 0, FD_NONE,                           \
	    "the server wants the agent restarted")                                                \
	MESSAGE(SERVER_UID, P(NETD), P(CONFD), msg_uid, 0, FD_NONE,                                \
	    "the server assigned a new instance uid")                                              \
	MESSAGE(SERVER_STATE, P(NETD), P(CONFD), msg_server, TEXT_TAIL, FD_NONE,                   \
	    "the connection to the server, for opampctl")                                          \
	MESSAGE(NET_IDENTITY, P(CONFD), P(NETD), msg_uid, 0, FD_NONE,                              \
	    "our instance uid, stored; first on a new channel")                                    \
	MESSAGE(NET_DESCRIPTION, P(CONFD), P(NETD), msg_blob, 0, FD_MEMFD,                         \
	    "the agent's AgentDescription, fresh or cached (empty = not known)")                   \
	MESSAGE(NET_HEALTH, P(CONFD), P(NETD), msg_health, TEXT_TAIL, FD_MEMFD,                    \
	    "health as it is to be reported (latest wins)")                                        \
	MESSAGE(NET_EFFECTIVE, P(CONFD), P(NETD), msg_effective, 0, FD_MEMFD,                      \
	    "the effective configuration (latest wins)")                                           \
	MESSAGE(NET_STATUS, P(CONFD), P(NETD), msg_status, 0, FD_MEMFD,                            \
	    "remote configuration status; each one is reported")                                   \
	MESSAGE(NET_SYNCED, P(CONFD), P(NETD), msg_none, 0, FD_NONE,                               \
	    "the full state has been sent on this channel: the first report may go out")           \
	/* ---- confd and the parent, once more */                                                 \
	MESSAGE(CONFD_SETTLED, P(CONFD), P(PARENT), msg_settled, 0, FD_NONE,                       \
	    "how it is with the agent, when it changes: the parent tells the service manager")

enum message_type {
	MSG_NONE,
#define MESSAGE(name, from, to, payload, tail, fd, meaning) MSG_##name,
	MESSAGE_TABLE
#undef MESSAGE
	    MSG_COUNT
};

struct message_rule {
	const char *name;
	uint32_t from, to; /* sets of 1u << enum proc */
	uint32_t size;     /* of the fixed part */
	uint32_t tail;     /* most bytes after it */
	uint32_t fd;       /* enum fd_kind */
};

/* Indexed by type; entry 0 and everything not filled in allows nobody. */
extern const struct message_rule message_rules[MSG_COUNT];

/* One line on what it is for; NULL for a number that is none. */
const char *message_meaning(uint32_t type);

/* "netd" and the like; "nobody" for a number that is none. */
const char *proc_name(uint32_t proc);

/* PROC_NOBODY for a name that is none. */
enum proc proc_by_name(const char *name);

#endif
