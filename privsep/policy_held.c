/*
 * policy_held.c: which descriptors each process holds (see policy_held.h).  Documents, opampctl, tests.
 */
#include "policy_held.h"

#include <stddef.h>
#include <string.h>

/* clang-format off: tables */
#define EVERY_CHILD                                                                                \
	{HELD_NULL, "0 and 1"}, {HELD_LOG, "2"}, {HELD_LOOP, "libevent's, its own"},               \
	{                                                                                          \
		HELD_PIPE, "both ends of one, libevent's, its own"                                 \
	}

static const struct held parent[] = {
    {HELD_NULL, "0 and 1, in the background"},
    {HELD_OTHER, "0 and 1 in the foreground: what it was started with"},
    {HELD_LOG, "2"},
    {HELD_LOOP, "libevent's"},
    {HELD_PIPE, "libevent's; duplicates of the agent's output, for a new link"},
    {HELD_SOCKET, "its end of each channel; the link's listener and the control socket, on which "
		  "it does not accept"},
    {HELD_MEMORY, "the sections of the settings; the link's secret for the next start"},
    {HELD_PIDFD, "each child, the agent, init"},
    {HELD_CGROUP, "cgroup.kill of the agent's group"},
    {HELD_FILE, "its programs, the agent's program"},
    {HELD_DIRECTORY, "state, agent's log, agent's working directory, cgroup"},
    {HELD_NONE, NULL},
};

static const struct held netd[] = {
    EVERY_CHILD,
    {HELD_SOCKET, "channels to the parent (3) and confd; the connection to the server"},
    {HELD_MEMORY, "its section of the settings, until it is read; an offer on its way to confd; "
		  "what confd reports by it"},
    {HELD_NONE, NULL},
};

static const struct held link[] = {
    EVERY_CHILD,
    {HELD_PIPE, "the agent's output, of each start that is read"},
    {HELD_SOCKET, "channels to the parent (3) and confd; the loopback listener, the agent's "
		  "connections on it, the "
		  "health probe's, sock_diag"},
    {HELD_MEMORY, "its section of the settings, until it is read; the link's secrets; what the "
		  "agent says on its way to confd"},
    {HELD_FILE, "agent.log, for appending"},
    {HELD_NONE, NULL},
};

static const struct held confd[] = {
    EVERY_CHILD,
    {HELD_SOCKET,
	"channels to the parent (3), netd, link and procd; the control socket, and who asks there"},
    {HELD_MEMORY, "its section of the settings, until it is read; offers, configurations and "
		  "reports on their way"},
    {HELD_DIRECTORY, "storage.directory and what is below it"},
    {HELD_FILE, "files below storage.directory"},
    {HELD_NONE, NULL},
};

static const struct held procd[] = {
    EVERY_CHILD,
    {HELD_SOCKET, "channels to the parent (3) and confd"},
    {HELD_MEMORY, "its section of the settings, until it is read"},
    {HELD_PIDFD, "the agent, or its validation"},
    {HELD_CGROUP, "cgroup.kill of that start"},
    {HELD_NONE, NULL},
};

static const struct held connect_[] = {
    EVERY_CHILD,
    {HELD_SOCKET, "the channel to the parent (3); the connection that it makes; questions to the "
		  "name servers"},
    {HELD_MEMORY, "its section of the settings, until it is read"},
    {HELD_FILE, "files of the resolver below the directories above"},
    {HELD_NONE, NULL},
};

static const struct held merge[] = {
    EVERY_CHILD,
    {HELD_SOCKET, "the channel to the parent (3)"},
    {HELD_MEMORY, "its section of the settings, until it is read; what is to be merged or judged; "
		  "the result"},
    {HELD_FILE, "the local files of agent.config_files; as the settings' reader: opampd.yaml, "
		"/etc/passwd, /etc/group"},
    {HELD_NONE, NULL},
};

static const struct held init[] = {
    {HELD_SOCKET, "3: to the parent, on which it says once how the agent ended"},
    {HELD_NONE, NULL},
};

static const struct held agent[] = {
    {HELD_NULL, "0, for reading"},
    {HELD_PIPE, "1 and 2: its output, read by link"},
    {HELD_MEMORY, "4, a Collector only: the sealed file with the link's secret"},
    {HELD_NONE, NULL},
};

static const struct held hub[] = {
    {HELD_OTHER, "0 and 1: what it was started with"},
    {HELD_LOG, "2"},
    {HELD_LOOP, "libevent's"},
    {HELD_PIPE, "libevent's"},
    {HELD_SOCKET, "the two listeners, on which it does not accept; one to each of its processes, "
		  "for the one word that it is ready"},
    {HELD_FILE, "its programs"},
    {HELD_DIRECTORY, "the store's"},
    {HELD_NONE, NULL},
};

static const struct held hub_front[] = {
    {HELD_NULL, "0, 1 and 7"},
    {HELD_LOG, "2"},
    {HELD_LOOP, "libevent's, its own"},
    {HELD_PIPE, "both ends of one, libevent's, its own"},
    {HELD_SOCKET, "3: the frames to and from hub-store; 4: the agents' listener; 6: to the parent, "
		  "for the one word that it is ready; agents' connections"},
    {HELD_NONE, NULL},
};

static const struct held hub_store[] = {
    {HELD_NULL, "0 and 1"},
    {HELD_LOG, "2"},
    {HELD_LOOP, "libevent's, its own"},
    {HELD_PIPE, "both ends of one, libevent's, its own"},
    {HELD_SOCKET, "3: the frames to and from hub-front; 4: the page's listener; 6: to the parent, "
		  "for the one word that it is ready; connections of browsers and programs"},
    {HELD_FILE, "the store: hub.db and its log"},
    {HELD_NONE, NULL},
};

const struct held *
policy_held(const char *name)
{
	static const struct {
		const char *name;
		const struct held *rows;
	} all[] = {{"parent", parent}, {"netd", netd}, {"link", link}, {"confd", confd},
	    {"procd", procd}, {"connect", connect_}, {"merge", merge}, {"init", init},
	    {"agent", agent}, {"hub", hub}, {"hub-front", hub_front}, {"hub-store", hub_store}};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i].name, name) == 0)
			return all[i].rows;
	return NULL;
}
/* clang-format on */

const char *
held_name(enum held_kind kind)
{
	static const char *const names[HELD_KINDS] = {
	    [HELD_NONE] = "none",
	    [HELD_NULL] = "/dev/null",
	    [HELD_LOG] = "log",
	    [HELD_LOOP] = "epoll",
	    [HELD_PIPE] = "pipe",
	    [HELD_SOCKET] = "socket",
	    [HELD_MEMORY] = "memory file",
	    [HELD_PIDFD] = "pidfd",
	    [HELD_CGROUP] = "cgroup.kill",
	    [HELD_FILE] = "file",
	    [HELD_DIRECTORY] = "directory",
	    [HELD_OTHER] = "other",
	};

	return names[kind];
}
