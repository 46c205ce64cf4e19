/*
 * restrict.c: see restrict.h.  opampctl only.  A deny-list: libc's look-up of names may do anything harmless.
 */
#include "restrict.h"

#include <sys/prctl.h>

#include "privsep/landlock.h"
#include "privsep/sandbox.h"

#define DENY(call, reason)                                                                         \
	{                                                                                          \
		.name = call, .why = reason                                                        \
	}

static const struct syscall_rule denied[] = {
    DENY("execve", "programs"),
    DENY("execveat", "programs"),
    DENY("fork", "processes"),
    DENY("vfork", "processes"),
    DENY("clone", "processes"),
    DENY("clone3", "processes"),
    DENY("kill", "signals"),
    DENY("tkill", "signals"),
    DENY("pidfd_send_signal", "signals"),
    DENY("ptrace", "other processes"),
    DENY("process_vm_readv", "other processes"),
    DENY("process_vm_writev", "other processes"),
    DENY("pidfd_getfd", "other processes"),
    DENY("mount", "the host"),
    DENY("umount2", "the host"),
    DENY("unshare", "the host"),
    DENY("setns", "the host"),
    DENY("chroot", "the host"),
    DENY("pivot_root", "the host"),
    DENY("bpf", "the host"),
    DENY("init_module", "the host"),
    DENY("finit_module", "the host"),
    DENY("io_uring_setup", "calls that no filter sees"),
    DENY("chmod", "files"),
    DENY("fchmod", "files"),
    DENY("fchmodat", "files"),
    DENY("chown", "files"),
    DENY("fchown", "files"),
    DENY("fchownat", "files"),
    DENY("lchown", "files"),
    DENY(NULL, NULL),
};

void
restrict_self(int files)
{
	static const struct policy policy = {.deny_list = 1, .syscalls = denied};
	struct error err;
	int abi = sandbox_landlock_abi(), set;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return;
	if (files && abi > 0) {
		set = sandbox_landlock_begin(abi, 0, 1, &err);
		if (set >= 0 && sandbox_landlock_path(set, abi, "/", LL_FS_READ, &err) == 0)
			(void)sandbox_landlock_end(set, &err);
	}
#ifdef OPAMPD_SANITIZED /* the search for leaks makes a process and traces us */
	(void)policy;
#else
	(void)sandbox_seccomp(&policy, &err);
#endif
}
