/*
 * fuzz_opampctl.c: what opampctl, often run by root, makes of the answers at the control socket, which a
 * confd that was taken over may write, of what it is told of processes, and of the agent's log.
 *
 * Input: one byte: which command (see commands[]); then the answers to its questions: u8 kind, u16
 * length (little end first), so many bytes.  Kind 0: one message as it is, and another one follows; 1: the
 * same, and it is the last; 2: the body of a good answer; 3: a record of entries (u8 key, u8 length,
 * bytes), as a good answer has it; 4: the same as the body of a refusal.  What is left is the log, and
 * what the kernel says of processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/procfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fuzz_socket(void);
static int fuzz_open(void);
static int fuzz_procfs_read(struct procfs *p, pid_t pid, struct error *err);

/* The program's own files, with opampd, the file system and the kernel played by us. */
#define socket(family, type, protocol)    fuzz_socket()
#define connect(fd, sun, len)             0
#define setsockopt(fd, level, name, v, n) ((void)(v), 0)
#define take                              client_take
#include "ctl/client.c"
#undef take
#undef socket
#undef connect
#undef setsockopt
#define open(path, flags) ((void)(path), fuzz_open())
#include "ctl/log.c"
#undef open
#define procfs_read fuzz_procfs_read
#include "ctl/sandbox.c"
#undef procfs_read

static struct {
	const uint8_t *data;
	size_t size;
} in;

static struct {
	const char *args[4];
	int count, json, lines;
} const commands[] = {
    {{"status"}, 1, 0, 0},
    {{"status"}, 1, 1, 0},
    {{"health"}, 1, 0, 0},
    {{"health"}, 1, 1, 0},
    {{"config"}, 1, 0, 0},
    {{"config", "effective"}, 2, 1, 0},
    {{"config", "remote"}, 2, 0, 0},
    {{"config", "remote"}, 2, 1, 0},
    {{"config", "diff"}, 2, 0, 0},
    {{"config", "diff"}, 2, 1, 0},
    {{"history"}, 1, 0, 5},
    {{"history"}, 1, 1, 0},
    {{"sandbox"}, 1, 0, 0},
    {{"sandbox"}, 1, 1, 0},
    {{"sandbox", "agent"}, 2, 0, 0},
    {{"log"}, 1, 0, -1},
    {{"log"}, 1, 1, 0},
    {{"log"}, 1, 0, 3},
    {{"restart"}, 1, 0, 0},
    {{"reload"}, 1, 1, 0},
    {{"version"}, 1, 0, 0},
    {{"version"}, 1, 1, 0},
    {{"config", "diff", "1", "2"}, 4, 0, 0},
    {{"config", "diff", "1"}, 3, 0, 0},
    {{"config", "effective", "x"}, 3, 0, 0},
    {{"config", "nonsense"}, 2, 0, 0},
    {{"sandbox", "netd"}, 2, 0, 0},
    {{"sandbox", "nobody"}, 2, 0, 0},
    {{"log"}, 1, 1, 5},
    {{"config", "remote", "1"}, 3, 0, 0},
};

static void
take_bytes(void *to, size_t n)
{
	size_t got = n < in.size ? n : in.size;

	memset(to, 0, n);
	memcpy(to, in.data, got);
	in.data += got;
	in.size -= got;
}

static void
say(int fd, const void *data, size_t len)
{
	if (send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT) == -1)
		return; /* too long for a message: the answer ends here */
}

static void
say_answer(int fd, uint32_t result, const char *body, size_t len)
{
	struct control_answer a = {
	    .magic = CONTROL_MAGIC, .version = CONTROL_VERSION, .result = result, .length = len};
	size_t n;

	say(fd, &a, sizeof(a));
	for (; len > 0; body += n, len -= n) {
		n = len < CONTROL_CHUNK ? len : CONTROL_CHUNK;
		say(fd, body, n);
	}
}

