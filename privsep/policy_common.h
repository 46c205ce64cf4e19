/*
 * policy_common.h: the system calls that every daemon of opampd needs for its loop, its channels,
 * its memory and its log.  Included by the policy_*.c files only; each adds its own rows.
 */
#ifndef PRIVSEP_POLICY_COMMON_H
#define PRIVSEP_POLICY_COMMON_H

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

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

/*
 * A row: the call, what its arguments must be, when it comes; then, where it is so, UNSEEN or UNCHECKED.
 * tests/proof/lists.t records what the processes really call, and demands those two where they are due.
 */
#define CALL(call, reason, ...)                                                                    \
	{                                                                                          \
		.name = call, .why = reason, __VA_ARGS__                                           \
	}
#define CALL1(call, a, reason, ...)                                                                \
	{                                                                                          \
		.name = call, .args = {a}, .why = reason, __VA_ARGS__                              \
	}
#define CALL2(call, a, b, reason, ...)                                                             \
	{                                                                                          \
		.name = call, .args = {a, b}, .why = reason, __VA_ARGS__                           \
	}
#define CALL3(call, a, b, c, reason, ...)                                                          \
	{                                                                                          \
		.name = call, .args = {a, b, c}, .why = reason, __VA_ARGS__                        \
	}
#define REFUSE(call, error, reason)                                                                \
	{                                                                                          \
		.name = call, .action = error, .why = reason                                       \
	}
#define REFUSE1(call, error, a, reason)                                                            \
	{                                                                                          \
		.name = call, .action = error, .args = {a}, .why = reason                          \
	}
#define DENY(call, reason)                                                                         \
	{                                                                                          \
		.name = call, .why = reason                                                        \
	}
#define END_OF_CALLS                                                                               \
	{                                                                                          \
		.name = NULL                                                                       \
	}
/* no run of ours sees it: when it comes all the same */
#define UNSEEN(when) .unseen = (when)
/* the kernel could look at more of its arguments: why it does not */
#define UNCHECKED(reason) .unchecked = (reason)

/* flags: some of these and no others */
#define SOME_OF(i, flags) MASK0(i, ~(uint64_t)(flags))

/* clang-format off: tables */
/* private: shared memory is not counted by RLIMIT_DATA */
/* malloc of what is large: 256 KiB and more (child.c) */
#define POLICY_MAP(...)                                                                            \
	CALL2("mmap", SOME_OF(2, PROT_READ | PROT_WRITE), EQ(3, MAP_PRIVATE | MAP_ANONYMOUS),      \
	    "malloc; never executable", __VA_ARGS__),                                              \
	    CALL("munmap", "free", __VA_ARGS__)
#define POLICY_MEMORY CALL("brk", "malloc"), POLICY_MAP()
/* where something large is gathered piece by piece */
#define POLICY_REALLOC(...) CALL1("mremap", EQ(3, MREMAP_MAYMOVE), "realloc", __VA_ARGS__)

#define POLICY_CHANNELS                                                                            \
	CALL1("recvmsg", EQ(2, MSG_DONTWAIT | MSG_CMSG_CLOEXEC), "a message of a channel"),        \
	    CALL1("sendmsg", EQ(2, MSG_DONTWAIT | MSG_NOSIGNAL), "a message to a channel"),        \
	    CALL("close", "descriptors"),                                                          \
	    CALL1("newfstatat", EQ(3, AT_EMPTY_PATH), "fstat: what kind of descriptor came"),      \
	    CALL("fstat", "the same", UNSEEN("with glibc from 2.39 on"))

/* a machine has the old form of a call or only the new one; libc takes the old one where there is one */
#ifdef SYS_poll
#define POLICY_POLL(why, ...) CALL("poll", why, __VA_ARGS__)
#else
#define POLICY_POLL(why, ...) CALL1("ppoll", EQ(3, 0), why, __VA_ARGS__)
#endif
#ifdef SYS_epoll_wait
#define POLICY_EPOLL CALL("epoll_wait", "the loop")
#else
#define POLICY_EPOLL CALL1("epoll_pwait", EQ(4, 0), "the loop")
#endif

/* named one by one: SO_PEERPIDFD of a channel would be a pidfd of the parent */
#define POLICY_PEERS                                                                               \
	POLICY_POLL("has the peer left; waiting for the last words to be sent"),                   \
	    CALL2(                                                                                 \
		"fcntl", EQ(1, F_SETFL), EQ(2, O_RDWR | O_NONBLOCK), "channels and connections"),  \
	    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_DOMAIN), "what kind of socket came"),  \
	    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_TYPE), "what kind of socket came"),    \
	    CALL2(                                                                                 \
		"getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_ACCEPTCONN), "what kind of socket came")

#define ALL_SEALS   (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define MFD_NO_EXEC 8u /* MFD_NOEXEC_SEAL */

#define POLICY_MEMFD                                                                               \
	/* not from the host's huge pages */                                                       \
	CALL1("memfd_create", EQ(1, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NO_EXEC),                \
	    "bulk data to a peer"),                                                                \
	    CALL1("memfd_create", EQ(1, MFD_CLOEXEC | MFD_ALLOW_SEALING), "the same",              \
		UNSEEN("before Linux 6.3")),                                                       \
	    CALL2("fcntl", EQ(1, F_ADD_SEALS), EQ(2, ALL_SEALS), "sealing it")

#define POLICY_READ_MEMFD(...)                                                                     \
	CALL1("fcntl", EQ(1, F_GET_SEALS), "memory files: all four seals"),                        \
	    CALL("pread64", "bulk data of a peer", __VA_ARGS__)

/* memfd_view: not copied, looked at where it lies */
#define POLICY_VIEW_MEMFD(...)                                                                     \
	POLICY_READ_MEMFD(__VA_ARGS__),                                                            \
	    CALL2("mmap", EQ(2, PROT_READ), EQ(3, MAP_PRIVATE), "a large memory file")

#define NO_VDSO UNSEEN("where the vDSO does not serve: some clock sources, and kernels without one")

#define POLICY_LOG                                                                                 \
	CALL1("write", EQ(0, 2), "the log"), CALL("exit_group", "the end"),                        \
	    CALL1("clock_gettime", EQ(0, CLOCK_MONOTONIC), "timers", NO_VDSO),                     \
	    CALL1("clock_gettime", EQ(0, CLOCK_MONOTONIC_COARSE), "libevent's timers", NO_VDSO),   \
	    CALL1("clock_gettime", EQ(0, CLOCK_REALTIME), "times of day", NO_VDSO),                \
	    CALL1("gettimeofday", EQ(1, 0), "times of day", NO_VDSO)

/* channel_flush: the last words, when the parent's queue is full at that moment */
#define POLICY_LAST_WORDS                                                                          \
	POLICY_POLL("waiting for the last words to be sent",                                       \
	    UNSEEN("now and then: when the parent has not taken what came before"))

#define POLICY_LOOP                                                                                \
	POLICY_LOG, POLICY_EPOLL,                                                                  \
	    CALL1("epoll_pwait2", EQ(4, 0), "the loop", UNSEEN("with libevent from 2.2 on")),      \
	    CALL1("epoll_ctl", SOME_OF(1, EPOLL_CTL_ADD | EPOLL_CTL_DEL | EPOLL_CTL_MOD),          \
		"the loop")
/* clang-format on */

#endif
