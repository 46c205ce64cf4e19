/*
 * fuzz_parent_messages.c: any bytes with any descriptor from any child to the parent, through the real
 * channels, while one-shots and agents come and go and children die.  No program is executed: every
 * process that is forked waits to be killed.
 *
 * What must hold: no crash; never two agents of one kind (I9); never more one-shots than their places;
 * nobody but the parent's own children and agents is ever signalled (a wrong pid would be ours).
 *
 * Input: steps of one byte what, one byte who, then as the step needs.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "privsep/child.h"
#include "privsep/log.h"
#include "privsep/link_file.h"
#include "privsep/memfd.h"
#include "privsep/channel.h"
static struct channel *channel_new_uncounted(struct event_base *base, int fd, enum proc self,
    enum proc peer, const struct channel_callbacks *cb, void *ctx);
#define channel_new channel_new_uncounted
#include "privsep/channel.c" /* every message that passes it is counted */
#undef channel_new
#include "privsep/parent.h"

#include "messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PROCESSES 512 /* made by one input */
#define STEPS     512 /* of one input */
#define DRAIN     16  /* steps between two looks at all of them */

struct input {
	const uint8_t *data;
	size_t size;
};

static struct parent parent;
static struct process { /* one that was forked, and the other end of its channel */
	pid_t pid;
	int end, agent, dead;
} processes[PROCESSES];
static size_t process_count;
static int last_end = -1;
static char stacks[PROCESSES][4096] __attribute__((aligned(16)));

/* ---- in place of privsep's: the same channel, with a counter before the handler */

static struct channel_callbacks counted;
static channel_handler to_count;

static int
count(void *ctx, struct message *m)
{
	uint32_t type = m->type, peer = m->peer;
	int r = to_count(ctx, m);

	counts.refused--; /* it was counted when it was sent */
	count_message(type, peer, PROC_PARENT, r == 0);
	return r;
}

struct channel *
channel_new(struct event_base *base, int fd, enum proc self, enum proc peer,
    const struct channel_callbacks *cb, void *ctx)
{
	to_count = cb->message;
	counted = *cb;
	counted.message = count;
	return channel_new_uncounted(base, fd, self, peer, &counted, ctx);
}

static uint8_t
byte(struct input *in)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->data++;
}

static _Noreturn int
wait_to_be_killed(void *arg)
{
	(void)arg;
	(void)syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	for (;;)
		(void)syscall(SYS_pause);
}

/* Shares our memory and has a stack of its own: cheap, and nothing of ours runs in it. */
static pid_t
make_process(int agent)
{
	struct process *p = &processes[process_count];
	pid_t pid;

	if (process_count == PROCESSES) {
		errno = EAGAIN;
		return -1;
	}
	pid = clone(
	    wait_to_be_killed, stacks[process_count] + sizeof(stacks[0]), CLONE_VM | SIGCHLD, NULL);
	if (pid == -1)
		return -1;
	*p = (struct process){pid, agent ? -1 : last_end, agent, 0};
	if (!agent)
		last_end = -1;
	process_count++;
	return pid;
}

/* In place of libc's. */
pid_t
fork(void)
{
	return make_process(0);
}

/* In place of libc's: the end that the child would have stays with us. */
int
socketpair(int domain, int type, int protocol, int sv[2])
{
	if (syscall(SYS_socketpair, domain, type, protocol, sv) == -1)
		return -1;
	if (last_end >= 0)
		close(last_end);
	last_end = fcntl(sv[1], F_DUPFD_CLOEXEC, 3);
	return 0;
}

static int
is_our_word(const char *word)
{
	static const char *const words[] = {"validate", "featuregate", "service.AllowNoPipelines",
	    "--feature-gates=service.AllowNoPipelines", "--config", "/r", "/c"};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(word, words[i]) == 0)
			return 1;
	return strncmp(word, "file:/proc/self/fd/", 19) == 0;
}

