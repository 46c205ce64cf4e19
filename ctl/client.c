/*
 * client.c: the control socket from opampctl's side (see client.h).  opampctl only; often run by root, so
 * that what comes back is checked like any foreign bytes.
 */
#include "client.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENT_TIMEOUT_MS 10000

/* Who may: the socket's own mode says it best. */
static void
not_permitted(const char *path, struct error *err)
{
	struct stat st;
	struct group *gr = NULL;

	if (stat(path, &st) == 0 && (st.st_mode & S_IWGRP) != 0)
		gr = getgrgid(st.st_gid);
	if (gr != NULL && st.st_gid != 0)
		(void)error_set(err,
		    "%s: permission denied: become root, or a member of the group %s (usermod -aG "
		    "%s NAME, "
		    "then log in anew)",
		    path, gr->gr_name, gr->gr_name);
	else
		(void)error_set(err,
		    "%s: permission denied: become root, or the user who started opampd", path);
}

static enum ctl_exit
could_not_connect(const char *path, struct error *err)
{
	switch (errno) {
	case EACCES:
	case EPERM:
		not_permitted(path, err);
		return CTL_NOT_PERMITTED;
	case ENOENT:
	case ENOTDIR:
	case ECONNREFUSED:
		(void)error_set(err,
		    "opampd is not running: nobody listens at %s\n"
		    "start it (opampd -f FILE, or the service that does), or name its socket by -s "
		    "or OPAMPD_SOCKET",
		    path);
		return CTL_NOT_THERE;
	case EAGAIN:
		(void)error_set(
		    err, "%s: opampd is there but takes no connection: see its log", path);
		return CTL_FAILED;
	default:
		(void)error_errno(err, "%s: connecting", path);
		return CTL_FAILED;
	}
}

/* One message of at most size bytes; 0 is the end. */
static ssize_t
take(int fd, void *buf, size_t size)
{
	ssize_t n;

	do
		n = recv(fd, buf, size, MSG_TRUNC);
	while (n == -1 && errno == EINTR);
	if (n > (ssize_t)size) {
		errno = EMSGSIZE;
		return -1;
	}
	return n;
}

static enum ctl_exit
broken(const char *path, ssize_t n, struct error *err)
{
	if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
		(void)error_set(err,
		    "%s: no answer within %d s: confd may be starting anew, see opampd's log", path,
		    CLIENT_TIMEOUT_MS / 1000);
	else if (n == -1 && errno != ECONNRESET && errno != EPIPE)
		(void)error_errno(err, "%s: reading the answer", path);
	else
		(void)error_set(err,
		    "%s: opampd ended the connection: ask again, and see its log if it stays so",
		    path);
	return CTL_FAILED;
}

static enum ctl_exit
read_body(int fd, const char *path, const struct control_answer *a, char **body, struct error *err)
{
	size_t got = 0;
	ssize_t n;

	*body = malloc(a->length + 1);
	if (*body == NULL) {
		(void)error_set(
		    err, "no memory for an answer of %llu bytes", (unsigned long long)a->length);
		return CTL_FAILED;
	}
	while (got < a->length) {
		n = take(fd, *body + got, a->length - got);
		if (n <= 0) {
			free(*body);
			return broken(path, n, err);
		}
		got += (size_t)n;
	}
	(*body)[got] = '\0';
	return CTL_OK;
}

enum ctl_exit
client_talk(int fd, const char *path, const struct control_request *rq, struct reply *reply,
    struct error *err)
{
	struct control_answer a;
	enum ctl_exit status;
	char *body;
	ssize_t n;

	memset(reply, 0, sizeof(*reply));
	if (send(fd, rq, sizeof(*rq), MSG_NOSIGNAL) != sizeof(*rq))
		return broken(path, -1, err);
	n = take(fd, &a, sizeof(a));
	if (n <= 0)
		return broken(path, n, err);
	if (n != sizeof(a) || a.magic != CONTROL_MAGIC || a.length > CONTROL_ANSWER) {
		(void)error_set(err, "%s: who answers there is no opampd", path);
		return CTL_FAILED;
	}
	status = read_body(fd, path, &a, &body, err);
	if (status != CTL_OK)
		return status;
	if (a.result == CONTROL_OK) {
		reply->data = body;
		if (record_open(&reply->record, body, a.length, err) == 0)
			return CTL_OK;
		(void)error_prefix(err, "%s: the answer is damaged", path);
		reply_free(reply);
		return CTL_FAILED;
	}
	(void)error_set(
	    err, "%s", body[0] != '\0' ? body : "opampd refused and did not say why: see its log");
	free(body);
	return a.result == CONTROL_DENIED ? CTL_NOT_PERMITTED : CTL_FAILED;
}

enum ctl_exit
client_ask(const char *path, enum control_verb verb, uint32_t argument, uint64_t number,
    struct reply *reply, struct error *err)
{
	struct control_request rq = {.magic = CONTROL_MAGIC,
	    .version = CONTROL_VERSION,
	    .verb = (uint16_t)verb,
	    .argument = argument,
	    .number = number};
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval tv = {CLIENT_TIMEOUT_MS / 1000, 0};
	enum ctl_exit status;
	int fd;

	memset(reply, 0, sizeof(*reply));
	if (strlen(path) >= sizeof(sun.sun_path)) {
		(void)error_set(err, "%s: the path of a socket has at most %zu bytes", path,
		    sizeof(sun.sun_path) - 1);
		return CTL_USAGE;
	}
	memcpy(sun.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd == -1) {
		(void)error_errno(err, "making a socket");
		return CTL_FAILED;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1)
		status = could_not_connect(path, err);
	else
		status = client_talk(fd, path, &rq, reply, err);
	close(fd);
	return status;
}

void
reply_free(struct reply *reply)
{
	free(reply->data);
	memset(reply, 0, sizeof(*reply));
}
