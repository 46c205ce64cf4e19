/*
 * fakeagent.c: stands in for a Collector in the system tests: its command line, its `validate`, its
 * `featuregate`, and OpAMP as its extension speaks it.  How it behaves is in its configuration, as
 * "fake_NAME: value" lines wherever they stand:
 *
 *	fake_invalid: text       validate fails with this text (and so does a start or a reload)
 *	fake_validate_hangs: 1   validate never ends
 *	fake_exit: code          ends at once with this code, after an Error: line
 *	fake_exit_after: ms      ends later
 *	fake_kill: signal        ends by this signal at once
 *	fake_hang: 1             does nothing at all, for ever
 *	fake_never_healthy: 1    connects and stays unhealthy
 *	fake_ready_after: ms     becomes healthy then (default: at once)
 *	fake_unhealthy_after: ms turns unhealthy: a permanent error of its exporter
 *	fake_shaky_after: ms     turns unhealthy: a recoverable error of its exporter
 *	fake_well_after: ms      is well again
 *	fake_mute_after: ms      stops doing anything but stays there
 *	fake_children: n         starts n processes that ignore SIGTERM and stay
 *	fake_ignore_term: 1      ignores SIGTERM
 *	fake_reload_dies: 1      ends with code 1 at a reload
 *	fake_flood: n            prints n lines of 200 bytes
 *	fake_chatter: ms         prints and reports something new so often
 *	fake_say: text           prints it, on standard error
 *	fake_eat: MiB            takes so much memory and uses it
 *	fake_bomb: n             starts up to n processes that stay, prints how many it got
 *	fake_siblings: n         starts n processes that are its parent's children and end, prints how many it got
 *	fake_read: path, fake_write: path   tries to, and prints how it went
 *
 * SIGUSR1 turns it unhealthy (a recoverable error), and well again.
 * FAKE_GATE=0 in the environment: it does not know the feature gate.  No library, no thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef FAKE_VERSION
#define FAKE_VERSION "1.0.0"
#endif
#define NEVER        UINT64_MAX
#define HEARTBEAT_MS 30000

struct bytes {
	unsigned char *data;
	size_t len, size;
};

static struct {
	char *config;        /* all files, one after the other */
	const char *path[8]; /* --config */
	size_t paths;
	size_t first_len; /* of the first file, which is reported as the effective one */
	unsigned char uid[16];
	char secret[128], host_port[64];
	int fd, open; /* the connection; open: it speaks OpAMP */
	int alone;    /* the lock on its working directory */
	struct bytes in;
	uint64_t sequence, reconnect_at, wait_ms, heartbeat_at;
	uint64_t began, ready_at, bad_at, shaky_at, well_at, exit_at, mute_at, chatter_at;
	int healthy, described; /* described: on any connection of this life */
	const char *status, *error;
	unsigned chatter;
} me = {.fd = -1, .alone = -1};

static volatile sig_atomic_t got_term, got_hup, got_usr;

static uint64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void
out_of_memory(void)
{
	(void)!write(2, "Error: no memory\n", 17);
	_exit(3);
}