/* In place of privsep's. */
int
agent_spawn(
    const struct agent_command *c, char **argv, int group, int secret, struct agent_start *s)
{
	size_t i;
	int pipes[4];

	/* the command of the settings, and no word of it from a message (I4) */
	if (c != &parent.command || argv[0] == NULL || strcmp(argv[0], "/bin/true") != 0)
		abort();
	for (i = 1; argv[i] != NULL; i++)
		if (!is_our_word(argv[i]))
			abort();
	(void)group;
	/* what becomes a configuration file of the agent has the form that link may give it */
	if (secret != -1 && link_file_check(secret) == -1)
		abort();
	memset(s, 0, sizeof(*s));
	s->pid = make_process(1);
	s->pidfd = s->agent = s->init = s->out = s->err = -1;
	if (s->pid == -1)
		return -1;
	if (pipe2(pipes, O_CLOEXEC) == -1 || pipe2(pipes + 2, O_CLOEXEC) == -1)
		abort();
	s->pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
	s->out = pipes[0];
	s->err = pipes[2];
	close(pipes[1]);
	close(pipes[3]);
	return 0;
}

/* In place of privsep's, which leaves it to a thread: here they are counted. */
void
discard_fd(int fd)
{
	close(fd);
}

unsigned
discard_pending(void)
{
	return 0;
}

/* In place of privsep's. */
void
agent_release(struct agent_start *s)
{
	(void)s;
}

/* ---- a parent with everything up */

static void
make_settings(void)
{
	static const uint32_t ids[2] = {1, 1};
	struct record_writer w = {0};
	struct error err;
	int fd;

	record_put_string(&w, SET_ENDPOINT, "ws://127.0.0.1:1/");
	record_put_string(&w, SET_HEALTH_ENDPOINT, "http://127.0.0.1:1/");
	record_put_string(&w, SET_EXECUTABLE, "/bin/true");
	record_put(&w, SET_UID_AGENT, 0, 0, ids, sizeof(ids));
	fd = record_finish_memfd(&w, "settings", &err);
	if (fd == -1 || settings_open(&parent.settings, fd, PROC_PARENT, &err) == -1)
		abort();
	close(fd);
}

static void
make_parent(void)
{
	struct parent *p = &parent;
	size_t i;

	memset(p, 0, sizeof(*p));
	p->settings_name = "/nonexistent/opampd.yaml";
	p->cwd = strdup("/");
	p->state_dir = p->log_dir = p->work_dir = p->control = p->link_listener = -1;
	p->secret_next = -1;
	p->staged = p->merge_next = (struct merge_job){0, -1, -1, -1};
	p->cgroup.base = -1;
	p->base = event_base_new();
	make_settings();
	p->command.settings = &p->settings;
	p->command.executable = p->command.work_dir = -1;
	p->command.run_path = strdup("/r");
	p->command.candidate_path = strdup("/c");
	for (i = 0; i < PROC_COUNT; i++) {
		p->sections[i] = p->new_sections[i] = p->programs[i] = -1;
		p->daemons[i] = (struct slot){.parent = p, .proc = (enum proc)i, .pidfd = -1};
	}
	for (i = 0; i < CONNECT_SLOTS; i++)
		p->connects[i] = (struct slot){.parent = p, .proc = PROC_CONNECT, .pidfd = -1};
	p->reader = p->merge = (struct slot){.parent = p, .proc = PROC_MERGE, .pidfd = -1};
	for (i = 0; i < AGENT_SLOTS; i++)
		p->agents[i] = (struct agent_slot){.parent = p,
		    .pidfd = -1,
		    .agent = -1,
		    .init = -1,
		    .group = -1,
		    .secret = -1,
		    .out = -1,
		    .err = -1};
	parent_ready_begin(p, LIMIT_READY_MS);
	parent_start_daemons(p);
}

static void
free_event(struct event **e)
{
	if (*e != NULL)
		event_free(*e);
	*e = NULL;
}

static void
free_slot(struct slot *s)
{
	channel_free(s->channel);
	free_event(&s->exited);
	free_event(&s->timer);
	if (s->pidfd >= 0)
		close(s->pidfd);
}

