/*
 * sandbox.c: `opampctl sandbox`: for each running process what the kernel says in /proc beside what its policy
 * declares; a difference is marked.  opampctl only.  It believes confd nothing but the process numbers.
 */
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "privsep/limits.h"
#include "privsep/policy_held.h"
#include "privsep/policy_text.h"
#include "procfs.h"

struct seen { /* one process */
	const char *name;
	const struct policy *policy;
	pid_t pid;
	uint64_t restarts, since_ms;
	struct procfs p;
	int there;
	struct error err;
};

struct report {
	struct ctl *c;
	uint64_t owner; /* opampd was started by */
	int mode;       /* agent.sandbox: 0 off, 1 standard, 2 strict */
	struct seen all[PROC_COUNT + 1];
	size_t count;
	int differences;
};

enum verdict {
	SHOWN, /* nothing is declared: for information */
	SAME,
	WEAKER, /* a belt that this host does not give */
	DIFFERS,
	UNKNOWN, /* the caller may not look */
};

static void
line(struct report *r, const char *aspect, const char *kernel, const char *declared, enum verdict v)
{
	static const char *const words[] = {"", "ok", "not to be had here", "DIFFERS", "?"};

	out_row(r->c->w);
	out_string(r->c->w, "aspect", aspect);
	out_string(r->c->w, "kernel", v == UNKNOWN ? "only root may look" : kernel);
	/* what is long and as declared is not said twice to people */
	if (!r->c->json && v == SAME && declared != NULL && strlen(kernel) > 40 &&
	    strcmp(kernel, declared) == 0)
		declared = "the same";
	out_string(r->c->w, "declared", declared);
	out_string(r->c->w, "verdict", words[v]);
	r->differences += v == DIFFERS;
}

static const struct seen *
find(const struct report *r, const char *name)
{
	size_t i;

	for (i = 0; i < r->count; i++)
		if (strcmp(r->all[i].name, name) == 0 && r->all[i].there)
			return &r->all[i];
	return NULL;
}

static const char *
user_text(char *buf, size_t size, uint32_t uid)
{
	const struct passwd *pw = getpwuid((uid_t)uid);

	if (pw != NULL)
		(void)snprintf(buf, size, "%s (%u)", pw->pw_name, uid);
	else
		(void)snprintf(buf, size, "%u", uid);
	return buf;
}

static int
all_equal(const uint32_t ids[4], uint32_t id)
{
	return ids[0] == id && ids[1] == id && ids[2] == id && ids[3] == id;
}

static void
check_user(struct report *r, const struct seen *s)
{
	const struct procfs *p = &s->p;
	const struct passwd *pw;
	char kernel[128], declared[128];
	uint32_t want = (uint32_t)r->owner;
	enum verdict v;

	(void)user_text(kernel, sizeof(kernel), p->uid[1]);
	if (r->owner == 0 && s->policy->user != NULL) {
		pw = getpwnam(s->policy->user);
		want = pw == NULL ? UINT32_MAX : (uint32_t)pw->pw_uid;
		(void)snprintf(declared, sizeof(declared), "%s", s->policy->user);
	} else {
		(void)user_text(declared, sizeof(declared), want);
	}
	if (s->policy == &policy_agent && r->owner == 0) {
		const struct seen *confd = find(r, "confd");

		(void)snprintf(declared, sizeof(declared), "agent.run_as, neither root nor ours");
		v = p->uid[1] != 0 && all_equal(p->uid, p->uid[1]) &&
			    (confd == NULL || confd->p.uid[1] != p->uid[1])
			? SAME
			: DIFFERS;
	} else {
		v = all_equal(p->uid, want) ? SAME : DIFFERS;
	}
	line(r, "user", kernel, declared, v);
}