static void
add(struct bytes *b, const void *data, size_t len)
{
	if (b->size - b->len < len) {
		b->size = (b->len + len) * 2 + 256;
		b->data = realloc(b->data, b->size);
		if (b->data == NULL)
			out_of_memory();
	}
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

/* ---- the configuration */

/* The text after "key:", without quotes; 0: the key is not there. */
static int
find(const char *key, char *value, size_t size)
{
	const char *at = me.config;
	size_t n = strlen(key), len;

	while ((at = strstr(at, key)) != NULL) {
		if ((at == me.config || strchr(" \n\"'", at[-1]) != NULL) &&
		    (at[n] == ':' || strncmp(at + n, "\":", 2) == 0))
			break;
		at += n;
	}
	if (at == NULL)
		return 0;
	at = strchr(at + n, ':') + 1;
	at += strspn(at, " \"'");
	len = strcspn(at, "\n");
	while (len > 0 && strchr("\"' \r", at[len - 1]) != NULL)
		len--;
	if (len >= size)
		len = size - 1;
	memcpy(value, at, len);
	value[len] = '\0';
	return 1;
}

static long
number(const char *key, long otherwise)
{
	char value[64];

	return find(key, value, sizeof(value)) ? strtol(value, NULL, 10) : otherwise;
}

static uint64_t
moment(const char *key)
{
	long ms = number(key, -1);

	return ms < 0 ? NEVER : now_ms() + (uint64_t)ms;
}

static void
read_config(void)
{
	struct bytes all = {0};
	char piece[65536], value[256], *digits;
	ssize_t n;
	size_t i, nibble = 0;

	for (i = 0; i < me.paths; i++) {
		const char *path = me.path[i];
		int fd;

		if (strncmp(path, "file:", 5) == 0)
			path += 5;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd == -1) {
			fprintf(stderr, "Error: cannot read %s: %s\n", path, strerror(errno));
			exit(1);
		}
		while ((n = read(fd, piece, sizeof(piece))) > 0)
			add(&all, piece, (size_t)n);
		close(fd);
		if (i == 0)
			me.first_len = all.len;
		add(&all, "\n", 1);
	}
	add(&all, "", 1);
	free(me.config);
	me.config = (char *)all.data;
	me.host_port[0] = me.secret[0] = '\0';
	if (find("endpoint", value, sizeof(value)) && strncmp(value, "ws://", 5) == 0)
		(void)snprintf(me.host_port, sizeof(me.host_port), "%.*s",
		    (int)strcspn(value + 5, "/"), value + 5);
	if (find("X-Opampd-Link", value, sizeof(value)))
		(void)snprintf(me.secret, sizeof(me.secret), "%.120s", value);
	if (find("instance_uid", value, sizeof(value)))
		for (digits = value; *digits != '\0' && nibble < 32; digits++)
			if (*digits != '-') {
				unsigned v = (unsigned)(*digits <= '9' ? *digits - '0'
								       : (*digits | 32) - 'a' + 10);

				me.uid[nibble / 2] =
				    (unsigned char)(nibble % 2 == 0 ? v << 4
								    : me.uid[nibble / 2] | v);
				nibble++;
			}
}

/* ---- protobuf */