static void
free_parent(void)
{
	struct parent *p = &parent;
	struct merge_job *jobs[2] = {&p->staged, &p->merge_next};
	size_t i, k;

	for (i = 0; i < process_count; i++) {
		(void)kill(processes[i].pid, SIGKILL);
		(void)waitpid(processes[i].pid, NULL, 0); /* ECHILD: the parent has reaped it */
		if (processes[i].end >= 0)
			close(processes[i].end);
	}
	process_count = 0;
	if (last_end >= 0)
		close(last_end);
	last_end = -1;
	for (i = 0; i < PROC_COUNT; i++)
		free_slot(&p->daemons[i]);
	for (i = 0; i < CONNECT_SLOTS; i++)
		free_slot(&p->connects[i]);
	free_slot(&p->merge);
	free_slot(&p->reader);
	for (i = 0; i < AGENT_SLOTS; i++) {
		int fds[] = {
		    p->agents[i].pidfd, p->agents[i].secret, p->agents[i].out, p->agents[i].err};

		free_event(&p->agents[i].exited);
		free_event(&p->agents[i].sweep);
		free_event(&p->agents[i].patience);
		for (k = 0; k < 4; k++)
			if (fds[k] >= 0)
				close(fds[k]);
	}
	for (i = 0; i < 2; i++) {
		int fds[] = {jobs[i]->remote, jobs[i]->emitted, jobs[i]->parameters};

		for (k = 0; k < 3; k++)
			if (fds[k] >= 0)
				close(fds[k]);
	}
	for (i = 0; i < PROC_COUNT; i++)
		if (p->new_sections[i] >= 0)
			close(p->new_sections[i]);
	if (p->secret_next >= 0)
		close(p->secret_next);
	if (p->command.executable >= 0) /* opened anew by each start */
		close(p->command.executable);
	free_event(&p->deadline);
	free_event(&p->ready.news);
	free_event(&p->ready.limit);
	free_event(&p->ready.again);
	free_event(&p->ready.watchdog);
	free(p->cwd);
	free(p->command.run_path);
	free(p->command.candidate_path);
	settings_free(&p->settings);
	event_base_free(p->base);
}

/* ---- steps */

#define POOL 10 /* descriptors at hand, 0 for none */
static int pool[POOL];

static void
make_pool(void)
{
	static const char secret[] = LINK_FILE_BEFORE
	    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" LINK_FILE_AFTER;
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int sv[2];

	pool[0] = -1;
	pool[1] = memfd_seal("fuzz", "12345678", 8, NULL);
	pool[2] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pool[3] = open("/dev/null", O_RDWR | O_CLOEXEC);
	pool[4] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pool[5] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(pool[5], (struct sockaddr *)&sin, sizeof(sin)) == -1 || listen(pool[5], 1) == -1)
		abort();
	if (syscall(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == -1)
		abort();
	close(sv[1]);
	pool[6] = sv[0];
	pool[7] = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	pool[8] = eventfd(0, EFD_CLOEXEC);
	pool[9] = memfd_seal("secret", secret, sizeof(secret) - 1, NULL);
}

static void
send_to_parent(int end, const void *data, size_t len, int fd)
{
	struct iovec iov = {(void *)(uintptr_t)data, len};
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		h.msg_control = control.space;
		h.msg_controllen = sizeof(control.space);
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(int));
	}
	if (sendmsg(end, &h, MSG_DONTWAIT | MSG_NOSIGNAL) != -1)
		counts.refused++;
}

static enum proc
proc_of(const struct process *p)
{
	size_t i;

	for (i = 0; i < PROC_COUNT; i++)
		if (parent.daemons[i].pid == p->pid)
			return (enum proc)i;
	for (i = 0; i < CONNECT_SLOTS; i++)
		if (parent.connects[i].pid == p->pid)
			return PROC_CONNECT;
	return PROC_MERGE;
}

/*
 * Mostly one that this process may send; from 192 on any.  The table's last message has a number of its own,
 * so that inputs which were kept before it came mean what they meant.
 */
static uint32_t
choose_type(uint8_t number, const struct process *from)
{
	enum proc proc = proc_of(from);
	uint32_t type, count = 0;

	if (number >= 192)
		return (number - 192u) % (MSG_COUNT + 1);
	if (number == 191 && proc == PROC_CONFD)
		return MSG_CONFD_SETTLED;
	for (type = 1; type < MSG_CONFD_SETTLED; type++)
		count += (message_rules[type].to & P(PARENT)) != 0 &&
			 (message_rules[type].from >> proc & 1) != 0;
	for (type = 1; count > 0 && type < MSG_CONFD_SETTLED; type++)
		if ((message_rules[type].to & P(PARENT)) != 0 &&
		    (message_rules[type].from >> proc & 1) != 0 && number-- % count == 0)
			return type;
	return number;
}