static void
say_record(int fd, const uint8_t *p, size_t len)
{
	struct record_writer w = {0};
	char *data;
	size_t n;

	while (len >= 2) {
		n = p[1] < len - 2 ? p[1] : len - 2;
		record_put(&w, p[0], 0, 0, p + 2, n);
		p += 2 + n;
		len -= 2 + n;
	}
	if (record_finish(&w, &data, &n, NULL) == -1)
		abort();
	say_answer(fd, CONTROL_OK, data, n);
	free(data);
}

/* A connection on which the answer lies already. */
static int
fuzz_socket(void)
{
	uint8_t head[3];
	size_t len;
	int sv[2], more = 1;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == -1)
		return -1;
	while (more && in.size > 0) {
		take_bytes(head, sizeof(head));
		len = (size_t)head[1] | (size_t)head[2] << 8;
		len = len < in.size ? len : in.size;
		more = head[0] % 5 == 0;
		switch (head[0] % 5) {
		case 2:
			say_answer(sv[1], CONTROL_OK, (const char *)in.data, len);
			break;
		case 3:
			say_record(sv[1], in.data, len);
			break;
		case 4:
			say_answer(sv[1], CONTROL_FAILED, (const char *)in.data, len);
			break;
		default:
			say(sv[1], in.data, len);
			break;
		}
		in.data += len;
		in.size -= len;
	}
	(void)shutdown(sv[1], SHUT_WR);
	/* the other end stays open until the question has come: it is not read */
	(void)fcntl(sv[1], F_DUPFD_CLOEXEC, 0);
	close(sv[1]);
	return sv[0];
}

static int
fuzz_open(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, in.data, in.size) != (ssize_t)in.size)
		abort();
	return fd;
}

static int
fuzz_procfs_read(struct procfs *p, pid_t pid, struct error *err)
{
	take_bytes(p, sizeof(*p));
	p->pid = pid;
	p->group_count %= PROCFS_GROUPS + 1;
	return p->threads == 13 ? error_set(err, "it is gone") : 0;
}

/* Descriptors that fuzz_socket left open. */
static void
close_left(int from)
{
	int fd;

	for (fd = from; fd < from + 64; fd++)
		(void)close(fd);
}

/* Nothing that steers a terminal is left. */
static void
judge(const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (((unsigned char)text[i] < 0x20 && text[i] != '\n' && text[i] != '\t') ||
		    text[i] == 0x7f)
			abort();
}

static void
run(const struct verb *v, int argc, const char *const *args, struct ctl *c)
{
	char *argv[4] = {0}, *text = NULL;
	enum ctl_exit status;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int i;

	if (out == NULL)
		abort();
	for (i = 0; i < argc - 1; i++)
		argv[i] = strdup(args[i + 1]);
	c->w = c->json ? writer_json_new(out, 0) : writer_text_new(out);
	status = v->run(c, argc - 1, argv);
	if (status != CTL_OK && status != CTL_UNHEALTHY && c->err.text[0] == '\0')
		abort(); /* an error without a word */
	(void)writer_finish(c->w);
	fclose(out);
	judge(text, len);
	free(text);
	for (i = 0; i < argc - 1; i++)
		free(argv[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *nowhere;
	FILE *out = stdout, *error = stderr;
	struct ctl c = {.socket_path = "/run/opampd/control.sock"};
	const struct verb *v = ctl_verbs;
	size_t which;
	int free_fd;

	if (nowhere == NULL)
		nowhere = fopen("/dev/null", "we");
	if (size == 0 || nowhere == NULL)
		return 0;
	which = data[0] % (sizeof(commands) / sizeof(commands[0]));
	in.data = data + 1;
	in.size = size - 1;
	while (strcmp(v->name, commands[which].args[0]) != 0)
		v++;
	c.json = commands[which].json;
	c.lines = commands[which].lines;
	free_fd = fcntl(2, F_DUPFD_CLOEXEC, 3);
	close(free_fd);
	stdout = stderr = nowhere;
	run(v, commands[which].count, commands[which].args, &c);
	stdout = out;
	stderr = error;
	close_left(free_fd);
	return 0;
}