static void
put_varint(struct bytes *b, uint64_t v)
{
	unsigned char c;

	do {
		c = (unsigned char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		add(b, &c, 1);
		v >>= 7;
	} while (v > 0);
}

static void
put_bytes(struct bytes *b, unsigned field, const void *data, size_t len)
{
	put_varint(b, field << 3 | 2);
	put_varint(b, len);
	add(b, data, len);
}

static void
put_text(struct bytes *b, unsigned field, const char *text)
{
	put_bytes(b, field, text, strlen(text));
}

static void
put_number(struct bytes *b, unsigned field, uint64_t v)
{
	put_varint(b, field << 3);
	put_varint(b, v);
}

static void
put_message(struct bytes *b, unsigned field, struct bytes *inner)
{
	put_bytes(b, field, inner->data, inner->len);
	free(inner->data);
	memset(inner, 0, sizeof(*inner));
}

static void
put_attribute(struct bytes *b, unsigned field, const char *key, const char *text)
{
	struct bytes value = {0}, pair = {0};

	put_text(&value, 1, text);
	put_text(&pair, 1, key);
	put_message(&pair, 2, &value);
	put_message(b, field, &pair);
}

static void
put_description(struct bytes *b)
{
	struct bytes d = {0};
	char uid[40];
	int n = 0, i;

	for (i = 0; i < 16; i++)
		n += snprintf(uid + n, sizeof(uid) - (size_t)n, "%s%02x",
		    i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", me.uid[i]);
	put_attribute(&d, 1, "service.instance.id", uid);
	put_attribute(&d, 1, "service.name", "fakeagent");
	put_attribute(&d, 1, "service.version", FAKE_VERSION);
	put_attribute(&d, 2, "host.arch", "fake64");
	put_attribute(&d, 2, "os.type", "linux");
	put_message(b, 3, &d);
}

static void
put_component(struct bytes *b, const char *key, struct bytes *parts, int well)
{
	struct bytes health = {0}, entry = {0};

	if (well)
		put_number(&health, 1, 1);
	else if (me.error != NULL)
		put_text(&health, 3, me.error);
	put_text(&health, 4, well ? "StatusOK" : me.status);
	if (parts != NULL)
		add(&health, parts->data, parts->len);
	put_text(&entry, 1, key);
	put_message(&entry, 2, &health);
	put_message(b, 6, &entry);
}

static void
put_health(struct bytes *b)
{
	struct bytes health = {0}, parts = {0};
	struct timespec t;
	uint64_t ns;
	unsigned char tag = 5 << 3 | 1;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	if (me.healthy)
		put_number(&health, 1, 1);
	else if (me.error != NULL)
		put_text(&health, 3, me.error);
	if (me.status != NULL) {
		put_text(&health, 4, me.status);
		put_component(&parts, "receiver:fake", NULL, 1);
		put_component(&parts, "exporter:fake", NULL, me.healthy);
		put_component(&health, "pipeline:metrics", &parts, me.healthy);
		free(parts.data);
	}
	add(&health, &tag, 1);
	add(&health, &ns, 8);
	put_message(b, 5, &health);
}

static void
put_effective(struct bytes *b)
{
	struct bytes file = {0}, entry = {0}, map = {0}, effective = {0};
	struct bytes text = {0};

	add(&text, me.config, me.first_len);
	if (me.chatter > 0) {
		char line[64];

		add(&text, line, (size_t)snprintf(line, sizeof(line), "# %u\n", me.chatter));
	}
	put_bytes(&file, 1, text.data, text.len);
	put_text(&file, 2, "text/yaml");
	put_text(&entry, 1, "");
	put_message(&entry, 2, &file);
	put_message(&map, 1, &entry);
	put_message(&effective, 1, &map);
	put_message(b, 6, &effective);
	free(text.data);
}

/* ---- the connection */

static void
hang_up(void)
{
	if (me.fd != -1)
		close(me.fd);
	me.fd = -1;
	me.open = 0;
	me.in.len = 0;
	me.wait_ms = me.wait_ms == 0 ? 100 : me.wait_ms * 2;
	if (me.wait_ms > 5000)
		me.wait_ms = 5000;
	me.reconnect_at = now_ms() + me.wait_ms;
}

static void
send_all(const unsigned char *data, size_t len)
{
	ssize_t n;

	while (len > 0 && me.fd != -1) {
		n = send(me.fd, data, len, MSG_NOSIGNAL);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			hang_up();
			return;
		}
		data += n;
		len -= (size_t)n;
	}
}

/* A frame of a client is masked; the mask may be anything. */
static void
send_frame(unsigned opcode, const unsigned char *data, size_t len)
{
	static const unsigned char mask[4] = {0x5a, 0xa5, 0x3c, 0xc3};
	struct bytes frame = {0};
	unsigned char head[14] = {(unsigned char)(0x80 | opcode), 0};
	size_t n = 2, i;

	if (len < 126) {
		head[1] = (unsigned char)(0x80 | len);
	} else if (len < 65536) {
		head[1] = 0x80 | 126;
		head[n++] = (unsigned char)(len >> 8);
		head[n++] = (unsigned char)len;
	} else {
		head[1] = 0x80 | 127;
		for (i = 0; i < 8; i++)
			head[n++] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
	}
	add(&frame, head, n);
	add(&frame, mask, 4);
	add(&frame, data, len);
	for (i = 0; i < len; i++)
		frame.data[n + 4 + i] ^= mask[i % 4];
	send_all(frame.data, frame.len);
	free(frame.data);
}

enum what {
	WHAT_NOTHING = 0,
	WHAT_DESCRIPTION = 1,
	WHAT_HEALTH = 2,
	WHAT_EFFECTIVE = 4,
	WHAT_GOODBYE = 8,
	WHAT_ALL = 7
};

static void
report(unsigned what)
{
	struct bytes b = {0};

	if (!me.open)
		return;
	add(&b, "", 1); /* the header: 0 */
	put_bytes(&b, 1, me.uid, sizeof(me.uid));
	put_number(&b, 2, me.sequence++);
	if (what & WHAT_DESCRIPTION)
		put_description(&b);
	put_number(&b, 4, 0x805);
	if (what & WHAT_HEALTH)
		put_health(&b);
	if (what & WHAT_EFFECTIVE)
		put_effective(&b);
	if (what & WHAT_GOODBYE)
		put_bytes(&b, 9, "", 0);
	send_frame(2, b.data, b.len);
	free(b.data);
	me.heartbeat_at = now_ms() + HEARTBEAT_MS;
}

static void
dial(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	char request[1024], host[64];
	const char *colon = strrchr(me.host_port, ':');

	me.reconnect_at = NEVER;
	if (colon == NULL)
		return;
	(void)snprintf(host, sizeof(host), "%.*s", (int)(colon - me.host_port), me.host_port);
	sin.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	me.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (me.fd == -1 || inet_pton(AF_INET, host, &sin.sin_addr) != 1 ||
	    connect(me.fd, (struct sockaddr *)&sin, sizeof(sin)) == -1) {
		hang_up();
		return;
	}
	(void)snprintf(request, sizeof(request),
	    "GET /v1/opamp HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Key: ZmFrZWFnZW50ZmFrZWFnZQ==\r\nSec-WebSocket-Version: 13\r\n"
	    "X-Opampd-Link: %s\r\n\r\n",
	    me.host_port, me.secret);
	send_all((const unsigned char *)request, strlen(request));
}

static void
opened(void)
{
	me.open = 1;
	me.wait_ms = 0;
	/* after the first connection only what is new is sent, as the extension does */
	report(me.described ? WHAT_HEALTH : WHAT_ALL);
	me.described = 1;
}

/* ServerToAgent, as far as we obey it: flags (6) and agent_identification (8). */
static void
obey(const unsigned char *p, size_t len)
{
	size_t i = 1, n;
	uint64_t tag, v;
	int shift;

	while (i < len) {
		tag = v = 0;
		for (shift = 0; i < len && shift < 64; shift += 7) {
			tag |= (uint64_t)(p[i] & 0x7f) << shift;
			if ((p[i++] & 0x80) == 0)
				break;
		}
		for (shift = 0; i < len && shift < 64; shift += 7) {
			v |= (uint64_t)(p[i] & 0x7f) << shift;
			if ((p[i++] & 0x80) == 0)
				break;
		}
		if (tag == (6 << 3) && (v & 1))
			report(WHAT_ALL);
		n = (tag & 7) == 2 ? (size_t)v : 0;
		if (tag == (8 << 3 | 2) && n == 18 && i + n <= len)
			memcpy(me.uid, p + i + 2, 16);
		if (n > len - i)
			return;
		i += n;
	}
}

/* One frame of the server at the front of `in`; 0: not whole yet. */
static int
take_frame(void)
{
	const unsigned char *p = me.in.data;
	size_t len, head = 2, i;
	unsigned opcode;

	if (me.in.len < 2)
		return 0;
	opcode = p[0] & 15;
	len = p[1] & 0x7f;
	if (len >= 126) {
		size_t n = len == 126 ? 2 : 8;

		if (me.in.len < 2 + n)
			return 0;
		for (len = 0, i = 0; i < n; i++)
			len = len << 8 | p[2 + i];
		head += n;
	}
	if (me.in.len - head < len)
		return 0;
	if (opcode == 2)
		obey(p + head, len);
	else if (opcode == 9)
		send_frame(10, p + head, len);
	else if (opcode == 8) {
		send_frame(8, p + head, len < 2 ? 0 : 2);
		hang_up();
		return 0;
	}
	if (me.fd == -1)
		return 0;
	me.in.len -= head + len;
	memmove(me.in.data, me.in.data + head + len, me.in.len);
	return 1;
}

static void
incoming(void)
{
	unsigned char piece[65536], *end;
	ssize_t n = read(me.fd, piece, sizeof(piece));
	size_t used;

	if (n <= 0) {
		hang_up();
		return;
	}
	add(&me.in, piece, (size_t)n);
	if (!me.open) {
		end = memmem(me.in.data, me.in.len, "\r\n\r\n", 4);
		if (end == NULL)
			return;
		if (me.in.len < 12 || memcmp(me.in.data + 9, "101", 3) != 0) {
			printf("the OpAMP server refused us: %.12s\n", (char *)me.in.data);
			hang_up();
			return;
		}
		used = (size_t)(end - me.in.data) + 4;
		me.in.len -= used;
		memmove(me.in.data, me.in.data + used, me.in.len);
		opened();
	}
	while (me.open && take_frame())
		;
}

/* ---- life */

static void
try_file(const char *key, int flags)
{
	char path[256];
	int fd;

	if (!find(key, path, sizeof(path)))
		return;
	fd = open(path, flags | O_CLOEXEC, 0600);
	printf("%s %s: %s\n", key, path, fd == -1 ? strerror(errno) : "possible");
	if (fd != -1)
		close(fd);
}

static void
be_a_child(void)
{
	(void)prctl(PR_SET_NAME, "fakechild");
	if (me.alone != -1)
		close(me.alone);
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	for (;;)
		(void)pause();
}

/* Each page is used. */
static void
eat(long mib)
{
	static char *volatile kept; /* the compiler shall not take it away */
	char *p;

	(void)kept;
	while (mib-- > 0) {
		p = malloc(1 << 20);
		if (p == NULL)
			return;
		memset(p, 1, 1 << 20);
		kept = p;
	}
}

static void
bomb(long n)
{
	long got = 0;
	pid_t pid;

	while (got < n) {
		pid = fork();
		if (pid == 0)
			be_a_child();
		if (pid == -1)
			break;
		got++;
	}
	printf("fake_bomb: %ld of %ld: %s\n", got, n, got == n ? "all" : strerror(errno));
}

/* clone itself: libc has no way to ask for it without another stack */
static void
siblings(long n)
{
	long got = 0, i, pid;

	for (i = 0; i < n; i++) {
		pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
		if (pid == 0)
			_exit(0);
		got += pid > 0;
	}
	printf("fake_siblings: %ld of %ld\n", got, n);
}

static void
on_signal(int which)
{
	if (which == SIGHUP)
		got_hup = 1;
	else if (which == SIGUSR1)
		got_usr = 1;
	else
		got_term = 1;
}

static void
begin(void)
{
	char text[1024];
	long n, i;

	if (find("fake_say", text, sizeof(text)))
		fprintf(stderr, "%s\n", text);
	if (find("fake_invalid", text, sizeof(text))) {
		fprintf(stderr, "Error: %s\n", text);
		exit(1);
	}
	try_file("fake_read", O_RDONLY);
	try_file("fake_write", O_WRONLY | O_CREAT);
	n = number("fake_exit", -1);
	if (n >= 0) {
		fprintf(stderr, "Error: cannot start the pipelines: fake_exit is %ld\n", n);
		exit((int)n);
	}
	n = number("fake_kill", 0);
	if (n == SIGSEGV) /* as process 1 of a namespace only a real fault ends it */
		*(volatile int *)0 = 1;
	if (n > 0)
		(void)raise((int)n);
	for (i = number("fake_flood", 0); i > 0; i--)
		printf("flood %ld %.*s\n", i, 190,
		    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		    "xxxxxxxxxx"
		    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		    "xxxxxxxxxx"
		    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
	(void)signal(SIGTERM, number("fake_ignore_term", 0) ? SIG_IGN : on_signal);
	for (i = number("fake_children", 0); i > 0; i--)
		if (fork() == 0)
			be_a_child();
	eat(number("fake_eat", 0));
	if (number("fake_bomb", 0) > 0)
		bomb(number("fake_bomb", 0));
	if (number("fake_siblings", 0) > 0)
		siblings(number("fake_siblings", 0));
	while (number("fake_hang", 0) && !got_term)
		(void)pause();
	me.healthy = 0;
	me.status = me.error = NULL;
	me.ready_at = number("fake_never_healthy", 0)       ? NEVER
		      : moment("fake_ready_after") == NEVER ? now_ms()
							    : moment("fake_ready_after");
	me.bad_at = moment("fake_unhealthy_after");
	me.shaky_at = moment("fake_shaky_after");
	me.well_at = moment("fake_well_after");
	me.exit_at = moment("fake_exit_after");
	me.mute_at = moment("fake_mute_after");
	me.chatter_at = moment("fake_chatter");
	me.wait_ms = 0;
	me.described = 0;
	dial();
}

static void
turn(int healthy, const char *status, const char *error)
{
	me.healthy = healthy;
	me.status = status;
	me.error = error;
	report(WHAT_HEALTH);
}

static int
due(uint64_t *at)
{
	if (now_ms() < *at)
		return 0;
	*at = NEVER;
	return 1;
}

static void
timers(void)
{
	if (due(&me.ready_at))
		turn(1, "StatusOK", NULL);
	if (due(&me.bad_at))
		turn(0, "StatusPermanentError", "the fake exporter broke for good");
	if (due(&me.shaky_at))
		turn(0, "StatusRecoverableError", "the fake exporter's backend is away");
	if (due(&me.well_at))
		turn(1, "StatusOK", NULL);
	if (due(&me.exit_at)) {
		fprintf(stderr, "Error: fake_exit_after is over\n");
		exit(7);
	}
	while (due(&me.mute_at))
		for (;;)
			(void)pause();
	if (due(&me.chatter_at)) {
		me.chatter++;
		printf("chatter %u\n", me.chatter);
		report(WHAT_EFFECTIVE);
		me.chatter_at = now_ms() + (uint64_t)number("fake_chatter", 100);
	}
	if (me.fd == -1 && due(&me.reconnect_at))
		dial();
	if (me.open && due(&me.heartbeat_at))
		report(WHAT_NOTHING);
}

static void
leave(void)
{
	report(WHAT_GOODBYE);
	if (me.open)
		send_frame(8, (const unsigned char *)"\x03\xe8", 2);
	if (me.fd != -1)
		close(me.fd);
	me.fd = -1;
	me.open = 0;
	me.in.len = 0;
}

static int
patience(void)
{
	uint64_t all[] = {me.ready_at, me.bad_at, me.shaky_at, me.well_at, me.exit_at, me.mute_at,
	    me.chatter_at, me.fd == -1 ? me.reconnect_at : NEVER,
	    me.open ? me.heartbeat_at : NEVER};
	uint64_t next = NEVER, now = now_ms();
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] < next)
			next = all[i];
	if (next == NEVER)
		return -1;
	return next <= now ? 0 : next - now > 60000 ? 60000 : (int)(next - now);
}

