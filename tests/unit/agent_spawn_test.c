/*
 * agent_spawn_test.c: what the agent inherits, compared with what is declared in agent_spawn.h, and
 * nothing else (I13); what its sandbox lets it do; that nothing of it stays (I9).  The agent is this
 * program itself, started by the parent's own code from a process with the parent's own restrictions
 * that has all kinds of things to leave behind.  As root and as an ordinary user; who runs the test as
 * an ordinary user sees the tests for root skipped.
 */
#include "agent_world.h"

/* ---- looking at the report */

static int
has(const char *line)
{
	char text[512];

	snprintf(text, sizeof(text), "\n%s\n", line);
	return strstr(report, text) != NULL;
}

static void
want(const char *line)
{
	if (!has(line))
		fprintf(stderr, "not there: \"%s\" in:\n%s\n", line, report);
	assert_true(has(line));
}

static void
want_try(const char *name, const char *how)
{
	char line[128];

	snprintf(line, sizeof(line), "try %s %s", name, how);
	want(line);
}

/* The rest of the first line that begins so. */
static const char *
rest_of(const char *begin)
{
	static char text[512];
	char key[128];
	const char *at;

	snprintf(key, sizeof(key), "\n%s", begin);
	at = strstr(report, key);
	if (at == NULL)
		fprintf(stderr, "no line begins with \"%s\" in:\n%s\n", begin, report);
	assert_non_null(at);
	at += strlen(key);
	snprintf(text, sizeof(text), "%.*s", (int)strcspn(at, "\n"), at);
	return text;
}

/* Landlock's word, or that of the mounts, which the kernel asks first. */
static void
want_unwritable(const char *name)
{
	char error[64];

	snprintf(error, sizeof(error), "try %s refused EROFS", name);
	want_try(name, has(error) ? "refused EROFS" : "refused EACCES");
}

static unsigned
count(const char *begin)
{
	char key[128];
	const char *at = report;
	unsigned n = 0;

	snprintf(key, sizeof(key), "\n%s", begin);
	while ((at = strstr(at, key)) != NULL) {
		n++;
		at++;
	}
	return n;
}

static void
want_mask(const char *name, uint64_t mask)
{
	char key[64];

	snprintf(key, sizeof(key), "status %s:", name);
	if (strtoull(rest_of(key), NULL, 16) != mask)
		print_error("%s is %s\n", name, rest_of(key));
	assert_true(strtoull(rest_of(key), NULL, 16) == mask);
}

static void
want_ids(const struct world *w)
{
	unsigned uid = w->user ? (getuid() == 0 ? USER_UID : getuid()) : AGENT_UID,
		 gid = w->user ? (getuid() == 0 ? USER_UID : getgid()) : AGENT_GID;
	char line[128];

	snprintf(line, sizeof(line), "status Uid:\t%u\t%u\t%u\t%u", uid, uid, uid, uid);
	want(line);
	snprintf(line, sizeof(line), "status Gid:\t%u\t%u\t%u\t%u", gid, gid, gid, gid);
	want(line);
	if (!w->user) {
		snprintf(line, sizeof(line), "status Groups:\t%u ", EXTRA_GID);
		want(line);
	} else if (getuid() == 0) {
		snprintf(line, sizeof(line), "status Groups:\t%u ", USER_UID);
		want(line);
	}
	/* EINVAL: root has no name in its user namespace */
	want_try("become_root", w->user ? "refused EINVAL" : "refused EPERM");
}

static void
want_limits(void)
{
	char line[128];
	int i;

	for (i = 0; i < RLIM_NLIMITS; i++) {
		if (i == RLIMIT_CORE)
			snprintf(line, sizeof(line), "limit %d 0 0", i);
		else if (i == RLIMIT_NOFILE)
			snprintf(line, sizeof(line), "limit %d 200 200", i);
#ifndef OPAMPD_SANITIZED
		else if (i == RLIMIT_DATA)
			snprintf(
			    line, sizeof(line), "limit %d %llu %llu", i, 1ull << 40, 1ull << 40);
#endif
		else if (i == RLIMIT_NPROC)
			snprintf(line, sizeof(line), "limit %d 5000 5000", i);
		else { /* what the service manager gave */
			snprintf(line, sizeof(line), "own limit %d ", i);
			snprintf(line, sizeof(line), "limit %d %s", i, rest_of(line));
		}
		want(line);
	}
}

