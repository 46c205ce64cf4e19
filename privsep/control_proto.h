/*
 * control_proto.h: what opampctl and confd say to each other over the control socket.
 * confd (confd/control.c) and opampctl only.  The socket is SOCK_SEQPACKET.  A request is one message of
 * exactly sizeof(struct control_request).  An answer is one message with struct control_answer, then
 * `length` bytes in messages of at most CONTROL_CHUNK: a record (record.h) when the result is
 * CONTROL_OK, else the text of the error.
 *
 * No descriptor is passed on purpose: a client that never reads would keep descriptors in flight, which the
 * kernel counts against confd, and confd needs that quota for its neighbours.
 *
 * Integers are in host order: both ends are on one host.  0 is nothing in every enum.  A number, once
 * given to a key, keeps its meaning; a reader ignores keys that it does not know.
 */
#ifndef PRIVSEP_CONTROL_PROTO_H
#define PRIVSEP_CONTROL_PROTO_H

#include <stdint.h>

#include "limits.h"

#define CONTROL_MAGIC   0x4f504d43u
#define CONTROL_VERSION 1
#define CONTROL_SOCKET  "/run/opampd/control.sock"
#define CONTROL_CHUNK   (16 * KIB)
#define CONTROL_ANSWER  (64 * MIB) /* most bytes of one answer */

enum control_verb {
	CONTROL_NOTHING,
	CONTROL_STATUS, /* "daemon", "agent", "server", "configuration", "health" keys below */
	CONTROL_CONFIG, /* argument: enum control_config; number: generation, 0 = the one that runs */
	CONTROL_HEALTH, /* "health" keys */
	CONTROL_HISTORY, /* a row for each generation, the oldest first; number: at most so many, 0 = all */
	CONTROL_CHILDREN, /* a row for each process of ours; "agent" and "sandbox" keys before them */
	CONTROL_RESTART, /* acts: have the agent restarted; answered when it is asked for */
	CONTROL_RELOAD,  /* acts: have opampd read its settings again; answered likewise */
	CONTROL_VERBS
};

enum control_config {
	CONTROL_CONFIG_NONE,
	CONTROL_CONFIG_EFFECTIVE, /* the file the agent runs on: CK_TEXT */
	CONTROL_CONFIG_REMOTE,    /* what the server sent: CK_OFFER (offer.h); absent = nothing */
};

enum control_result {
	CONTROL_NO_RESULT,
	CONTROL_OK,
	CONTROL_FAILED,  /* the text says why */
	CONTROL_DENIED,  /* the text says who may */
	CONTROL_UNKNOWN, /* no such verb, argument or version in this daemon */
	CONTROL_MISSING, /* no such generation, or nothing to show */
	CONTROL_BUSY,    /* ask again */
};

struct control_request {
	uint32_t magic;
	uint16_t version;
	uint16_t verb;
	uint32_t argument;
	uint32_t pad;
	uint64_t number;
};

struct control_answer {
	uint32_t magic;
	uint16_t version;
	uint16_t verb;   /* of the request */
	uint32_t result; /* enum control_result */
	uint32_t pad;
	uint64_t length;
};

/*
 * Keys.  "u64" by record_put_u64, "text" and "bytes" by record_put*.  What is not known is left out.
 * Times are CLOCK_REALTIME in nanoseconds unless the name says _MS.
 */
enum control_key {
	CK_NONE,
	CK_ROW, /* u64: begins a row of a list; what follows belongs to it.  Value: the row's number */
	/* daemon (CK_VERSION, CK_PID, CK_OWNER_UID and CK_WEAK are put in by control.c) */
	CK_VERSION,      /* text */
	CK_PID,          /* u64: of confd */
	CK_INSTANCE_UID, /* 16 bytes */
	CK_OWNER_UID,    /* u64: the user opampd was started by */
	CK_LOG_PATH,     /* text: path of agent.log */
	CK_STORAGE,      /* text: storage.directory */
	/* agent: struct msg_state field by field */
	CK_AGENT_TYPE,       /* text: collector, generic */
	CK_AGENT_STATE,      /* u64: enum agent_state */
	CK_AGENT_PID,        /* u64; 0 = not running */
	CK_AGENT_STARTED,    /* u64 */
	CK_AGENT_RESTARTS,   /* u64 */
	CK_AGENT_NEXT_MS,    /* u64: milliseconds from now until the next try */
	CK_AGENT_EXIT,       /* u64: enum exit_kind of the last end */
	CK_AGENT_EXIT_VALUE, /* u64 */
	CK_AGENT_EXIT_STAGE, /* u64 */
	CK_AGENT_OUTPUT,     /* text: the last words of the run that ended last */
	/* server: struct msg_server */
	CK_SERVER_EVENT,        /* u64: enum server_event */
	CK_SERVER_SINCE,        /* u64: connected, or not, since then */
	CK_SERVER_HTTP,         /* u64 */
	CK_SERVER_NEXT_MS,      /* u64: milliseconds from now until the next try */
	CK_SERVER_TEXT,         /* text: why */
	CK_SERVER_CAPABILITIES, /* u64 */
	/* configuration: struct store_state, and a row of the history */
	CK_RUNNING,        /* u64: generation the agent was told to run on */
	CK_COMMITTED,      /* u64: generation; 0 = none yet */
	CK_TRIAL,          /* u64: generation on trial; 0 = none */
	CK_PREVIOUS,       /* u64: generation committed before; 0 = none, or pruned */
	CK_STOPPED,        /* u64: 1 = the server's empty map left nothing to run */
	CK_CONFIG_STATUS,  /* u64: enum config_status last told to the server */
	CK_CONFIG_HASH,    /* bytes */
	CK_CONFIG_MESSAGE, /* text */
	CK_CONFIG_STEP,    /* text: what an apply under way is at ("validating", "settling" ...) */
	CK_GENERATION,     /* row: u64 */
	CK_SOURCE,         /* row: u64, enum store_source */
	CK_OUTCOME,        /* row: u64, enum store_outcome */
	CK_MADE,           /* row: u64 */
	CK_ENDED,          /* row: u64 */
	/* health */
	CK_HEALTHY,       /* u64: 1 = healthy, as reported to the server */
	CK_HEALTH_ERROR,  /* text */
	CK_HEALTH_STATUS, /* text */
	CK_HEALTH_TIME,   /* u64 */
	CK_HEALTH_LINK,   /* u64: 1 = the agent is connected to link, 0 = not; absent: no link */
	CK_HEALTH_PROBE, /* u64: 1 = the endpoint says well, 0 = not; absent: none, or not asked yet */
	CK_HEALTH_PROBE_TEXT, /* text */
	CK_HEALTH_WORST,      /* u64: enum worst */
	CK_HEALTH_COMPONENTS, /* u64 */
	CK_HEALTH_TREE,       /* bytes: ComponentHealth as the agent sent it, opaque to confd */
	/* processes */
	CK_PROC,          /* row: u64, enum proc */
	CK_PROC_PID,      /* row: u64; 0 = not running */
	CK_PROC_RESTARTS, /* row: u64 */
	CK_PROC_SINCE_MS, /* row: u64, CLOCK_REALTIME in milliseconds */
	CK_AGENT_SANDBOX, /* text: off, standard, strict */
	CK_WEAK,          /* u64: 1 = ordinary user without Landlock */
	/* configuration, the bodies */
	CK_TEXT,  /* bytes: the file's */
	CK_OFFER, /* bytes: offer.h */
	/* server */
	CK_SERVER_ENDPOINT, /* text: server.endpoint, without a query */
};

#endif