static void
check_groups(struct report *r, const struct seen *s)
{
	const struct procfs *p = &s->p;
	const struct seen *agent = find(r, "agent");
	char kernel[PROCFS_GROUPS * 12] = "";
	size_t i, n;

	for (i = 0; i < p->group_count; i++) {
		n = strlen(kernel);
		(void)snprintf(
		    kernel + n, sizeof(kernel) - n, "%s%u", i > 0 ? " " : "", p->groups[i]);
	}
	if (p->group_count == 0)
		(void)snprintf(kernel, sizeof(kernel), "none");
	if (r->owner != 0)
		line(r, "groups", kernel, "the user's", SHOWN);
	else if (s->policy == &policy_agent)
		line(r, "groups", kernel, "agent.groups", SHOWN);
	else if (s->policy == &policy_parent)
		line(r, "groups", kernel, "root's", SHOWN);
	else if (s->policy == &policy_confd)
		line(r, "groups", kernel, "the agent's, for its files",
		    p->group_count <= 1 && (p->group_count == 0 || agent == NULL ||
					       p->groups[0] == agent->p.gid[1])
			? SAME
			: DIFFERS);
	else
		line(r, "groups", kernel, "none", p->group_count == 0 ? SAME : DIFFERS);
}

static void
check_capabilities(struct report *r, const struct seen *s)
{
	const struct procfs *p = &s->p;
	const struct seen *agent = find(r, "agent");
	uint64_t want = r->owner == 0 ? s->policy->capabilities : 0, extra = 0;
	uint64_t have = p->caps[CAP_SET_EFFECTIVE] | p->caps[CAP_SET_PERMITTED];
	uint64_t passed = p->caps[CAP_SET_INHERITABLE] | p->caps[CAP_SET_AMBIENT];
	char kernel[1200], declared[1200];

	if (s->policy == &policy_agent) {
		line(r, "capabilities", policy_capabilities(kernel, sizeof(kernel), have),
		    "agent.capabilities", SHOWN);
		return;
	}
	/* the parent also keeps what agent.capabilities has it hand on */
	if (s->policy == &policy_parent && agent != NULL)
		extra = agent->p.caps[CAP_SET_PERMITTED];
	line(r, "capabilities", policy_capabilities(kernel, sizeof(kernel), have),
	    policy_capabilities(declared, sizeof(declared), want | (have & extra)),
	    (have & ~(want | extra)) == 0 ? SAME : DIFFERS);
	line(r, "inherited", policy_capabilities(kernel, sizeof(kernel), passed), "none",
	    passed == 0 ? SAME : DIFFERS);
	if (r->owner == 0 && s->policy != &policy_parent)
		line(r, "bounding set",
		    policy_capabilities(kernel, sizeof(kernel), p->caps[CAP_SET_BOUNDING]), "none",
		    p->caps[CAP_SET_BOUNDING] == 0 ? SAME : DIFFERS);
}

static void
check_filters(struct report *r, const struct seen *s)
{
	static const char *const modes[] = {"none", "strict", "filter"};
	const struct procfs *p = &s->p;
	int want = s->policy != &policy_agent ? 1 : r->mode != 0 ? 1 : -1;
	char kernel[64];

	(void)snprintf(kernel, sizeof(kernel), "%s, %d in force",
	    modes[p->seccomp >= 0 && p->seccomp <= 2 ? p->seccomp : 0], p->filters);
	line(r, "seccomp", kernel,
	    want == -1                   ? "the parent's deny-list"
	    : s->policy == &policy_agent ? "two deny-lists"
	    : s->policy->deny_list       ? "a deny-list"
					 : "an allow-list, the log's and the parent's deny-list",
	    /* kernels before 5.12 do not count */
	    p->seccomp == 2 &&
		    (p->filters == 0 || p->filters >= (s->policy == &policy_parent || want == -1 ? 1
							  : s->policy == &policy_agent           ? 2
										       : 3))
		? SAME
		: DIFFERS);
	line(r, "no_new_privs", p->no_new_privs == 1 ? "yes" : "no", "yes",
	    p->no_new_privs == 1 ? SAME : DIFFERS);
	if (s->policy != &policy_agent)
		line(r, "dumpable",
		    p->dumpable == 1   ? "yes"
		    : p->dumpable == 0 ? "no"
				       : "root's",
		    "no",
		    p->dumpable == 1   ? DIFFERS
		    : p->dumpable == 0 ? SAME
				       : SHOWN);
}

#ifdef OPAMPD_SANITIZED /* a build for tests does without these two: see sandbox.c of privsep */
#define MAY_LACK 1
#else
#define MAY_LACK 0
#endif

