/*
 * policy_common.h: the system calls that every daemon of opampd needs for its loop, its channels,
 * its memory and its log.  Included by the policy_*.c files only; each adds its own rows.
 */
#ifndef PRIVSEP_POLICY_COMMON_H
#define PRIVSEP_POLICY_COMMON_H

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "landlock.h"
#include "sandbox.h"

#define EQ(i, v)                                                                                   \
	{                                                                                          \
		ARG_EQ, (i), (v), 0                                                                \
	}
#define MASK0(i, v)                                                                                \
	{                                                                                          \
		ARG_MASK0, (i), (v), 0                                                             \
	}
#define MASK_EQ(i, m, v)                                                                           \
	{                                                                                          \
		ARG_MASK_EQ, (i), (v), (m)                                                         \
	}

#define CALL(name, why)                                                                            \
	{                                                                                          \
		name, 0, {{ARG_ANY, 0, 0, 0}}, why                                                 \
	}
#define CALL1(name, a, why)                                                                        \
	{                                                                                          \
		name, 0, {a}, why                                                                  \
	}
#define CALL2(name, a, b, why)                                                                     \
	{                                                                                          \
		name, 0, {a, b}, why                                                               \
	}
#define CALL3(name, a, b, c, why)                                                                  \
	{                                                                                          \
		name, 0, {a, b, c}, why                                                            \
	}
#define REFUSE(name, error, why)                                                                   \
	{                                                                                          \
		name, error, {{ARG_ANY, 0, 0, 0}}, why                                             \
	}
#define REFUSE1(name, error, a, why)                                                               \
	{                                                                                          \
		name, error, {a}, why                                                              \
	}

/*
 * Besides MAP_PRIVATE.  Shared memory, a stack that grows, and the host's huge pages are not counted by
 * RLIMIT_DATA; locked memory is not ours to take.
 */
#define MAP_PLAIN                                                                                  \
	(MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE | MAP_STACK | MAP_DENYWRITE | MAP_POPULATE)

/* clang-format off: tables */
#define POLICY_MEMORY                                                                              \
	CALL("brk", "malloc"),                                                                     \
	    CALL2("mmap", MASK0(2, PROT_EXEC), MASK_EQ(3, ~(uint64_t)MAP_PLAIN, MAP_PRIVATE),      \
		"malloc; never executable"),                                                       \
	    CALL1("mprotect", MASK0(2, PROT_EXEC), "malloc's arenas; never executable"),           \
	    CALL("munmap", "free"), CALL("mremap", "realloc"),                                     \
	    CALL1("madvise", EQ(2, MADV_DONTNEED), "free")

#define POLICY_CHANNELS                                                                                                           \
	CALL("recvmsg", "a message of a channel"),                                                                                \
	    CALL1("sendmsg", MASK0(2, ~(uint64_t)(MSG_DONTWAIT | MSG_NOSIGNAL)),                                                  \
		"a message to a channel"),                                                                                        \
	    CALL("close", "descriptors"),                                                                                         \
	    CALL1("newfstatat", MASK_EQ(3, AT_EMPTY_PATH, AT_EMPTY_PATH),                                                         \
		"fstat: what kind of descriptor came"),                                                                           \
	    CALL("fstat", "the same, with other libc versions"),                                                                  \
	    CALL1("fcntl", EQ(1, F_GETFL), "channels"),                                                                           \
	    CALL1("fcntl", EQ(1, F_SETFL), "channels: O_NONBLOCK"),                                                               \
	    CALL1("fcntl", EQ(1, F_GET_SEALS),                                                                                    \
		"memory files: all four seals"), /* named one by one: SO_PEERPIDFD of a channel would be a pidfd of the parent */ \
	    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_DOMAIN), "what kind of socket came"),                                 \
	    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_TYPE), "what kind of socket came"),                                   \
	    CALL2(                                                                                                                \
		"getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_ACCEPTCONN), "what kind of socket came")

#define POLICY_MEMFD                                                                               \
	/* not from the host's huge pages */                                                       \
	CALL1("memfd_create", MASK0(1, ~(uint64_t)(MFD_CLOEXEC | MFD_ALLOW_SEALING | 8)),          \
	    "bulk data to a peer"),                                                                \
	    CALL1("fcntl", EQ(1, F_ADD_SEALS), "sealing it"),                                      \
	    CALL("pread64", "bulk data of a peer")

#define POLICY_LOOP                                                                                \
	CALL("epoll_wait", "the loop"), CALL("epoll_pwait", "the loop, with other libc versions"), \
	    CALL("epoll_pwait2", "the loop, with newer libevent"), CALL("epoll_ctl", "the loop"),  \
	    CALL("poll", "waiting for the last words to be sent"),                                 \
	    CALL("ppoll", "the same, with other libc versions"),                                   \
	    CALL("clock_gettime", "timers, where the vDSO does not serve"),                        \
	    CALL("gettimeofday", "libevent, where the vDSO does not serve"),                       \
	    CALL("getrandom", "hash seeds, masks, jitter, secrets"),                               \
	    CALL("futex", "libc's locks"), CALL("getpid", "log lines"),                            \
	    CALL1("write", EQ(0, 2), "the log"), CALL("exit_group", "the end"),                    \
	    CALL("exit", "the end"), CALL("rt_sigreturn", "back from a signal"),                   \
	    CALL("restart_syscall", "after a stop and continue")
/* clang-format on */

#endif
