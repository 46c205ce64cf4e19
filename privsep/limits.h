/*
 * limits.h: every bound on sizes, counts, depths and rates that foreign bytes can
 * reach (invariant I11).  One place, so that an auditor can read them together.
 * "Settable" names the key in opampd.yaml that replaces the default.
 */
#ifndef PRIVSEP_LIMITS_H
#define PRIVSEP_LIMITS_H

#define KIB 1024u
#define MIB (1024u * 1024u)

/* Channels between processes. */
#define LIMIT_MESSAGE_PAYLOAD (16 * KIB) /* bytes after the header */
#define LIMIT_CHANNEL_QUEUE   256        /* messages waiting to be sent on one channel */
#define LIMIT_CHANNEL_FILES   32         /* of these, those with a descriptor (not the parent's) */
#define LIMIT_MEMFD           (36 * MIB) /* bytes in any one sealed memfd */

/* What a child can hold: its policy's limits on data and descriptors, and these. */
#define LIMIT_OFFER_BESIDE (1 * MIB) /* an offer's names, types, hash and offsets */
#define LIMIT_SPACE_BESIDE                                                                         \
	(64 * MIB)       /* address space beyond its data: programs, libraries, the stack */
#define LIMIT_RESULTS 12 /* descriptors that a merge opens beyond those it was handed */

/* What the service manager is told (parent_ready.c): below TimeoutStartSec= of the units. */
#define LIMIT_READY_MS        60000 /* so long for the agent to run, or for the reason why not */
#define LIMIT_READY_UNWELL_MS 10000 /* that it runs, but is not well: it may just be starting */
#define LIMIT_READY_LIVES_MS  1000  /* so long it has to be well; also between two words on it */
#define LIMIT_READY_REFUSED_MS                                                                     \
	60000 /* so long a word on a refused upgrade stands, before the one on the agent */

/* Settings. */
#define LIMIT_SETTINGS_FILE    (1 * MIB)
#define LIMIT_SETTINGS_RECORD  (1 * MIB)
#define LIMIT_SETTINGS_ENTRIES 4096
#define LIMIT_SETTINGS_VALUE   (256 * KIB) /* one value (a PEM text, say) */

/* OpAMP messages: WebSocket and protobuf (both sides). */
#define LIMIT_OPAMP_MESSAGE    (32 * MIB) /* settable: limits.message_size */
#define LIMIT_LINK_MESSAGE     (32 * MIB) /* from the agent */
#define LIMIT_WS_FRAGMENTS     1024 /* frames of one message, or more if they have on average */
#define LIMIT_WS_FRAGMENT      (1 * KIB)  /* so many bytes: Go's clients send pieces of 4 KiB */
#define LIMIT_WS_QUEUED        64         /* pongs and messages not yet written */
#define LIMIT_WS_OUTPUT        (64 * MIB) /* bytes waiting in our output buffer */
#define LIMIT_PB_DEPTH         64         /* nested protobuf messages */
#define LIMIT_PB_FIELDS        1000000    /* fields in one protobuf message, nested ones included */
#define LIMIT_PB_ELEMENTS      100000     /* elements of any one repeated or map field */
#define LIMIT_PB_BUDGET_FACTOR 8          /* decoded memory <= factor * wire size + 1 MiB */
#define LIMIT_PB_STRING        (4 * MIB)  /* one string field */
#define LIMIT_ATTRIBUTES       1024       /* of the agent's description, each of its two lists */
#define LIMIT_FULL_STATE_MS    1000       /* between two reports that the server asked for */

/* TLS towards the server. */
#define LIMIT_TLS_HANDSHAKE (1 * MIB)   /* bytes of the server until it is done */
#define LIMIT_TLS_CHAIN     (128 * KIB) /* its certificates */
#define LIMIT_TLS_TURN      (192 * KIB) /* read by one call, whatever they are */

/* HTTP heads (responses of the server, requests of the agent, probes). */
#define LIMIT_HTTP_LINE    (8 * KIB)
#define LIMIT_HTTP_HEAD    (32 * KIB)
#define LIMIT_HTTP_HEADERS 100
#define LIMIT_PROBE_BODY   (4 * MIB)  /* of a health endpoint's answer, read and dropped */
#define LIMIT_HTTP_BODY    (64 * KIB) /* error pages: read, cut, thrown away */

/* Remote configuration. */
#define LIMIT_CONFIG_BYTES (16 * MIB) /* all files together; settable: limits.config_size */
#define LIMIT_CONFIG_FILES 256
#define LIMIT_CONFIG_NAME  1024       /* bytes of one file's name */
#define LIMIT_CONFIG_HASH  (64 * KIB) /* config_hash, opaque */

/* YAML (only in merge). */
#define LIMIT_YAML_DEPTH      64
#define LIMIT_YAML_NODES      1000000
#define LIMIT_YAML_SCALAR     (4 * MIB)
#define LIMIT_YAML_ALIASES    1000       /* local files; remote ones may have none */
#define LIMIT_YAML_DIRECTIVES 64         /* %TAG lines */
#define LIMIT_YAML_OUTPUT     (32 * MIB) /* emitted bytes */
#define LIMIT_MERGE_MEMORY    (512 * MIB)
#define LIMIT_MERGE_SECONDS   20
#define LIMIT_YAML_TREE       (LIMIT_MERGE_MEMORY / 2) /* a source and the result live at the same time */