/* The kinds of namespaces that are the agent's own; all others are its parent's. */
static void
want_namespaces(const char *own)
{
	static const char *const names[] = {
	    "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};
	char line[64], parents[128];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(line, sizeof(line), "own ns %s:", names[i]);
		snprintf(parents, sizeof(parents), "ns %s:%s", names[i], rest_of(line));
		if (has(parents) != (strstr(own, names[i]) == NULL))
			print_error(
			    "%s namespace: parent %s, own are to be: %s\n", names[i], parents, own);
		assert_int_equal(has(parents), strstr(own, names[i]) == NULL);
	}
}

/* ---- I13: everything, in one list */

static void
want_declared(const struct world *w)
{
	int own_pids = !w->cgroup || w->user;
	char line[256];

	want("stage 0 Success");
	want("status exit 7");
	want_ids(w);
	want_mask("CapInh", w->capabilities);
	want_mask("CapPrm", w->capabilities);
	want_mask("CapEff", w->capabilities);
	want_mask("CapAmb", w->capabilities);
	want_mask("CapBnd", w->capabilities);
	want("status NoNewPrivs:\t1");
	want("status Seccomp:\t2");
	want(w->mode == MODE_OFF ? "status Seccomp_filters:\t1" : "status Seccomp_filters:\t2");
	want_mask("SigBlk", 0);
	want_mask("SigIgn", 0);
	want_limits();
	want_namespaces(!own_pids ? "" : w->user ? "mnt pid user" : "pid");
	want("umask 027");
	snprintf(line, sizeof(line), "cwd %s/work", w->top);
	want(line);
	want("leads session 1 group 1");
	want("terminal 0");
	want("pdeathsig 9");
	assert_int_equal(count("environment "), 2);
	want("environment ONLY=this");
	want("environment TMPDIR=/x");
	assert_int_equal(count("argument "), 5);
	assert_int_equal(count("fd "), 4);
	want("fd 0 /dev/null");
	assert_int_equal(strncmp(rest_of("fd 1 "), "pipe:", 5), 0);
	assert_int_equal(strncmp(rest_of("fd 2 "), "pipe:", 5), 0);
	want(SECRET_FD4);
	assert_int_equal(atoi(rest_of("seals ")) & 15, 15); /* not even the agent can change it */
	want_try("write_secret", "refused EPERM");
	assert_int_equal(
	    strstr(rest_of("cgroup 0::"), w->cgroup ? w->groups.prefix : "/") != NULL, 1);
	if (own_pids)
		assert_int_equal(strncmp(rest_of("pid "), "2 ", 2), 0);
}

/* What the parent itself may not, the agent may not in any mode. */
static void
want_denied_always(void)
{
	want_try("ptrace", "killed 31");
	want_unwritable("write_config");
}

