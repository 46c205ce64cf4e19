/*
 * rogue.c: stands in for any of opampd's daemons and does what one that was taken over could do: it
 * enters no sandbox and obeys nobody.  Which act is the first word of the file rogue.NAME beside it;
 * without that file it keeps quiet.  Tests only (tests/system/rogue.t).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "privsep/child.h"
#include "privsep/log.h"
#include "privsep/memfd.h"

static struct rogue {
	struct child child;
	char act[32];
	struct event *tick;
	uint32_t count;
	int running;
} rogue;

static int
is(const char *act)
{
	return strcmp(rogue.act, act) == 0;
}

static void
to_parent(uint32_t type, const void *payload, int fd)
{
	child_send(&rogue.child, PROC_PARENT, type, payload, NULL, 0, fd);
}

static void
start_agent(uint32_t kind)
{
	struct msg_agent_start m = {.kind = kind, .generation = 1};

	rogue.running = 1;
	to_parent(MSG_AGENT_START, &m, -1);
}

static void
ask_for_merges(unsigned n)
{
	struct msg_merge m = {.kind = MERGE_COMPOSE};

	while (n-- > 0) {
		m.job = ++rogue.count;
		to_parent(MSG_MERGE_REQUEST, &m, memfd_seal("nothing", "", 0, NULL));
	}
}

static void
have_it_run(void)
{
	struct msg_run m = {.how = RUN_ENSURE, .generation = 1, .token = 1};

	child_send(&rogue.child, PROC_PROCD, MSG_PROC_RUN, &m, NULL, 0, -1);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	static const char evil[] = "receivers: {filelog: {include: [/etc/hostname]}}\n";
	struct msg_accuse accuse = {PROC_CONFD, 1, 1};
	struct msg_settled settled = {SETTLED_COUNT};
	struct msg_uid uid = {{0}};
	unsigned i;

	(void)fd;
	(void)what;
	(void)arg;
	if (is("accuse"))
		to_parent(MSG_CHILD_ACCUSE, &accuse, -1);
	else if (is("merges"))
		ask_for_merges(20);
	else if (is("reloads"))
		to_parent(MSG_RELOAD_REQUEST, NULL, -1);
	else if (is("settles"))
		for (i = 0; i < 100; i++) {
			settled.what = ++rogue.count % SETTLED_COUNT;
			to_parent(MSG_CONFD_SETTLED, &settled, -1);
		}
	else if (is("unsettled"))
		to_parent(MSG_CONFD_SETTLED, &settled, -1);
	else if (is("starts") && !rogue.running)
		start_agent(AGENT_PROBE);
	else if (is("run") && !rogue.running)
		start_agent(AGENT_RUN);
	else if (is("secret"))
		to_parent(
		    MSG_LINK_SECRET_NEXT, NULL, memfd_seal("evil", evil, sizeof(evil) - 1, NULL));
	else if (is("talk"))
		for (i = 0; i < 100; i++)
			child_send(&rogue.child, PROC_NETD, MSG_NET_IDENTITY, &uid, NULL, 0, -1);
}

static int
on_message(void *ctx, struct message *m)
{
	(void)ctx;
	if (m->type == MSG_AGENT_EXITED) {
		rogue.running = 0;
		on_tick(-1, 0, NULL);
	}
	return 0;
}

static void
on_peer_up(void *ctx, enum proc peer)
{
	(void)ctx;
	if (is("have") && peer == PROC_PROCD)
		have_it_run();
}

static void
on_end(void *ctx)
{
	(void)ctx;
	child_exit(&rogue.child, 0);
}

static const struct child_handlers handlers = {
    .message = on_message, .peer_up = on_peer_up, .end = on_end};

static void
read_act(const char *name)
{
	char path[PATH_MAX + 32], self[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	FILE *f;

	if (n <= 0)
		return;
	self[n] = '\0';
	slash = strrchr(self, '/');
	*slash = '\0';
	(void)snprintf(path, sizeof(path), "%s/rogue.%s", self, name);
	f = fopen(path, "re");
	if (f == NULL)
		return;
	if (fscanf(f, "%31s", rogue.act) != 1)
		rogue.act[0] = '\0';
	fclose(f);
}

int
main(int argc, char **argv)
{
	struct timeval often = {0, 10000};
	struct msg_ready ready = {.seccomp = 1};
	const char *name = argc == 1 ? strrchr(argv[0], '-') : NULL;
	uint32_t peer;

	if (name == NULL)
		return 2;
	read_act(++name);
	child_begin(&rogue.child, policy_of(proc_by_name(name)), &handlers, NULL);
	to_parent(MSG_CHILD_READY, &ready, -1);
	for (peer = PROC_PARENT + 1; peer < PROC_COUNT; peer++)
		if (rogue.child.peers[peer] != NULL)
			on_peer_up(NULL, (enum proc)peer);
	if (is("deaf"))
		for (;;)
			pause();
	rogue.tick = event_new(rogue.child.base, -1, EV_PERSIST, on_tick, NULL);
	if (rogue.tick == NULL || event_add(rogue.tick, &often) == -1)
		return 1;
	child_run(&rogue.child);
}
