/*
 * sandbox.c: puts a policy in force (see sandbox.h).  Every child, once, before its first foreign
 * byte.  The order matters: what needs rights first, then the rights go, then the filters come.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <seccomp.h>

#include "landlock.h"
#include "limits.h"
#include "log.h"

#define MAX_FD_RULES 4

static struct {
	int fd;
	uint64_t rights;
} fd_rules[MAX_FD_RULES];
static size_t fd_rule_count;

int
sandbox_allow_fd(int fd, uint64_t rights)
{
	if (fd_rule_count == MAX_FD_RULES)
		return -1;
	fd_rules[fd_rule_count].fd = fd;
	fd_rules[fd_rule_count++].rights = rights;
	return 0;
}

static int
lower_limit(int resource, uint64_t value, struct error *err)
{
	struct rlimit now, want = {value, value};

	if (getrlimit((__rlimit_resource_t)resource, &now) == -1)
		return error_errno(err, "reading a resource limit");
	if (now.rlim_max != RLIM_INFINITY && want.rlim_max > now.rlim_max)
		want.rlim_cur = want.rlim_max = now.rlim_max;
	if (setrlimit((__rlimit_resource_t)resource, &want) == -1)
		return error_errno(err, "lowering a resource limit");
	return 0;
}

/* Where the log is a regular file, the limit would end whoever writes a line to it. */
static int
log_is_file(void)
{
	struct stat st;

	return fstat(2, &st) == 0 && S_ISREG(st.st_mode);
}

static int
enter_limits(const struct policy *p, struct error *err)
{
	if (lower_limit(RLIMIT_CORE, 0, err) == -1)
		return -1;
	if (p->limit_nofile != 0 && lower_limit(RLIMIT_NOFILE, p->limit_nofile, err) == -1)
		return -1;
	if (p->limit_fsize != 0 && !log_is_file() &&
	    lower_limit(RLIMIT_FSIZE, p->limit_fsize, err) == -1)
		return -1;
#ifndef OPAMPD_SANITIZED /* the sanitizers' shadow counts as data */
	if (p->limit_data != 0 && lower_limit(RLIMIT_DATA, p->limit_data, err) == -1)
		return -1;
	/* there is memory that is no data, such as a stack that mremap makes larger */
	if (p->limit_data != 0 &&
	    lower_limit(RLIMIT_AS, p->limit_data + LIMIT_SPACE_BESIDE, err) == -1)
		return -1;
	if (p->limit_nproc >= 0 && lower_limit(RLIMIT_NPROC, (uint64_t)p->limit_nproc, err) == -1)
		return -1;
#endif
	return 0;
}

static int
write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t done;

	if (fd == -1)
		return -1;
	done = write(fd, text, strlen(text));
	close(fd);
	return done == (ssize_t)strlen(text) ? 0 : -1;
}

/* In a new user namespace: we are who we were, and nobody else is there. */
static int
map_ids(uid_t uid, gid_t gid)
{
	char uids[64], gids[64];

	(void)snprintf(uids, sizeof(uids), "%u %u 1", uid, uid);
	(void)snprintf(gids, sizeof(gids), "%u %u 1", gid, gid);
	if (write_text("/proc/self/setgroups", "deny") == -1 ||
	    write_text("/proc/self/uid_map", uids) == -1)
		return -1;
	return write_text("/proc/self/gid_map", gids);
}

/* Namespaces are belts: what cannot be had is told by the result, not an error. */
static uint32_t
enter_namespaces(const struct policy *p, const struct msg_start *start)
{
	static const struct {
		uint32_t bit;
		int flag;
	} kinds[] = {{SANDBOX_NS_MOUNT, CLONE_NEWNS}, {SANDBOX_NS_NET, CLONE_NEWNET},
	    {SANDBOX_NS_IPC, CLONE_NEWIPC}, {SANDBOX_NS_UTS, CLONE_NEWUTS}};
	uid_t uid = getuid();
	gid_t gid = getgid();
	uint32_t got = 0;
	size_t i;

	if (p->namespaces == 0)
		return 0;
	if (start->flags & CHILD_UNPRIVILEGED) {
		if (unshare(CLONE_NEWUSER) == -1)
			return 0;
		if (map_ids(uid, gid) == -1)
			log_debug("cannot map ids in a new user namespace: %s", strerror(errno));
		got |= SANDBOX_NS_USER;
	}
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if ((p->namespaces & kinds[i].bit) != 0 && unshare(kinds[i].flag) == 0)
			got |= kinds[i].bit;
	return got;
}