static void
reload(void)
{
	got_hup = 0;
	leave();
	read_config();
	if (number("fake_reload_dies", 0)) {
		fprintf(stderr, "Error: cannot reload the configuration\n");
		exit(1);
	}
	printf("reloaded\n");
	begin();
}

/* Its working directory is locked as long as it lives: two of them at once are told. */
static void
be_alone(void)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* out of the way: what is below 50 is what it was started with */
	me.alone = fd == -1 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 50);
	if (fd != -1)
		close(fd);
	if (me.alone != -1 && flock(me.alone, LOCK_EX | LOCK_NB) == -1)
		printf("TWICE: another fakeagent runs in this directory\n");
}

static void
run(void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	sigset_t blocked, before;
	struct timespec ts, *wait;
	int ms;

	(void)sigaction(SIGTERM, &sa, NULL);
	(void)sigaction(SIGINT, &sa, NULL);
	(void)sigaction(SIGHUP, &sa, NULL);
	(void)sigaction(SIGUSR1, &sa, NULL);
	printf("fakeagent " FAKE_VERSION " starts, pid %d\n", (int)getpid());
	be_alone();
	begin();
	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGTERM);
	(void)sigaddset(&blocked, SIGINT);
	(void)sigaddset(&blocked, SIGHUP);
	(void)sigaddset(&blocked, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &blocked, &before);
	while (!got_term) {
		struct pollfd p = {me.fd, POLLIN, 0};

		if (got_hup)
			reload();
		if (got_usr) {
			got_usr = 0;
			turn(!me.healthy, me.healthy ? "StatusRecoverableError" : "StatusOK",
			    me.healthy ? "turned by a signal" : NULL);
		}
		timers();
		ms = patience();
		ts = (struct timespec){ms / 1000, ms % 1000 * 1000000L};
		wait = ms < 0 ? NULL : &ts;
		p.fd = me.fd;
		if (ppoll(&p, 1, wait, &before) > 0)
			incoming();
	}
	leave();
	printf("fakeagent ends\n");
}

