/*
 * fleet.c: thousands of agents in one process, for `make bench-hub`: each a WebSocket connection that
 * reports itself, sends heartbeats, and answers an offered configuration with APPLIED and what is now
 * effective.  As cheap as can be (masks of zero, messages from one buffer), for it shares the processors
 * with the server that is measured.
 *
 *	fleet ADDRESS PORT AGENTS HEARTBEAT-SECONDS EFFECTIVE-BYTES
 *
 * One line of JSON on standard output for each thing that happens, with the time when it did: "reported"
 * (the last first report is answered), "applied" (the last APPLIED of one configuration is answered),
 * "lost" (a connection ended).  Ends when standard input does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "opamp/v1/opamp.pb-c.h"

#define AGENTS_MOST 19000
#define OPENING     256 /* connections that are being made at one time */
#define SOURCES     8   /* 127.0.0.2 and on: more local ports than one address has */
#define CHUNK       (256 * 1024)
#define MESSAGE     (64 * 1024)
#define TURN        256
#define CAPABILITIES                                                                               \
	(0x1 | 0x2 | 0x4 | 0x400 | 0x800 | 0x1000 | 0x2000) /* what an opampd usually has */

enum state {
	CLOSED,
	CONNECTING,
	UPGRADING,
	OPEN
};

struct agent {
	int fd;
	enum state state;
	uint64_t sequence;
	unsigned asked, answered; /* messages, and answers to them */
	unsigned config_answer;   /* the answer of that number is that to APPLIED; 0: none is due */
	uint8_t hash[32];         /* of the configuration that it runs */
	uint8_t *part;            /* of what came, a frame that is not whole yet */
	size_t part_len;
	uint8_t *rest; /* of what goes out */
	size_t rest_len;
};

static struct agent agents[AGENTS_MOST];
static unsigned count, opened, reported, applied, unsure, lost, next_beat;
static uint8_t current[32]; /* the configuration that is being applied */
static size_t current_len, effective_bytes;
static double first_offer, last_offer, beat_every, beats_since;
static int loop;
static struct sockaddr_in server;
static uint8_t input[CHUNK], frame[MESSAGE + 16];
static char body[MESSAGE / 2];

