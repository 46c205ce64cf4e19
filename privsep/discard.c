/*
 * discard.c: closing what a child sent without waiting for anybody (see discard.h).  The parent only.
 */
#include "discard.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLOSER_STACK (64 * 1024)

static atomic_uint pending;

static void *
close_it(void *arg)
{
	close((int)(intptr_t)arg);
	(void)atomic_fetch_sub(&pending, 1);
	return NULL;
}

/* It may hang for ever, and then it is this thread that does. */
static int
close_apart(int fd)
{
	static const struct timespec moment = {.tv_nsec = 20000};
	size_t least = (size_t)sysconf(_SC_THREAD_STACK_MIN);
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	if (pthread_attr_init(&attr) != 0)
		return -1;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, least > CLOSER_STACK ? least : CLOSER_STACK);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the loop's */
	(void)atomic_fetch_add(&pending, 1);
	r = pthread_create(&thread, &attr, close_it, (void *)(intptr_t)fd);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	if (r != 0) {
		(void)atomic_fetch_sub(&pending, 1);
		return -1;
	}
	/* The number goes first, whatever follows.  A fork before that would take it along: a child that hangs. */
	while (fcntl(fd, F_GETFD) != -1)
		(void)nanosleep(&moment, NULL);
	return 0;
}

void
discard_fd(int fd)
{
	static const struct linger none;

	/* a socket that does not linger is closed at once, and so is a memory file */
	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)) == 0 ||
	    fcntl(fd, F_GET_SEALS) != -1) {
		close(fd);
		return;
	}
	/* what cannot be closed apart stays open: the sender is ended, and slower with each time */
	(void)close_apart(fd);
}

unsigned
discard_pending(void)
{
	return atomic_load(&pending);
}