/* The root becomes an empty directory that nobody can write. */
static int
enter_empty_root(struct error *err)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1)
		return error_errno(err, "making mounts private");
	if (mount("opampd", "/usr", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		"size=4k,nr_inodes=2,mode=0555") == -1)
		return error_errno(err, "mounting an empty root");
	if (chdir("/usr") == -1 || syscall(SYS_pivot_root, ".", ".") == -1)
		return error_errno(err, "changing to the empty root");
	if (umount2(".", MNT_DETACH) == -1 || chdir("/") == -1)
		return error_errno(err, "leaving the old root");
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		NULL) == -1)
		return error_errno(err, "making the empty root read-only");
	return 0;
}

/*
 * The root becomes the directory that we are in: there is no other name for anything.  It was entered
 * before there was a mount namespace of our own, which takes its mount along; root that gave up
 * CAP_DAC_OVERRIDE looks into it as its owner.
 */
static int
enter_root_here(struct error *err)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1)
		return error_errno(err, "making mounts private");
	if (mount(".", "/usr", NULL, MS_BIND | MS_REC, NULL) == -1 || chdir("/usr") == -1 ||
	    syscall(SYS_pivot_root, ".", ".") == -1)
		return error_errno(err, "changing to a root of its own");
	if (umount2(".", MNT_DETACH) == -1 || chdir("/") == -1)
		return error_errno(err, "leaving the old root");
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) ==
	    -1)
		return error_errno(err, "no programs and devices in its root");
	return 0;
}

/* Namespaces, and the root in them. */
static int
enter_places(const struct policy *p, const struct msg_start *start, struct sandbox_result *result,
    struct error *err)
{
	int root = (start->flags & CHILD_UNPRIVILEGED) == 0, r = 0;

	if (p->root_at != 0) {
		if (root)
			(void)setfsuid(start->uid);
		if (fchdir(p->root_at) == -1)
			return error_errno(err, "entering its directory");
	}
	result->namespaces = enter_namespaces(p, start);
	if ((result->namespaces & SANDBOX_NS_MOUNT) == 0)
		r = p->root_at != 0 && chdir("/") == -1 ? error_errno(err, "leaving it again") : 0;
	else if (p->root_at != 0)
		r = enter_root_here(err);
	if (p->root_at != 0 && root)
		(void)setfsuid(0);
	return r;
}

static int
enter_ids(const struct msg_start *start, struct error *err)
{
	gid_t groups[16];
	uint32_t i;
	uid_t r, e, s;

	if (start->uid == 0 || start->gid == 0)
		return error_set(err, "no user to become: root is none");
	for (i = 0; i < start->group_count; i++)
		groups[i] = start->groups[i];
	if (setgroups(start->group_count, groups) == -1)
		return error_errno(err, "setting %u groups", start->group_count);
	if (setresgid(start->gid, start->gid, start->gid) == -1)
		return error_errno(err, "becoming group %u", start->gid);
	if (setresuid(start->uid, start->uid, start->uid) == -1)
		return error_errno(err, "becoming user %u", start->uid);
	if (getresuid(&r, &e, &s) == -1 || r != start->uid || e != start->uid || s != start->uid)
		return error_set(err, "the change of user did not take effect");
	return 0;
}

int
sandbox_capabilities(uint64_t keep, struct error *err)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2], back[2];
	uint32_t low = (uint32_t)keep, high = (uint32_t)(keep >> 32);

	if (syscall(SYS_capget, &head, data) == -1)
		return error_errno(err, "reading capabilities");
	low &= data[0].permitted;
	high &= data[1].permitted;
	data[0] = (struct __user_cap_data_struct){low, low, 0};
	data[1] = (struct __user_cap_data_struct){high, high, 0};
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == -1 && errno != EINVAL)
		return error_errno(err, "clearing ambient capabilities");
	if (syscall(SYS_capset, &head, data) == -1)
		return error_errno(err, "dropping capabilities");
	if (syscall(SYS_capget, &head, back) == -1 || memcmp(data, back, sizeof(data)) != 0)
		return error_set(err, "dropping capabilities did not take effect");
	return 0;
}

int
sandbox_bounding(uint64_t keep, struct error *err)
{
	unsigned cap;

	for (cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) != 1 || (keep & 1ull << cap) != 0)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == -1 && errno != EPERM)
			return error_errno(
			    err, "dropping capability %u from the bounding set", cap);
	}
	return 0;
}