static void
check_limit(struct report *r, const char *name, uint64_t have, uint64_t want, int may_lack)
{
	char kernel[32], declared[32];

	(void)snprintf(kernel, sizeof(kernel), "%llu", (unsigned long long)have);
	(void)snprintf(declared, sizeof(declared), "%llu", (unsigned long long)want);
	line(r, name, have == UINT64_MAX ? "none" : kernel, declared,
	    have <= want ? SAME
	    : may_lack   ? WEAKER
			 : DIFFERS);
}

static void
check_limits(struct report *r, const struct seen *s)
{
	const struct policy *policy = s->policy;
	const struct procfs *p = &s->p;

	check_limit(r, "core size", p->limits[PROCFS_CORE], 0, 0);
	if (policy == &policy_agent || policy == &policy_parent)
		return;
	if (policy->limit_nofile != 0)
		check_limit(r, "open files", p->limits[PROCFS_NOFILE], policy->limit_nofile, 0);
	/* not set where the log is a file: see sandbox.c of privsep */
	if (policy->limit_fsize != 0 && p->log_is_file != 0 &&
	    p->limits[PROCFS_FSIZE] > policy->limit_fsize)
		line(r, "file size", p->limits[PROCFS_FSIZE] == UINT64_MAX ? "none" : "limited",
		    "limited, unless the log is a file", p->log_is_file == 1 ? WEAKER : UNKNOWN);
	else if (policy->limit_fsize != 0)
		check_limit(r, "file size", p->limits[PROCFS_FSIZE], policy->limit_fsize, 0);
	if (policy->limit_data != 0)
		check_limit(r, "data size", p->limits[PROCFS_DATA], policy->limit_data, MAY_LACK);
	if (policy->limit_data != 0)
		check_limit(r, "address space", p->limits[PROCFS_AS],
		    policy->limit_data + LIMIT_SPACE_BESIDE, MAY_LACK);
	if (policy->limit_nproc >= 0)
		check_limit(r, "processes", p->limits[PROCFS_NPROC], (uint64_t)policy->limit_nproc,
		    MAY_LACK);
}

static void
check_namespaces(struct report *r, const struct seen *s)
{
	static const uint32_t bits[PROCFS_NAMESPACES] = {SANDBOX_NS_MOUNT, SANDBOX_NS_NET,
	    SANDBOX_NS_PID, SANDBOX_NS_IPC, SANDBOX_NS_UTS, SANDBOX_NS_USER};
	const struct seen *parent = find(r, "parent");
	uint32_t own = 0, hidden = 0;
	char kernel[64], declared[64];
	size_t i;

	if (parent == NULL || s->policy == &policy_parent)
		return;
	for (i = 0; i < PROCFS_NAMESPACES; i++) {
		if (s->p.namespaces[i] == 0 || parent->p.namespaces[i] == 0)
			hidden |= bits[i];
		else if (s->p.namespaces[i] != parent->p.namespaces[i])
			own |= bits[i];
	}
	line(r, "own namespaces", policy_namespaces(kernel, sizeof(kernel), own),
	    s->policy == &policy_agent
		? NULL
		: policy_namespaces(declared, sizeof(declared), s->policy->namespaces),
	    hidden != 0                           ? UNKNOWN
	    : s->policy == &policy_agent          ? SHOWN
	    : (s->policy->namespaces & ~own) == 0 ? SAME
						  : WEAKER);
}

/* Kinds alone: how many there are depends on what it does at the moment. */
static void
check_descriptors(struct report *r, const struct seen *s)
{
	const struct held *h = policy_held(s->name);
	int declared_kinds[HELD_KINDS] = {0}, more = 0;
	unsigned held[HELD_KINDS];
	char kernel[256], declared[256] = "";
	size_t n;
	int i;

	memcpy(held, s->p.held, sizeof(held));
	if (s->policy != &policy_agent && s->p.second > HELD_NONE && s->p.second < HELD_KINDS &&
	    held[s->p.second] > 0) {
		held[s->p.second]--;
		held[HELD_LOG]++;
	}
	for (; h != NULL && h->kind != HELD_NONE; h++) {
		n = strlen(declared);
		if (!declared_kinds[h->kind])
			(void)snprintf(declared + n, sizeof(declared) - n, "%s%s",
			    n > 0 ? ", " : "", held_name(h->kind));
		declared_kinds[h->kind] = 1;
	}
	(void)snprintf(kernel, sizeof(kernel), "%d", s->p.descriptors);
	for (i = 0; i < HELD_KINDS; i++) {
		n = strlen(kernel);
		if (held[i] > 0)
			(void)snprintf(kernel + n, sizeof(kernel) - n, "%s %s %u",
			    more++ ? "," : ":", held_name((enum held_kind)i), held[i]);
	}
	for (more = 0, i = 0; i < HELD_KINDS; i++)
		more += held[i] > 0 && !declared_kinds[i];
	if (s->policy == &policy_agent) /* what it opens is its own */
		line(r, "descriptors", kernel, NULL, s->p.descriptors == -1 ? UNKNOWN : SHOWN);
	else
		line(r, "descriptors", kernel, declared,
		    s->p.descriptors == -1 ? UNKNOWN
		    : more == 0            ? SAME
					   : DIFFERS);
}