static void
die(const char *what)
{
	fprintf(stderr, "fleet: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void tell(const char *event, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
tell(const char *event, const char *fmt, ...)
{
	va_list ap;

	printf("{\"event\": \"%s\", \"time\": %.6f", event, now());
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("}\n");
	fflush(stdout);
}

static void
watch(struct agent *a, int op, uint32_t what)
{
	struct epoll_event e = {.events = what, .data.ptr = a};

	if (epoll_ctl(loop, op, a->fd, &e) == -1)
		die("epoll_ctl");
}

static void
is_lost(struct agent *a, const char *why)
{
	lost++;
	tell("lost", ", \"agent\": %td, \"why\": \"%s\", \"lost\": %u", a - agents, why, lost);
	close(a->fd);
	a->state = CLOSED;
	a->fd = -1;
}

/* ---- sending */

static void
put(struct agent *a, const void *data, size_t len)
{
	ssize_t n = a->rest_len > 0 ? 0 : send(a->fd, data, len, MSG_NOSIGNAL);
	uint8_t *more;

	if (n == -1 && errno != EAGAIN) {
		is_lost(a, strerror(errno));
		return;
	}
	if (n == -1)
		n = 0;
	if ((size_t)n == len)
		return;
	more = realloc(a->rest, a->rest_len + len - (size_t)n);
	if (more == NULL)
		die("memory");
	memcpy(more + a->rest_len, (const uint8_t *)data + n, len - (size_t)n);
	a->rest = more;
	a->rest_len += len - (size_t)n;
	watch(a, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void
put_rest(struct agent *a)
{
	ssize_t n = send(a->fd, a->rest, a->rest_len, MSG_NOSIGNAL);

	if (n == -1) {
		if (errno != EAGAIN)
			is_lost(a, strerror(errno));
		return;
	}
	a->rest_len -= (size_t)n;
	memmove(a->rest, a->rest + n, a->rest_len);
	if (a->rest_len == 0) {
		free(a->rest);
		a->rest = NULL;
		watch(a, EPOLL_CTL_MOD, EPOLLIN);
	}
}

/* Where the payload of a frame of that length begins; its header (masked by zeros) is made. */
static size_t
frame_begin(uint8_t opcode, size_t len)
{
	size_t head = len < 126 ? 2 : 4;

	frame[0] = 0x80 | opcode;
	frame[1] = (uint8_t)(0x80 | (len < 126 ? len : 126));
	frame[2] = (uint8_t)(len >> 8);
	frame[3] = (uint8_t)len;
	memset(frame + head, 0, 4);
	return head + 4;
}

static void
say(struct agent *a, Opamp__Proto__V1__AgentToServer *m)
{
	uint8_t uid[16] = {0x01, 0x93, 0, 0, 0, 0, 0x70, 0, 0x80};
	uint32_t number = htonl((uint32_t)(a - agents) + 1);
	size_t len, at;

	memcpy(uid + 12, &number, sizeof(number));
	m->instance_uid.data = uid;
	m->instance_uid.len = sizeof(uid);
	m->sequence_num = ++a->sequence;
	m->capabilities = CAPABILITIES;
	len = protobuf_c_message_get_packed_size(&m->base);
	if (len + 1 > MESSAGE)
		die("a message that is too long");
	at = frame_begin(2, len + 1);
	frame[at] = 0;
	(void)protobuf_c_message_pack(&m->base, frame + at + 1);
	a->asked++;
	put(a, frame, at + 1 + len);
}

struct attribute {
	Opamp__Proto__V1__KeyValue kv;
	Opamp__Proto__V1__AnyValue value;
};

static Opamp__Proto__V1__KeyValue *
attribute(struct attribute *a, const char *name, char *value)
{
	opamp__proto__v1__key_value__init(&a->kv);
	opamp__proto__v1__any_value__init(&a->value);
	a->kv.key = (char *)(uintptr_t)name;
	a->kv.value = &a->value;
	a->value.value_case = OPAMP__PROTO__V1__ANY_VALUE__VALUE_STRING_VALUE;
	a->value.string_value = value;
	return &a->kv;
}

struct effective {
	Opamp__Proto__V1__EffectiveConfig whole;
	Opamp__Proto__V1__AgentConfigMap map;
	Opamp__Proto__V1__AgentConfigMap__ConfigMapEntry entry, *list;
	Opamp__Proto__V1__AgentConfigFile file;
	char type[16];
};

/* Every agent's is another one: its number stands in it. */
static Opamp__Proto__V1__EffectiveConfig *
effective(struct effective *e, const struct agent *a)
{
	static char line[64];
	int n = snprintf(line, sizeof(line), "# agent %td, version %02x%02x\n", a - agents,
	    a->hash[0], a->hash[1]);

	memcpy(body, line, (size_t)n);
	opamp__proto__v1__effective_config__init(&e->whole);
	opamp__proto__v1__agent_config_map__init(&e->map);
	opamp__proto__v1__agent_config_map__config_map_entry__init(&e->entry);
	opamp__proto__v1__agent_config_file__init(&e->file);
	strcpy(e->type, "text/yaml");
	e->file.content_type = e->type;
	e->file.body.data = (uint8_t *)body;
	e->file.body.len = effective_bytes;
	e->entry.value = &e->file;
	e->list = &e->entry;
	e->map.n_config_map = 1;
	e->map.config_map = &e->list;
	e->whole.config_map = &e->map;
	return &e->whole;
}

static void
say_hello(struct agent *a)
{
	Opamp__Proto__V1__AgentToServer m = OPAMP__PROTO__V1__AGENT_TO_SERVER__INIT;
	Opamp__Proto__V1__AgentDescription d = OPAMP__PROTO__V1__AGENT_DESCRIPTION__INIT;
	Opamp__Proto__V1__ComponentHealth h = OPAMP__PROTO__V1__COMPONENT_HEALTH__INIT;
	Opamp__Proto__V1__RemoteConfigStatus s = OPAMP__PROTO__V1__REMOTE_CONFIG_STATUS__INIT;
	struct attribute all[6];
	Opamp__Proto__V1__KeyValue *list[6];
	struct effective e;
	char host[32], zone[16];

	(void)snprintf(host, sizeof(host), "web%05td", a - agents);
	(void)snprintf(zone, sizeof(zone), "zone-%td", (a - agents) % 10);
	list[0] = attribute(&all[0], "service.name", (char *)(uintptr_t) "otelcol");
	list[1] = attribute(&all[1], "service.version", (char *)(uintptr_t) "0.149.0");
	list[2] = attribute(&all[2], "host.name", host);
	list[3] = attribute(&all[3], "os.type", (char *)(uintptr_t) "linux");
	list[4] = attribute(&all[4], "deployment.environment", (char *)(uintptr_t) "production");
	list[5] = attribute(&all[5], "zone", zone);
	d.n_identifying_attributes = 2;
	d.identifying_attributes = list;
	d.n_non_identifying_attributes = 4;
	d.non_identifying_attributes = list + 2;
	h.healthy = 1;
	h.start_time_unix_nano = 1700000000000000000ull;
	h.status = (char *)(uintptr_t) "StatusOK";
	m.agent_description = &d;
	m.health = &h;
	m.remote_config_status = &s;
	m.effective_config = effective(&e, a);
	say(a, &m);
}

static void
beat(struct agent *a)
{
	Opamp__Proto__V1__AgentToServer m = OPAMP__PROTO__V1__AGENT_TO_SERVER__INIT;

	say(a, &m);
}

/* ---- what the server says */

static void
config_came(struct agent *a, const ProtobufCBinaryData *hash)
{
	Opamp__Proto__V1__AgentToServer m = OPAMP__PROTO__V1__AGENT_TO_SERVER__INIT;
	Opamp__Proto__V1__RemoteConfigStatus s = OPAMP__PROTO__V1__REMOTE_CONFIG_STATUS__INIT;
	struct effective e;

	if (hash->len != sizeof(a->hash) || memcmp(hash->data, a->hash, sizeof(a->hash)) == 0)
		return;
	memcpy(a->hash, hash->data, sizeof(a->hash));
	if (current_len == 0 || memcmp(current, a->hash, sizeof(current)) != 0) {
		memcpy(current, a->hash, sizeof(current));
		current_len = sizeof(current);
		applied = unsure = 0;
		first_offer = now();
	}
	last_offer = now();
	s.last_remote_config_hash = *hash;
	s.status = OPAMP__PROTO__V1__REMOTE_CONFIG_STATUSES__RemoteConfigStatuses_APPLIED;
	m.remote_config_status = &s;
	m.effective_config = effective(&e, a);
	say(a, &m);
	a->config_answer = a->asked;
}

/*
 * An offer comes by itself, or in the answer to a heartbeat: it is taken for an answer if one is due.  Where that
 * was wrong, the next message is the answer to the heartbeat and not to APPLIED: how often it may be so is told.
 */
static void
message(struct agent *a, const uint8_t *data, size_t len)
{
	Opamp__Proto__V1__ServerToAgent *m;
	int offers;

	if (len < 1 || data[0] != 0 ||
	    (m = opamp__proto__v1__server_to_agent__unpack(NULL, len - 1, data + 1)) == NULL) {
		is_lost(a, "a message that cannot be read");
		return;
	}
	if (m->error_response != NULL) {
		is_lost(a, m->error_response->error_message);
		opamp__proto__v1__server_to_agent__free_unpacked(m, NULL);
		return;
	}
	offers = m->remote_config != NULL;
	if (a->answered < a->asked) {
		unsure += offers && a->answered > 0;
		a->answered++;
		if (a->answered == 1 && ++reported == count)
			tell("reported", "%s", "");
		if (a->config_answer != 0 && a->answered == a->config_answer) {
			a->config_answer = 0;
			if (++applied == count)
				tell("applied",
				    ", \"first_offer\": %.6f, \"last_offer\": %.6f, \"unsure\": %u",
				    first_offer, last_offer, unsure);
		}
	}
	if (offers)
		config_came(a, &m->remote_config->config_hash);
	opamp__proto__v1__server_to_agent__free_unpacked(m, NULL);
}

/* One frame; 0: it is not whole. */
static size_t
take_frame(struct agent *a, const uint8_t *p, size_t n)
{
	size_t head = 2, len, i, at;

	if (n < 2)
		return 0;
	len = p[1] & 0x7f;
	if (len >= 126) {
		head = len == 126 ? 4 : 10;
		if (n < head)
			return 0;
		for (len = 0, i = 2; i < head; i++)
			len = len << 8 | p[i];
	}
	if (n < head + len)
		return 0;
	switch (p[0] & 0x0f) {
	case 2:
		message(a, p + head, len);
		break;
	case 8:
		is_lost(a, "the server closed it");
		break;
	case 9:
		at = frame_begin(10, len);
		memcpy(frame + at, p + head, len);
		put(a, frame, at + len);
	}
	return head + len;
}

static void
upgraded(struct agent *a)
{
	a->state = OPEN;
	say_hello(a);
}

/* What is at p, as far as it is whole. */
static size_t
take(struct agent *a, const uint8_t *p, size_t n)
{
	size_t used = 0, one;
	const uint8_t *end;

	if (a->state == UPGRADING) {
		end = memmem(p, n, "\r\n\r\n", 4);
		if (end == NULL)
			return 0;
		if (n < 12 || memcmp(p + 9, "101", 3) != 0) {
			is_lost(a, "no upgrade");
			return n;
		}
		used = (size_t)(end - p) + 4;
		upgraded(a);
	}
	while (a->state == OPEN && (one = take_frame(a, p + used, n - used)) > 0)
		used += one;
	return a->state == OPEN ? used : n;
}

static void
readable(struct agent *a)
{
	ssize_t n;
	size_t whole, used;

	memcpy(input, a->part, a->part_len);
	n = recv(a->fd, input + a->part_len, sizeof(input) - a->part_len, 0);
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			is_lost(a, n == 0 ? "it ended" : strerror(errno));
		return;
	}
	whole = a->part_len + (size_t)n;
	used = take(a, input, whole);
	free(a->part);
	a->part = NULL;
	a->part_len = a->state == CLOSED ? 0 : whole - used;
	if (a->part_len > 0) {
		a->part = malloc(a->part_len);
		if (a->part == NULL)
			die("memory");
		memcpy(a->part, input + used, a->part_len);
	}
}

/* ---- connections */

static void
connect_one(struct agent *a)
{
	struct sockaddr_in from = {.sin_family = AF_INET};
	int one = 1;

	from.sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)((a - agents) % SOURCES));
	a->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd == -1)
		die("socket");
	(void)setsockopt(a->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	(void)setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(a->fd, (struct sockaddr *)&from, sizeof(from)) == -1)
		die("bind");
	if (connect(a->fd, (struct sockaddr *)&server, sizeof(server)) == -1 &&
	    errno != EINPROGRESS)
		die("connect");
	a->state = CONNECTING;
	watch(a, EPOLL_CTL_ADD, EPOLLOUT);
}