int
sandbox_landlock_abi(void)
{
	long abi = syscall(LL_CREATE_RULESET, NULL, 0, LL_CREATE_VERSION);

	return abi < 0 ? 0 : (int)abi;
}

uint64_t
sandbox_landlock_fs(int abi)
{
	uint64_t rights = (LL_FS_REFER << 1) - 1;

	if (abi < 2)
		rights &= ~LL_FS_REFER;
	if (abi >= 3)
		rights |= LL_FS_TRUNCATE;
	if (abi >= 5)
		rights |= LL_FS_IOCTL_DEV;
	return rights;
}

int
sandbox_landlock_begin(int abi, int net, int scope_signal, struct error *err)
{
	struct ll_ruleset set = {.fs = sandbox_landlock_fs(abi)};
	size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
	long fd;

	if (net && abi >= 4)
		set.net = LL_NET_BIND_TCP | LL_NET_CONNECT_TCP;
	if (abi >= 6)
		set.scoped = LL_SCOPE_ABSTRACT_UNIX | (scope_signal ? LL_SCOPE_SIGNAL : 0);
	fd = syscall(LL_CREATE_RULESET, &set, size, 0);
	if (fd < 0)
		return error_errno(err, "making a Landlock rule set (ABI %d)", abi);
	return (int)fd;
}

int
sandbox_landlock_fd(int ruleset, int abi, int fd, uint64_t rights, struct error *err)
{
	struct ll_path rule = {rights & sandbox_landlock_fs(abi), fd};
	struct statx st;

	/* the type is known without asking a file system's server, which may not answer */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0 &&
	    !S_ISDIR(st.stx_mode))
		rule.rights &= LL_FS_OF_FILES;
	if (rule.rights == 0)
		return 0;
	if (syscall(LL_ADD_RULE, ruleset, LL_RULE_PATH, &rule, 0) == -1)
		return error_errno(err, "adding a Landlock rule");
	return 0;
}

int
sandbox_landlock_path(int ruleset, int abi, const char *path, uint64_t rights, struct error *err)
{
	int fd = open(path, O_PATH | O_CLOEXEC), r;

	if (fd == -1) {
		if (errno == ENOENT || errno == ENOTDIR || errno == EACCES)
			return 0; /* what is not there needs no right */
		return error_errno(err, "opening %s for a Landlock rule", path);
	}
	r = sandbox_landlock_fd(ruleset, abi, fd, rights, err);
	close(fd);
	return r == -1 ? error_prefix(err, "%s", path) : 0;
}

int
sandbox_landlock_end(int ruleset, struct error *err)
{
	if (syscall(LL_RESTRICT_SELF, ruleset, 0) == -1) {
		error_errno(err, "entering the Landlock domain");
		close(ruleset);
		return -1;
	}
	close(ruleset);
	return 0;
}

static int
enter_landlock(const struct policy *p, int ruleset, int abi, struct error *err)
{
	const struct landlock_path *path;
	size_t i;

	for (path = p->paths; path->path != NULL; path++)
		if (sandbox_landlock_path(ruleset, abi, path->path, path->rights, err) == -1)
			return -1;
	for (i = 0; i < fd_rule_count; i++)
		if (sandbox_landlock_fd(ruleset, abi, fd_rules[i].fd, fd_rules[i].rights, err) ==
		    -1)
			return -1;
	return sandbox_landlock_end(ruleset, err);
}

int
sandbox_enter(const struct policy *p, const struct msg_start *start, struct sandbox_result *result,
    struct error *err)
{
	int root = (start->flags & CHILD_UNPRIVILEGED) == 0, abi = sandbox_landlock_abi(),
	    ruleset = -1;
	pid_t parent = getppid();