static void
check_process(struct report *r, struct seen *s)
{
	static const char *const columns[] = {"aspect", "kernel", "declared", "verdict", NULL};
	struct writer *w = r->c->w;
	char text[32];

	out_section(w, s->name);
	out_number(w, "pid", (uint64_t)s->pid);
	if (s->since_ms != 0)
		out_time(w, "since", s->since_ms * 1000000);
	if (s->restarts != 0)
		out_number(w, "restarts", s->restarts);
	if (!s->there) {
		out_string(w, "error", s->err.text);
		out_end(w);
		r->differences++;
		return;
	}
	out_table(w, "checks", columns);
	check_user(r, s);
	check_groups(r, s);
	check_capabilities(r, s);
	check_filters(r, s);
	check_limits(r, s);
	check_namespaces(r, s);
	(void)snprintf(text, sizeof(text), "%d", s->p.threads);
	if (s->policy != &policy_agent)
		line(r, "threads", text, "1", s->p.threads == 1 ? SAME : DIFFERS);
	check_descriptors(r, s);
	out_end(w);
	out_end(w);
}

/* ---- the host */

static void
weak(struct ctl *c, const char *invariant, const char *why)
{
	out_row(c->w);
	out_string(c->w, "invariant", invariant);
	out_string(c->w, "why", why);
}

/* By the agent's own mounts: the socket, or what opampd has put in its place there. */
static int
agent_reaches_control(const struct report *r)
{
	const struct seen *agent = find(r, "agent");
	char path[PATH_MAX + 32], *absolute = realpath(r->c->socket_path, NULL);
	struct stat st;
	int reached = 0;

	if (agent != NULL && absolute != NULL) {
		(void)snprintf(path, sizeof(path), "/proc/%d/root%s", agent->pid, absolute);
		reached = stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
	}
	free(absolute);
	return reached;
}

static void
show_host(struct report *r)
{
	static const char *const columns[] = {"invariant", "why", NULL};
	struct ctl *c = r->c;
	int abi = sandbox_landlock_abi();
	char user[128], text[512];

	out_section(c->w, "host");
	(void)snprintf(text, sizeof(text), "%s",
	    abi == 0  ? "none: the kernel does not have it"
	    : abi < 4 ? "files; no ports (ABI 4), no signals (ABI 6)"
	    : abi < 6 ? "files, ports; no signals (ABI 6)"
		      : "files, ports, signals");
	out_number(c->w, "landlock_abi", (uint64_t)abi);
	out_string(c->w, "landlock", text);
	out_string(c->w, "started_by", user_text(user, sizeof(user), (uint32_t)r->owner));
	out_string(c->w, "agent_sandbox",
	    r->mode == 0   ? "off"
	    : r->mode == 1 ? "standard"
			   : "strict");
	out_end(c->w);
	if (r->owner == 0 && abi > 0 && r->mode != 0)
		return;
	out_note(c->w, "\nnot in force here:");
	out_table(c->w, "not_in_force", columns);
	if (r->owner != 0) {
		weak(c, "I1",
		    "the processes share one user with the agent: its program and the "
		    "settings can be written by that user");
		weak(c, "I4", "the settings belong to that user, not to root");
		weak(c, "I15",
		    abi == 0  ? "the agent can read opampd's state and signal its processes"
		    : abi < 6 ? "the agent can signal opampd's processes (Landlock keeps it from "
				"the state)"
			      : "only Landlock keeps the agent from opampd's state and processes");
		if (agent_reaches_control(r))
			weak(c, "I15",
			    "the agent can do at the control socket what the user can, and change "
			    "modes, times and attributes of opampd's files: the kernel gives it no "
			    "user "
			    "namespace and so no mounts of its own (user.max_user_namespaces, a "
			    "container's seccomp profile)");
	}
	if (abi == 0)
		weak(c, "I5", "no Landlock: files are kept apart by users and seccomp alone");
	if (r->mode == 0)
		weak(c, "I13", "agent.sandbox is off: the agent has its user's rights whole");
	out_end(c->w);
}