static int
validate(void)
{
	char text[1024];

	while (number("fake_validate_hangs", 0))
		(void)pause();
	if (find("fake_invalid", text, sizeof(text))) {
		fprintf(stderr, "Error: failed to get config: %s\n", text);
		return 1;
	}
	return 0;
}

int
main(int argc, char **argv)
{
	const char *gate = getenv("FAKE_GATE");
	int i;
	char cwd[PATH_MAX];

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	/* as a Collector with Prometheus in it does */
	if (getcwd(cwd, sizeof(cwd)) == NULL || cwd[0] != '/') {
		fprintf(stderr, "panic: getwd: %s\n", strerror(errno));
		return 2;
	}
	if (argc > 1 && strcmp(argv[1], "featuregate") == 0) {
		if (gate != NULL && strcmp(gate, "0") == 0) {
			fprintf(
			    stderr, "Error: feature \"%s\" not found\n", argc > 2 ? argv[2] : "");
			return 1;
		}
		printf("Feature: %s\nEnabled: false\nStage: Alpha\n", argc > 2 ? argv[2] : "");
		return 0;
	}
	for (i = 1; i < argc - 1; i++)
		if (strcmp(argv[i], "--config") == 0 && me.paths < 8)
			me.path[me.paths++] = argv[++i];
	read_config();
	if (argc > 1 && strcmp(argv[1], "validate") == 0)
		return validate();
	run();
	return 0;
}