/* By its user it may, where that is ours, and Landlock does not look. */
static void
want_state_unchanged(const struct world *w)
{
	static const char *const names[] = {
	    "chmod_state", "chmod_storage", "truncate_state", "touch_state"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (w->user)
			want_try(names[i], "refused EROFS");
		else
			assert_true(strncmp(rest_of("try chmod_state "), "refused", 7) == 0);
	want_try("chmod_own", "done");
}

static void
want_deny_list(void)
{
	want_try("mptcp", "refused EPROTONOSUPPORT");
	want_try("mptcp_high_half", "refused EPROTONOSUPPORT");
	want_try("fast_open", "refused EOPNOTSUPP");
	want_try("unshare", "killed 31");
	want_try("clone_user", "killed 31");
	want_try("clone3", "refused ENOSYS");
	want_try("mount", "killed 31");
	want_try("personality", "refused EPERM");
}

static void
want_standard(void)
{
	int abi = sandbox_landlock_abi();

	want_deny_list();
	want_try("write_own", "done");
	want_try("write_tmp", "done");
	want_try("read_config", "done");
	want_try("read_passwd", "done");
	want_try("execute", "done");
	want_try("connect_other", "done");
	want_try("bind_other", "done");
	if (abi == 0) {
		print_message("this kernel has no Landlock: its part is not tried\n");
		return;
	}
	want_unwritable("write_outside");
	want_try("write_granted", "done");
	want_unwritable("write_config");
	want_try("read_state", "refused EACCES");
	want_try("read_state_by_link", "refused EACCES");
	if (abi < 6) {
		print_message("Landlock ABI %d has no scopes: they are not tried\n", abi);
		return;
	}
	want_try("abstract", "refused EPERM");
	assert_true(
	    has("try signal_parent refused EPERM") || has("try signal_parent refused ESRCH"));
}

static void
want_strict(void)
{
	int abi = sandbox_landlock_abi();

	want_deny_list();
	want_try("write_own", "done");
	want_try("read_config", "done");
	if (abi == 0) {
		print_message("this kernel has no Landlock: its part is not tried\n");
		return;
	}
	want_unwritable("write_outside");
	want_try("write_granted", "done");
	want_unwritable("write_config");
	want_try("read_state", "refused EACCES");
	want_try("read_passwd", "refused EACCES");
	want_try("execute", "refused EACCES");
	if (abi < 4) {
		print_message("Landlock ABI %d has no ports: they are not tried\n", abi);
		return;
	}
	want_try("bind_listed", "done");
	want_try("bind_other", "refused EACCES");
	want_try("connect_link", "done");
	want_try("connect_other", "refused EACCES");
}

static void
want_off(void)
{
	want_try("write_outside", "done");
	want_try("read_passwd", "done");
	want_try("execute", "done");
	want_try("fast_open", "refused ECONNREFUSED"); /* let out: nobody listens there */
	assert_false(has("try clone3 refused ENOSYS"));
	assert_false(has("try mount killed 31"));
}

/* ---- the tests */

static void
need_root(void)
{
	if (getuid() != 0)
		skip();
}

static void
test_I13_as_root_standard(void **state)
{
	struct world w = {.mode = MODE_STANDARD};

	(void)state;
	need_root();
	assert_true(run(&w));
	want_declared(&w);
	want_denied_always();
	want_standard();
}

static void
test_I13_as_root_strict(void **state)
{
	struct world w = {.mode = MODE_STRICT};

	(void)state;
	need_root();
	assert_true(run(&w));
	want_declared(&w);
	want_denied_always();
	want_strict();
}

static void
test_I13_as_root_off(void **state)
{
	struct world w = {.mode = MODE_OFF};

	(void)state;
	need_root();
	assert_true(run(&w));
	want_declared(&w);
	want_denied_always();
	want_off();
	want_try("read_state", "refused EACCES"); /* its user may not, sandbox or none */
}

static void
test_I13_as_root_in_a_cgroup(void **state)
{
	struct world w = {.mode = MODE_STANDARD, .cgroup = 1};

	(void)state;
	need_root();
	if (!run(&w)) {
		print_message("no cgroups to be had here\n");
		skip();
	}
	want_declared(&w);
	want_denied_always();
	want_standard();
}

static void
test_I13_capabilities_that_the_settings_name(void **state)
{
	struct world w = {.mode = MODE_STANDARD, .capabilities = CAP_BIND};

	(void)state;
	need_root();
	assert_true(run(&w));
	want_declared(&w);
	want_standard();
}

static void
test_I13_as_ordinary_user_standard(void **state)
{
	struct world w = {.mode = MODE_STANDARD, .user = 1};

	(void)state;
	assert_true(run(&w));
	want_declared(&w);
	want_state_unchanged(&w);
	want_denied_always();
	want_standard();
}

/* A user's sshfs or NFS that is gone, or does not answer, is no reason for no agent, nor for no parent. */
static void
test_file_systems_without_a_server(void **state)
{
	struct world w = {.mode = MODE_STANDARD, .user = 1, .servers = 1};

	(void)state;
	if (getuid() != 0)
		skip();
	assert_true(run(&w));
	if (!w.servers)
		skip(); /* no FUSE */
	want("stage 0 Success");
	want("status exit 7");
	want_standard();
}

static void
test_I13_as_ordinary_user_strict(void **state)
{
	struct world w = {.mode = MODE_STRICT, .user = 1};

	(void)state;
	assert_true(run(&w));
	want_declared(&w);
	want_state_unchanged(&w);
	want_denied_always();
	want_strict();
}

static void
test_I13_as_ordinary_user_off(void **state)
{
	struct world w = {.mode = MODE_OFF, .user = 1};

	(void)state;
	assert_true(run(&w));
	want_declared(&w);
	want_try("ptrace", "killed 31");
	want_off();
}

static void
test_I13_a_script_has_no_descriptor_more(void **state)
{
	struct world w = {.mode = MODE_STANDARD, .user = getuid() != 0, .executable = "script"};

	(void)state;
	assert_true(run(&w));
	want("stage 0 Success");
	want("argument agent");
	/* 3 or so is the shell's for the pattern, 10 the script itself */
	assert_true(count("fd ") <= 6);
	assert_int_equal(count("fd 2"), 1);
	assert_int_equal(count("fd 3"), has("fd 3"));
	want("fd 4");
}

static void
test_failures_name_their_stage(void **state)
{
	struct world w = {.mode = MODE_STANDARD, .user = getuid() != 0, .executable = "outside"};
	char line[64];

	(void)state;
	assert_true(run(&w)); /* a directory cannot be executed */
	snprintf(line, sizeof(line), "stage %d Permission denied", STAGE_EXEC);
	want(line);
	want("status exit 125");
}

static void
test_I9_its_children_end_with_its_group(void **state)
{
	struct world w = {.mode = MODE_STANDARD, .cgroup = 1, .deed = "stay"};

	(void)state;
	need_root();
	if (!run(&w)) {
		print_message("no cgroups to be had here\n");
		skip();
	}
	want("gone 1");
	want("status signal 9");
}

static void
children_of(int user)
{
	struct world w = {.mode = MODE_STANDARD, .deed = "stay", .user = user};

	assert_true(run(&w));
	want("gone 1");
	want("status signal 9");
}

static void
test_I9_its_children_end_with_its_pid_namespace_as_root(void **state)
{
	(void)state;
	need_root();
	children_of(0);
}

static void
test_I9_its_children_end_with_its_pid_namespace_as_ordinary_user(void **state)
{
	(void)state;
	children_of(1);
}

/* (In a cgroup the agent's children end by procd's hand: tests/system/deaths.t.) */
static void
test_I9_it_ends_with_the_parent_as_root(void **state)
{
	struct world w = {.mode = MODE_STANDARD, .deed = "stay", .orphan = 1};

	(void)state;
	need_root();
	assert_true(run(&w));
}

static void
test_I9_it_ends_with_the_parent_as_ordinary_user(void **state)
{
	struct world w = {.mode = MODE_STANDARD, .deed = "stay", .orphan = 1, .user = 1};

	(void)state;
	assert_true(run(&w));
}

static void
test_a_limit_is_never_more_than_the_parents(void **state)
{
	struct world w = {.mode = MODE_STANDARD, .user = getuid() != 0, .files = 190};
	char line[64];

	(void)state;
	assert_true(run(&w));
	snprintf(line, sizeof(line), "limit %d 190 190", RLIMIT_NOFILE);
	want(line);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_I13_as_root_standard),
	    cmocka_unit_test(test_I13_as_root_strict),
	    cmocka_unit_test(test_I13_as_root_off),
	    cmocka_unit_test(test_I13_as_root_in_a_cgroup),
	    cmocka_unit_test(test_I13_capabilities_that_the_settings_name),
	    cmocka_unit_test(test_I13_as_ordinary_user_standard),
	    cmocka_unit_test(test_file_systems_without_a_server),
	    cmocka_unit_test(test_I13_as_ordinary_user_strict),
	    cmocka_unit_test(test_I13_as_ordinary_user_off),
	    cmocka_unit_test(test_I13_a_script_has_no_descriptor_more),
	    cmocka_unit_test(test_failures_name_their_stage),
	    cmocka_unit_test(test_I9_its_children_end_with_its_group),
	    cmocka_unit_test(test_I9_its_children_end_with_its_pid_namespace_as_root),
	    cmocka_unit_test(test_I9_its_children_end_with_its_pid_namespace_as_ordinary_user),
	    cmocka_unit_test(test_I9_it_ends_with_the_parent_as_root),
	    cmocka_unit_test(test_I9_it_ends_with_the_parent_as_ordinary_user),
	    cmocka_unit_test(test_a_limit_is_never_more_than_the_parents),
	};

	if (argc > 4 && strcmp(argv[1], "agent") == 0)
		agent_main(argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