static int
add(struct report *r, const char *name, const struct policy *policy, pid_t pid)
{
	struct seen *s;

	if (pid <= 0 || r->count == PROC_COUNT + 1)
		return 0;
	s = &r->all[r->count++];
	*s = (struct seen){.name = name, .policy = policy, .pid = pid};
	s->there = procfs_read(&s->p, pid, &s->err) == 0;
	return 1;
}

static void
collect(struct report *r, const struct record *record)
{
	struct record_entry e;
	uint64_t proc = 0, value, pids[PROC_COUNT] = {0}, restarts[PROC_COUNT] = {0},
		 since[PROC_COUNT] = {0};
	size_t pos = 0, i;
	char *mode = record_string(record, CK_AGENT_SANDBOX);
	struct procfs confd;
	struct error err;

	r->owner = record_u64(record, CK_OWNER_UID, 0);
	r->mode = mode != NULL && strcmp(mode, "off") == 0      ? 0
		  : mode != NULL && strcmp(mode, "strict") == 0 ? 2
								: 1;
	free(mode);
	while (record_next(record, &pos, 0, &e)) {
		if (e.len != sizeof(value))
			continue;
		memcpy(&value, e.value, sizeof(value));
		if (e.key == CK_PROC)
			proc = value;
		else if (proc <= PROC_PARENT || proc >= PROC_COUNT)
			continue;
		else if (e.key == CK_PROC_PID)
			pids[proc] = value;
		else if (e.key == CK_PROC_RESTARTS)
			restarts[proc] = value;
		else if (e.key == CK_PROC_SINCE_MS && value < UINT64_MAX / 1000000)
			since[proc] = value;
	}
	pids[PROC_CONFD] = record_u64(record, CK_PID, pids[PROC_CONFD]);
	/* whose child confd is is the parent */
	if (procfs_read(&confd, (pid_t)pids[PROC_CONFD], &err) == 0)
		(void)add(r, "parent", &policy_parent, confd.parent);
	for (i = PROC_PARENT + 1; i < PROC_COUNT; i++)
		if (add(r, proc_name((uint32_t)i), policy_of((enum proc)i), (pid_t)pids[i]) == 1) {
			r->all[r->count - 1].restarts = restarts[i];
			r->all[r->count - 1].since_ms = since[i];
		}
	(void)add(r, "agent", &policy_agent, (pid_t)record_u64(record, CK_AGENT_PID, 0));
}

enum ctl_exit
verb_sandbox(struct ctl *c, int argc, char **argv)
{
	struct report r = {.c = c};
	struct reply reply;
	enum ctl_exit status;
	size_t i;

	if (argc > 0 && sandbox_policy(argv[0]) == NULL) {
		(void)error_set(&c->err,
		    "sandbox %s: parent, netd, link, confd, procd, connect, merge or agent belongs "
		    "there",
		    argv[0]);
		return CTL_USAGE;
	}
	status = ctl_ask(c, CONTROL_CHILDREN, 0, 0, &reply);
	if (status != CTL_OK)
		return status;
	collect(&r, &reply.record);
	reply_free(&reply);
	if (argc == 0)
		show_host(&r);
	for (i = 0; i < r.count; i++)
		if (argc == 0 || strcmp(argv[0], r.all[i].name) == 0)
			check_process(&r, &r.all[i]);
	if (argc > 0)
		sandbox_show(c, argv[0]);
	if (argc == 0 && !c->json)
		out_note(c->w, "\n%s",
		    r.differences == 0 ? "every process is as declared"
				       : "not every process is as declared: see DIFFERS above");
	return r.differences == 0 ? CTL_OK : CTL_UNHEALTHY;
}