/* A message as the table has it, with fields of the input; or with one thing bent. */
static void
step_message(struct input *in, const struct process *from)
{
	struct {
		uint32_t head[4];
		uint8_t payload[512 + 4];
	} m = {.head = {choose_type(byte(in), from), 0, 1, 0}};
	const struct message_rule *rule = &message_rules[m.head[0] % MSG_COUNT];
	uint8_t bent = byte(in), kind = byte(in);
	size_t len = rule->size, i;

	bent = bent < 192 ? 0 : bent & 63; /* most are as they should be */

	if ((bent & 1) != 0)
		len += kind % 16;
	if ((bent & 2) != 0 && len > 0)
		len--;
	if (len > sizeof(m.payload) - 4)
		len = sizeof(m.payload) - 4;
	m.head[1] = (uint32_t)len + ((bent & 4) != 0);
	m.head[3] = (bent & 8) != 0;
	/* fields are mostly small numbers: one byte of input for each */
	for (i = 0; i < len; i += 4)
		put_field(m.payload + i, byte(in));
	if ((bent & 16) == 0)
		kind = rule->fd == FD_NONE     ? 0
		       : rule->fd == FD_MEMFD  ? (kind & 1) != 0 ? 9 : 1
		       : rule->fd == FD_STREAM ? 4
					       : kind;
	send_to_parent(
	    from->end, &m, (bent & 32) != 0 ? 7 : sizeof(m.head) + len, pool[kind % POOL]);
}

/* One of the parent's children, of those that came last. */
static const struct process *
choose(uint8_t who)
{
	size_t tries = 0, i = process_count - 1 - who % (process_count < 16 ? process_count : 16);

	while (processes[i].dead && tries++ < process_count)
		i = (i + 1) % process_count;
	return &processes[i];
}

static void
turn_loop(void)
{
	size_t i;

	for (i = 0; i < 2; i++)
		(void)event_base_loop(parent.base, EVLOOP_NONBLOCK);
}

static void
drain_all(void)
{
	char sink[64];
	size_t i;

	for (i = 0; i < process_count; i++) /* what the parent says is thrown away */
		while (processes[i].end >= 0 &&
		       recv(processes[i].end, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			;
}

static void
step_death(const struct process *who)
{
	int pidfd = (int)syscall(SYS_pidfd_open, who->pid, 0);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	if (pidfd == -1)
		return; /* reaped already */
	(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	(void)poll(&p, 1, 1000);
	close(pidfd);
}

/* By the kernel's word, not the parent's. */
static int
lives(pid_t pid)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == 0;
}

static void
check(void)
{
	size_t i, run = 0, all = 0, used = 0;

	for (i = 0; i < process_count; i++) {
		if (!processes[i].dead && !lives(processes[i].pid))
			processes[i].dead = 1;
		all += (size_t)!processes[i].dead;
		run += (size_t)(processes[i].agent && !processes[i].dead);
	}
	for (i = 0; i < AGENT_SLOTS; i++)
		used += parent.agents[i].start != 0;
	for (i = 0; i < AGENT_SLOTS; i++) /* the one for good in its place, and jobs in theirs */
		if (parent.agents[i].start != 0 &&
		    (parent.agents[i].kind == AGENT_NOTHING ||
			parent.agents[i].kind > AGENT_PROBE ||
			(parent.agents[i].kind == AGENT_RUN) != (i == 0)))
			abort();
	/* 4 daemons, 2 connectors, 1 merge, 1 reader, 1 agent and 1 job */
	if (run > used || all > 4 + CONNECT_SLOTS + 2 + AGENT_SLOTS)
		abort();
}

/* Doubled, this is none: whoever was ended is there again in the next turn. */
static void
no_patience(void)
{
	size_t i;

	for (i = 0; i < PROC_COUNT; i++)
		parent.daemons[i].backoff_ms = 1ull << 63;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	static int once;
	unsigned n;

	if (!once) {
		log_init("fuzz", LOG_SINK_STDERR, LOG_LEVEL_ERROR);
		log_set_level(LOG_LEVEL_NOTHING);
		(void)signal(SIGPIPE, SIG_IGN);
		make_pool();
		once = 1;
	}
	input_begins();
	make_parent();
	turn_loop();
	for (n = 0; in.size > 0 && n < STEPS; n++) {
		uint8_t what = byte(&in), who = byte(&in);
		const struct process *p = choose(who);

		if (what % 16 == 0)
			step_death(p);
		else if (what == 1)
			parent_reload(&parent);
		else if (what == 2)
			parent_shutdown(&parent);
		else if (p->end >= 0)
			step_message(&in, p);
		no_patience();
		turn_loop();
		if (n % DRAIN == 0) {
			drain_all();
			check();
		}
	}
	turn_loop();
	check();
	free_parent();
	input_ends();
	return 0;
}