/* What the agent says. */
#define LIMIT_HEALTH_COMPONENTS 4096
#define LIMIT_HEALTH_DEPTH      16
#define LIMIT_AGENT_TEXT        4096 /* last_error and status texts that we pass on */
#define LIMIT_LINK_PENDING      8    /* loopback connections not yet verified */
#define LIMIT_LINK_PENDING_MS   2000
#define LIMIT_LINK_EARLY        4 /* connections that came before the start they may belong to was told */
#define LIMIT_LOG_LINE          (16 * KIB)
#define LIMIT_LOG_FILE          (10 * MIB) /* settable: agent.log.max_size */
#define LIMIT_LOG_FILES         5          /* settable: agent.log.max_files */
#define LIMIT_LOG_TAIL          50         /* last lines kept for error reports */
#define LIMIT_LOG_TAIL_BYTES    (8 * KIB)

/* Rates. */
#define LIMIT_BUSY_PERCENT         25 /* of a processor: what a peer's bytes may cost netd, link */
#define LIMIT_BUSY_BURST_MS        1000 /* of processor time, before that holds */
#define LIMIT_OFFERS_PER_MINUTE    30   /* settable: limits.offers_per_minute */
#define LIMIT_RESTARTS_PER_MINUTE  30   /* restart commands of the server acted on */
#define LIMIT_UIDS_PER_MINUTE      10   /* instance uids of the server taken */
#define LIMIT_ROTATIONS_PER_MINUTE 60
#define LIMIT_NEWS_PER_SECOND      10 /* times that confd is told what the agent says of itself */
#define LIMIT_DESCRIBES_PER_MINUTE 10 /* descriptions of the agent written to disk */
#define LIMIT_CONNECTS_PER_SECOND  10 /* connectors started for one asker */
#define LIMIT_MERGES_PER_SECOND    50 /* merges started for confd; more wait */
#define LIMIT_STARTS_PER_SECOND    50 /* of the agent, validations and probes included */
#define LIMIT_RELOADS_PER_MINUTE   12 /* that confd may ask for; SIGHUP is root's */

/* An upgrade of opampd in place (upgrade_state.h). */
#define LIMIT_UPGRADE_STATE       (4 * MIB) /* its record: mostly the environment */
#define LIMIT_UPGRADE_FD          4096      /* numbers of the descriptors that it hands on */
#define LIMIT_UPGRADE_CHECK_MS    60000 /* for the new program to say whether it can take over */
#define LIMIT_UPGRADE_WAIT_MS     60000 /* for a configuration to be on trial, before it */
#define LIMIT_UPGRADE_MS          30000 /* for our children to end before it */
#define LIMIT_UPGRADES_PER_MINUTE 12
#define LIMIT_UPGRADES            32 /* of one process: each adds a filter to it and to its later children */

/* State on disk. */
#define LIMIT_GENERATIONS       10 /* settable: limits.generations */
#define LIMIT_STATE_FILE        (256 * KIB)
#define LIMIT_STATE_DESCRIPTION (1 * MIB) /* AgentDescription kept for the next start */

/* The control socket. */
#define LIMIT_CONTROL_CONNECTIONS 16
#define LIMIT_CONTROL_IDLE_MS     5000
#define LIMIT_CONTROL_BYTES       (64 * MIB) /* answers not yet taken by their clients */
#define LIMIT_CONTROL_GROUPS      1024       /* groups of a client that are looked at */

/* opamphub. */
#define LIMIT_HUB_MESSAGE (64 * MIB) /* an agent's message; settable: --message-limit */
#define LIMIT_HUB_REPORT                                                                           \
	(72 * MIB) /* a report on its way to the store: it may grow a little as JSON */
#define LIMIT_HUB_CONFIG (17 * MIB) /* one version of a configuration */
#define LIMIT_HUB_CUSTOM (1 * MIB)  /* a custom message, either way */
#define LIMIT_HUB_TEXT                                                                             \
	(16 * KIB) /* an agent's words in a list (errors, status): cut; whole elsewhere */
#define LIMIT_HUB_BATCH (256 * KIB) /* a list of conversations */
#define LIMIT_HUB_UNFINISHED                                                                       \
	(256 *                                                                                     \
	    MIB) /* of all agents together: messages that are not whole or wait, answers unread */
#define LIMIT_HUB_UNREAD_MS   120000     /* an agent that does not read what it is offered */
#define LIMIT_HUB_ATTRIBUTES  (64 * KIB) /* of one agent, that can be searched and are listed */
#define LIMIT_HUB_WEB_BODIES  (64 * MIB) /* of all requests together that are under way */
#define LIMIT_HUB_WEB_ANSWERS (64 * MIB) /* of all clients together that do not read them */
#define LIMIT_HUB_WEB_KEPT    (4 * MIB)  /* events kept for watchers that come back */
#define LIMIT_HUB_JSON_PIECES 200000     /* of memory for the JSON of one request */
#define LIMIT_HUB_JSON_FACTOR 8          /* times its text: what JSON may need when it is read */
#define LIMIT_HUB_AGENTS      20000      /* known; settable: --max-agents */
#define LIMIT_HUB_EVENTS      200        /* kept for each agent */
#define LIMIT_HUB_SEARCH      256        /* bytes of a search */

/* Time. */
#define LIMIT_BACKOFF_CHILD_MS  60000    /* restart of a dead child grows to this, and never ends */
#define LIMIT_BACKOFF_SERVER_MS 300000   /* reconnecting to the server */
#define LIMIT_RETRY_AFTER_MS    86400000 /* a server cannot send us away for longer than a day */
#define LIMIT_CONNECT_MS        30000
#define LIMIT_SHUTDOWN_MS       20000

#endif
