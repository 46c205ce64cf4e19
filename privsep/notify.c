/*
 * notify.c: a word to the service manager (see notify.h).  The parent only.
 */
#include "notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_un manager;
static socklen_t manager_len;
static uint64_t watchdog_ms;

void
notify_init(const char *socket_path)
{
	size_t len = socket_path == NULL ? 0 : strlen(socket_path);
	const char *watchdog, *pid;

	if (len < 2 || len >= sizeof(manager.sun_path) ||
	    (socket_path[0] != '/' && socket_path[0] != '@'))
		return;
	manager.sun_family = AF_UNIX;
	memcpy(manager.sun_path, socket_path, len);
	if (manager.sun_path[0] == '@')
		manager.sun_path[0] = '\0';
	manager_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	watchdog = getenv("WATCHDOG_USEC");
	pid = getenv("WATCHDOG_PID");
	if (watchdog != NULL && (pid == NULL || strtol(pid, NULL, 10) == getpid()))
		watchdog_ms = strtoull(watchdog, NULL, 10) / 2000;
}

uint64_t
notify_watchdog_ms(void)
{
	return watchdog_ms;
}

void
notify(const char *state)
{
	struct timespec now;
	char text[NOTIFY_TEXT + 64];
	int fd, n;

	if (manager_len == 0)
		return;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	n = snprintf(text, sizeof(text), "%.*s\nMONOTONIC_USEC=%lld", NOTIFY_TEXT, state,
	    (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return;
	(void)sendto(fd, text, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&manager, manager_len);
	close(fd);
}
