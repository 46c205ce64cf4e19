/*
 * policy_log.c: what no child may do to descriptor 2, the log: all of us and the parent may share one
 * open file there, a socket of the journal's or the syslog's, a file.  A child that was taken over
 * could end the log of all by shutdown, connect it elsewhere, take O_APPEND from it and write over
 * what it said.  A deny-list of its own beside each child's list; none of them can make another
 * descriptor of it (no dup, no F_DUPFD, nothing to send it to itself by).
 */
#include "policy_common.h"

/* the kernel looks at the lower half of a descriptor's number */
#define LOG(call, reason) CALL1(call, MASK_EQ(0, 0xffffffffu, 2), reason)

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    LOG("shutdown", "ending the log of all"),
    LOG("connect", "sending it elsewhere"),
    LOG("setsockopt", "its socket"),
    LOG("sendmsg", "descriptors and addresses on its socket"),
    LOG("sendmmsg", "addresses on its socket"),
    LOG("sendto", "addresses on its socket"),
    LOG("recvmsg", "its socket"),
    LOG("recvfrom", "its socket"),
    LOG("accept4", "its socket"),
    CALL2("fcntl", MASK_EQ(0, 0xffffffffu, 2), EQ(1, F_SETFL), "taking O_APPEND away"),
    LOG("lseek", "going back"),
    LOG("pwrite64", "writing over what it said"),
    LOG("writev", "one write for each line"),
    LOG("read", "what others said"),
    LOG("readv", "what others said"),
    LOG("pread64", "what others said"),
    LOG("ftruncate", "taking back what it said"),
    LOG("fchmod", "its mode"),
    LOG("fchown", "its group"),
    LOG("pidfd_send_signal", "no process"),
    END_OF_CALLS,
};
/* clang-format on */

const struct policy policy_log = {
    .proc = PROC_NOBODY,
    .deny_list = 1,
    .syscalls = syscalls,
    .limit_nproc = -1,
};