	memset(result, 0, sizeof(*result));
	if (enter_limits(p, err) == -1 || enter_places(p, start, result, err) == -1)
		return -1;
	if (p->landlock && abi > 0) {
		ruleset =
		    sandbox_landlock_begin(abi, p->proc != PROC_CONNECT, p->scope_signal, err);
		if (ruleset == -1)
			return -1;
	}
	if (p->empty_root && (result->namespaces & SANDBOX_NS_MOUNT) != 0 &&
	    enter_empty_root(err) == -1)
		return -1;
	if (sandbox_bounding(0, err) == -1)
		return -1;
	if (root && p->capabilities != 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == -1)
		return error_errno(err, "keeping capabilities over the change of user");
	if (root && enter_ids(start, err) == -1)
		return -1;
	if (sandbox_capabilities(root ? p->capabilities : 0, err) == -1)
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1)
		return error_errno(err, "setting no_new_privs and not dumpable");
	/* after the change of user, which clears it; then look: the parent may be gone already */
	if (!p->ends_by_itself && prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0) == -1)
		return error_errno(err, "asking to end with the parent");
	if (getppid() != parent)
		return error_set(err, "the parent is gone");
	if (ruleset != -1 && enter_landlock(p, ruleset, abi, err) == -1)
		return -1;
	result->landlock_abi = ruleset == -1 ? 0 : abi;
	/* its own list does not have the call that loads another */
	if (sandbox_seccomp(&policy_log, err) == -1 || sandbox_seccomp(p, err) == -1)
		return -1;
	result->seccomp = 1;
	return 0;
}

/* ---- seccomp */

static int
add_rule(scmp_filter_ctx filter, const struct policy *p, const struct syscall_rule *rule)
{
	struct scmp_arg_cmp cmp[POLICY_ARGS];
	unsigned n = 0;
	uint32_t action;
	size_t i;
	int number = seccomp_syscall_resolve_name(rule->name), r;

	if (number == __NR_SCMP_ERROR)
		return 0; /* this libseccomp does not know it: an allow-list kills it anyway */
	for (i = 0; i < POLICY_ARGS; i++) {
		const struct arg_rule *a = &rule->args[i];

		if (a->test == ARG_EQ)
			cmp[n++] = (struct scmp_arg_cmp){a->index, SCMP_CMP_EQ, a->value, 0};
		else if (a->test == ARG_MASK0)
			cmp[n++] = (struct scmp_arg_cmp){a->index, SCMP_CMP_MASKED_EQ, a->value, 0};
		else if (a->test == ARG_MASK_EQ)
			cmp[n++] =
			    (struct scmp_arg_cmp){a->index, SCMP_CMP_MASKED_EQ, a->mask, a->value};
		/* libseccomp takes one test for each argument: a second one must not be lost unseen */
		if (n > 1 && cmp[n - 1].arg == cmp[n - 2].arg)
			return -EEXIST;
	}
	if (rule->action > 0)
		action = SCMP_ACT_ERRNO((uint32_t)rule->action);
	else
		action = p->deny_list ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ALLOW;
	r = seccomp_rule_add_array(filter, action, number, n, cmp);
	/* a pseudo call of another architecture cannot be filtered here and does not exist here */
	return r == -EDOM || r == -EINVAL ? (number < 0 ? 0 : r) : r;
}

#ifdef OPAMPD_SANITIZED
/* What the sanitizers' run time calls beside us. */
static const char *const sanitizer_calls[] = {"sched_yield", "sigaltstack", "rt_sigaction",
    "rt_sigprocmask", "gettid", "tgkill", "getrlimit", "prlimit64", "mmap", "mprotect", "madvise",
    "write", "readlink", "readlinkat", "openat", "read", "getuid", "sched_getaffinity", "prctl",
    "set_robust_list", "rseq", "clock_nanosleep", "newfstatat", "process_vm_readv", "pipe2", "pipe",
    "msync", "mincore", "personality", NULL};
#endif

int
sandbox_seccomp(const struct policy *p, struct error *err)
{
	const struct syscall_rule *rule;
	scmp_filter_ctx filter;
	int r;

	filter = seccomp_init(p->deny_list ? SCMP_ACT_ALLOW : SCMP_ACT_KILL_PROCESS);
	if (filter == NULL)
		return error_set(err, "no memory for a seccomp filter");
	(void)seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1);
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (rule = p->syscalls; rule->name != NULL; rule++) {
		r = add_rule(filter, p, rule);
		if (r < 0) {
			seccomp_release(filter);
			return error_set(err, "seccomp rule for %s: %s", rule->name, strerror(-r));
		}
	}
#ifdef OPAMPD_SANITIZED
	if (!p->deny_list) {
		size_t i;

		for (i = 0; sanitizer_calls[i] != NULL; i++)
			(void)seccomp_rule_add(filter, SCMP_ACT_ALLOW,
			    seccomp_syscall_resolve_name(sanitizer_calls[i]), 0);
	}
#endif
	r = seccomp_load(filter);
	seccomp_release(filter);
	if (r < 0)
		return error_set(err, "loading the seccomp filter: %s", strerror(-r));
	return 0;
}
