/*
 * policy_agent.c: what the parent and the agent may not do: deny-lists, since the agent is any
 * program, and a child inherits its parent's filter (the parent forks the agent).
 */
#include <errno.h>

#include "policy_common.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* the kernel looks at the lower half of an int: so must whoever denies one */
#define INT_EQ(i, v) MASK_EQ(i, 0xffffffffu, v)

/*
 * Both ways: adjtimex and clock_adjtime are not here, since agents ask with them how the clock is
 * (Prometheus node exporter at every scrape); to change it the kernel wants CAP_SYS_TIME.
 */
/* clang-format off: tables */
#define NEITHER                                                                                    \
	DENY("ptrace", "other processes"), DENY("process_vm_readv", "other processes"),            \
	    DENY("process_vm_writev", "other processes"),                                          \
	    DENY("process_madvise", "other processes"), DENY("kcmp", "other processes"),           \
	    DENY("pidfd_getfd", "other processes' descriptors"),                                   \
	    DENY("bpf", "programs in the kernel"),                                                 \
	    DENY("perf_event_open", "the kernel's counters"),                                      \
	    DENY("userfaultfd", "page faults by hand"),                                            \
	    DENY("io_uring_setup", "calls that no filter sees"),                                   \
	    DENY("io_uring_enter", "calls that no filter sees"),                                   \
	    DENY("io_uring_register", "calls that no filter sees"), DENY("add_key", "key rings"),  \
	    DENY("request_key", "key rings"), DENY("keyctl", "key rings"),                         \
	    DENY("kexec_load", "another kernel"), DENY("kexec_file_load", "another kernel"),       \
	    DENY("init_module", "kernel modules"), DENY("finit_module", "kernel modules"),         \
	    DENY("delete_module", "kernel modules"), DENY("create_module", "kernel modules"),      \
	    DENY("reboot", "the host"), DENY("swapon", "the host"), DENY("swapoff", "the host"),   \
	    DENY("settimeofday", "the clock"), DENY("clock_settime", "the clock"),                 \
	    DENY("stime", "the clock"), DENY("sethostname", "the host's name"),                    \
	    DENY("setdomainname", "the host's name"), DENY("acct", "accounting"),                  \
	    DENY("quotactl", "quotas"), DENY("quotactl_fd", "quotas"),                             \
	    DENY("nfsservctl", "obsolete"), DENY("lookup_dcookie", "the kernel's counters"),       \
	    DENY("iopl", "ports"), DENY("ioperm", "ports"), DENY("vm86", "obsolete"),              \
	    DENY("vm86old", "obsolete"), DENY("modify_ldt", "obsolete"),                           \
	    DENY("uselib", "obsolete"), DENY("ustat", "obsolete"), DENY("sysfs", "obsolete"),      \
	    DENY("_sysctl", "obsolete"), DENY("syslog", "the kernel's log"),                       \
	    DENY("vhangup", "terminals"), DENY("fanotify_init", "watching others' files"),         \
	    DENY("name_to_handle_at", "files by handle"),                                          \
	    DENY("open_by_handle_at", "files by handle"),                                          \
	    DENY("move_pages", "other processes' memory"),                                         \
	    DENY("migrate_pages", "other processes' memory"),                                      \
	    CALL1("ioctl", INT_EQ(1, TIOCSTI), "typing into a terminal"),                          \
	    CALL1("ioctl", INT_EQ(1, TIOCLINUX), "typing into a terminal")

static const struct syscall_rule parent_denied[] = {
    NEITHER,
    END_OF_CALLS,
};

static const struct syscall_rule agent_denied[] = {
    NEITHER,
    DENY("mount", "file systems"),
    DENY("umount2", "file systems"),
    DENY("umount", "file systems"),
    DENY("pivot_root", "file systems"),
    DENY("chroot", "file systems"),
    DENY("move_mount", "file systems"),
    DENY("open_tree", "file systems"),
    DENY("fsopen", "file systems"),
    DENY("fsconfig", "file systems"),
    DENY("fsmount", "file systems"),
    DENY("fspick", "file systems"),
    DENY("mount_setattr", "file systems"),
    DENY("unshare", "namespaces"),
    DENY("setns", "namespaces"),
    CALL1("clone", MASK_EQ(0, CLONE_NEWUSER, CLONE_NEWUSER), "namespaces"),
    REFUSE("clone3", ENOSYS, "its flags cannot be seen: libc and Go fall back to clone"),
    REFUSE("personality", EPERM, "odd memory layouts"),
    /* Landlock's port rules do not see MPTCP; Go asks for it first and falls back to TCP */
    REFUSE1("socket", EPROTONOSUPPORT, INT_EQ(2, IPPROTO_MPTCP), "ports out of Landlock's sight"),
    /* a connect that Landlock does not see (6.18): programs fall back to an ordinary one */
    REFUSE1("sendto", EOPNOTSUPP, MASK_EQ(3, MSG_FASTOPEN, MSG_FASTOPEN), "connecting unseen"),
    REFUSE1("sendmsg", EOPNOTSUPP, MASK_EQ(2, MSG_FASTOPEN, MSG_FASTOPEN), "connecting unseen"),
    REFUSE1("sendmmsg", EOPNOTSUPP, MASK_EQ(3, MSG_FASTOPEN, MSG_FASTOPEN), "connecting unseen"),
    END_OF_CALLS,
};
/* clang-format on */

const struct policy policy_parent = {
    .proc = PROC_PARENT,
    /* what starting needs: ids, namespaces and mounts of the children, the agent's capabilities
     * come on top (agent.capabilities); nothing for the network, files of others or devices:
     * what belongs to another is opened as that user (trusted_open.c).  The last two only where it
     * has them, the units do without: to make a directory that is missing for its user, and for the
     * root cgroup, whose directory nobody may write: a container's */
    .capabilities = 1ull << CAP_SETUID | 1ull << CAP_SETGID | 1ull << CAP_SETPCAP |
		    1ull << CAP_KILL | 1ull << CAP_SYS_ADMIN | 1ull << CAP_CHOWN |
		    1ull << CAP_DAC_OVERRIDE,
    .deny_list = 1,
    .syscalls = parent_denied,
    .limit_nofile = 1024,
    .limit_nproc = -1,
};

const struct policy policy_agent = {
    .proc = PROC_NOBODY,
    .deny_list = 1,
    .syscalls = agent_denied,
    .landlock = 1,
    .scope_signal = 1,
    .limit_nproc = -1,
};
