/*
 * trusted_open_test.c: what the settings name is opened only where nobody else could have put it: every
 * component of the path is looked at, and links are followed only where they stand in such a directory.
 */
#include "test.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "privsep/sandbox.h"
#include "privsep/trusted_open.h"

#define OTHER 65534

static char top[64];

static const char *
at(const char *name)
{
	static char paths[4][PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % 4];

	(void)snprintf(path, PATH_MAX, "%s%s%s", top, *name == '\0' ? "" : "/", name);
	return path;
}

static void
make(const char *name, mode_t mode)
{
	int fd = open(at(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void
make_dir(const char *name, mode_t mode)
{
	assert_int_equal(mkdir(at(name), 0700), 0);
	assert_int_equal(chmod(at(name), mode), 0);
}

static int
set_up(void **state)
{
	(void)state;
	/* above it everything must be root's, or for an ordinary user sticky */
	(void)snprintf(
	    top, sizeof(top), "%s/opampd-trusted-XXXXXX", geteuid() == 0 ? "/opt" : "/tmp");
	if (mkdtemp(top) == NULL || chmod(top, 0755) == -1)
		return -1;
	make_dir("good", 0755);
	make("good/file", 0644);
	return 0;
}

static int
tear_down(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", top);
	return system(command);
}

static void
opened(const char *path, enum trusted_kind kind)
{
	struct error err = {.text = ""};
	int fd = trusted_open(path, kind, geteuid(), &err);

	if (fd == -1)
		fail_msg("%s: %s", path, err.text);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

static void
refused(const char *path, enum trusted_kind kind, const char *words)
{
	struct error err = {.text = ""};
	int fd = trusted_open(path, kind, geteuid(), &err);

	if (fd != -1)
		fail_msg("%s was opened", path);
	if (strstr(err.text, words) == NULL)
		fail_msg("%s: %s (wanted: %s)", path, err.text, words);
}

static void
test_I4_what_is_ours_alone_is_opened(void **state)
{
	(void)state;
	opened(at("good/file"), TRUSTED_FILE);
	opened(at("good"), TRUSTED_DIRECTORY);
	opened(at("good//./file"), TRUSTED_FILE);
	refused(at("good"), TRUSTED_FILE, "not a regular file");
	refused(at("good/file"), TRUSTED_DIRECTORY, "not a directory");
	refused(at("good/file/more"), TRUSTED_FILE, "is not a directory");
	refused(at("good/none"), TRUSTED_FILE, "No such file");
	refused("good/file", TRUSTED_FILE, "not an absolute path");
	assert_int_equal(mkfifo(at("good/fifo"), 0644), 0);
	refused(at("good/fifo"), TRUSTED_FILE, "not a regular file");
}

static void
test_I4_what_others_may_write_is_refused(void **state)
{
	static const mode_t modes[] = {0777, 0775, 0757};
	size_t i;

	(void)state;
	make_dir("loose", 0755);
	make_dir("loose/below", 0755);
	make("loose/below/file", 0644);
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(at("loose"), modes[i]), 0);
		refused(at("loose/below/file"), TRUSTED_FILE,
		    "loose can be written by others: chmod go-w");
	}
	assert_int_equal(chmod(at("loose"), 0755), 0);
	assert_int_equal(chmod(at("loose/below/file"), 0664), 0);
	refused(at("loose/below/file"), TRUSTED_FILE, "file can be written by others");
	/* sticky: whoever else is there cannot rename it, but root does not rely on that */
	assert_int_equal(chmod(at("loose/below/file"), 0644), 0);
	assert_int_equal(chmod(at("loose"), 01777), 0);
	if (geteuid() == 0)
		refused(at("loose/below/file"), TRUSTED_FILE, "or keep the file elsewhere");
	else
		opened(at("loose/below/file"), TRUSTED_FILE);
}

static void
test_I4_what_another_owns_is_refused(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	make_dir("theirs", 0755);
	make("theirs/file", 0644);
	assert_int_equal(chown(at("theirs/file"), OTHER, OTHER), 0);
	refused(at("theirs/file"), TRUSTED_FILE, "file belongs to user 65534");
	assert_int_equal(chown(at("theirs/file"), 0, 0), 0);
	assert_int_equal(chown(at("theirs"), OTHER, OTHER), 0);
	refused(at("theirs/file"), TRUSTED_FILE, "theirs belongs to user 65534");
	/* a link of another's, in a directory that is ours */
	assert_int_equal(symlink("good/file", at("planted")), 0);
	assert_int_equal(lchown(at("planted"), OTHER, OTHER), 0);
	refused(at("planted"), TRUSTED_FILE, "planted belongs to user 65534");
}

static void
test_I4_links_lead_only_where_paths_may(void **state)
{
	char target[PATH_MAX];

	(void)state;
	assert_int_equal(symlink("good/file", at("relative")), 0);
	opened(at("relative"), TRUSTED_FILE);
	assert_int_equal(symlink(at("good"), at("absolute")), 0);
	opened(at("absolute/file"), TRUSTED_FILE);
	make_dir("open", 0755);
	make("open/file", 0644);
	assert_int_equal(chmod(at("open"), 0777), 0);
	assert_int_equal(symlink("../open", at("good/out")), 0);
	refused(at("good/out/file"), TRUSTED_FILE, "open can be written by others");
	(void)snprintf(target, sizeof(target), "%s", at("loop"));
	assert_int_equal(symlink(target, at("loop")), 0);
	refused(at("loop"), TRUSTED_FILE, "too many symbolic links");
}

static void
test_I4_directories_that_are_made_or_found(void **state)
{
	struct error err = {.text = ""};
	uid_t me = geteuid();
	gid_t group = getegid();
	struct stat st;
	int fd;

	(void)state;
	fd = trusted_directory(at("good/made"), me, me, group, 0750, 0, &err);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	close(fd);
	/* a link in its place is not followed */
	assert_int_equal(symlink("made", at("good/link")), 0);
	assert_int_equal(trusted_directory(at("good/link"), me, me, group, 0750, 0, &err), -1);
	/* what others may write is an error, or put right where its owner is not to be trusted with it */
	assert_int_equal(chmod(at("good/made"), 0777), 0);
	assert_int_equal(trusted_directory(at("good/made"), me, me, group, 0750, 0, &err), -1);
	assert_non_null(strstr(err.text, "writable by nobody else"));
	fd = trusted_directory(at("good/made"), me, me, group, 0750, 1, &err);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(stat(at("good/made"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	/* the directory above has to be trusted too */
	make_dir("wide", 0777);
	assert_int_equal(trusted_directory(at("wide/made"), me, me, group, 0750, 1, &err), -1);
	assert_int_equal(access(at("wide/made"), F_OK), -1);
}

/* In a child: what its exit code says went wrong first; 0: nothing. */
static int
without_capabilities(void)
{
	static const uint64_t kept = 1ull << CAP_SETUID | 1ull << CAP_SETGID;
	gid_t group = getegid();
	int death = 0;
	struct error err;
	struct stat st;
	int fd;

	if (sandbox_capabilities(kept, &err) == -1)
		return 1;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 || prctl(PR_SET_DUMPABLE, 1) == -1)
		return 1;
	if (open(at("good/theirs"), O_RDONLY | O_DIRECTORY | O_CLOEXEC) != -1)
		return 2; /* then this shows nothing */
	fd = trusted_directory(at("good/theirs"), 0, OTHER, group, 0711, 1, &err);
	if (fd == -1 || fstat(fd, &st) == -1 || st.st_uid != OTHER)
		return 3;
	/* who can enter it is root again */
	if (getegid() != 0 || setfsuid((uid_t)-1) != 0)
		return 4;
	/* I12: nor did the kernel take it for another user's process */
	if (prctl(PR_GET_PDEATHSIG, &death) == -1 || death != SIGKILL ||
	    prctl(PR_GET_DUMPABLE) != 1)
		return 10;
	/* one that its owner locked, and one that it opened to all, are put right */
	fd = trusted_directory(at("good/locked"), 0, OTHER, group, 0711, 1, &err);
	if (fd == -1 || fstat(fd, &st) == -1 || (st.st_mode & 07777) != 0711)
		return 5;
	fd = trusted_directory(at("good/wide"), 0, OTHER, group, 0750, 1, &err);
	if (fd == -1 || fstat(fd, &st) == -1 || (st.st_mode & 07777) != 0750)
		return 6;
	if (trusted_directory_look(at("good/theirs"), 0, OTHER, 1, &err) == -1)
		return 7;
	/* one that it may not make for another is not left behind, as root's */
	if (trusted_directory(at("good/missing"), 0, OTHER, group, 0711, 1, &err) != -1 ||
	    access(at("good/missing"), F_OK) == 0)
		return 8;
	/* as another user it is no way into what is not that user's */
	return trusted_directory(at("good/strange"), 0, OTHER, group, 0711, 1, &err) == -1 ? 0 : 9;
}

static void
test_I5_root_needs_no_capability_for_others_directories(void **state)
{
	static const struct {
		const char *name;
		mode_t mode;
		uid_t owner;
	} dirs[] = {{"good/theirs", 0711, OTHER}, {"good/locked", 0, OTHER},
	    {"good/wide", 0777, OTHER}, {"good/strange", 0700, OTHER - 1}};
	int status;
	size_t i;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		make_dir(dirs[i].name, dirs[i].mode);
		assert_int_equal(chown(at(dirs[i].name), dirs[i].owner, (gid_t)-1), 0);
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(without_capabilities());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_I4_what_is_ours_alone_is_opened, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_I4_what_others_may_write_is_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_I4_what_another_owns_is_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_I4_links_lead_only_where_paths_may, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_I4_directories_that_are_made_or_found, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_I5_root_needs_no_capability_for_others_directories, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