static void
upgrade(struct agent *a)
{
	static const char request[] =
	    "GET /v1/opamp HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
	    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
	    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1 || error != 0) {
		is_lost(a, strerror(error));
		return;
	}
	a->state = UPGRADING;
	watch(a, EPOLL_CTL_MOD, EPOLLIN);
	put(a, request, sizeof(request) - 1);
}

/* Evenly over the time, in the agents' order. */
static void
beats(void)
{
	double due;

	if (beat_every <= 0 || reported < count)
		return;
	if (beats_since == 0)
		beats_since = now();
	for (due = (now() - beats_since) / beat_every * count; next_beat < due; next_beat++)
		if (agents[next_beat % count].state == OPEN)
			beat(&agents[next_beat % count]);
}

static void
handle(const struct epoll_event *e)
{
	struct agent *a = e->data.ptr;

	if (a == NULL) { /* standard input ended */
		exit(0);
	}
	if (a->state == CONNECTING)
		upgrade(a);
	else if (a->state != CLOSED) {
		if (e->events & EPOLLOUT)
			put_rest(a);
		if (a->state != CLOSED && (e->events & ~(uint32_t)EPOLLOUT) != 0)
			readable(a);
	}
}

static void
begin(char **argv)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLHUP};
	struct rlimit r;

	server.sin_family = AF_INET;
	server.sin_port = htons((uint16_t)atoi(argv[2]));
	count = (unsigned)atoi(argv[3]);
	beat_every = atof(argv[4]);
	effective_bytes = (size_t)atoi(argv[5]);
	if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 || count == 0 ||
	    count > AGENTS_MOST || effective_bytes < 64 || effective_bytes > sizeof(body)) {
		fprintf(stderr, "fleet: an argument that cannot be\n");
		exit(2);
	}
	memset(body, 'x', sizeof(body));
	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
	loop = epoll_create1(EPOLL_CLOEXEC);
	if (loop == -1 || epoll_ctl(loop, EPOLL_CTL_ADD, 0, &e) == -1)
		die("epoll");
}

int
main(int argc, char **argv)
{
	struct epoll_event events[TURN];
	int n, i;

	if (argc != 6) {
		fprintf(
		    stderr, "usage: fleet ADDRESS PORT AGENTS HEARTBEAT-SECONDS EFFECTIVE-BYTES\n");
		return 2;
	}
	begin(argv);
	for (;;) {
		while (opened < count && opened - reported < OPENING)
			connect_one(&agents[opened++]);
		n = epoll_wait(loop, events, TURN, 10);
		if (n == -1 && errno != EINTR)
			die("epoll_wait");
		for (i = 0; i < n; i++)
			handle(&events[i]);
		beats();
	}
}
