/*
 * between.c: stands in for a program of opampd's (DIR/NAME) and executes the true one (DIR/NAME.true), after it has
 * done what a test wants to happen in that moment.  Tests only (tests/system/upgrade.t).
 *
 *	DIR/wait                it waits until that is gone
 *	DIR/opampd.yaml.then    become the settings, unless it is only asked (-n)
 *	DIR/NAME.then           takes the place of the true one when that is executed, likewise
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char self[PATH_MAX];

static const char *
beside(const char *name)
{
	static char path[4][PATH_MAX + 64];
	static unsigned turn;
	char *to = path[turn++ % 4];

	(void)snprintf(
	    to, sizeof(path[0]), "%.*s/%s", (int)(strrchr(self, '/') - self), self, name);
	return to;
}

static const char *
with(const char *ending)
{
	char name[NAME_MAX + 1];

	(void)snprintf(name, sizeof(name), "%.200s.%.20s", strrchr(self, '/') + 1, ending);
	return beside(name);
}

int
main(int argc, char **argv)
{
	static const struct timespec moment = {.tv_nsec = 2000000};
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int i, asked = 0, program;

	if (n <= 0)
		return 99;
	for (i = 1; i < argc; i++)
		asked |= strcmp(argv[i], "-n") == 0;
	while (access(beside("wait"), F_OK) == 0)
		(void)nanosleep(&moment, NULL);
	if (!asked && access(beside("opampd.yaml.then"), F_OK) == 0 &&
	    rename(beside("opampd.yaml.then"), beside("opampd.yaml")) == -1)
		return 99;
	if (asked || access(with("then"), F_OK) == -1) {
		(void)execv(with("true"), argv);
		return 99;
	}
	/* by its own name; which is another file's when it looks */
	if (rename(with("true"), self) == -1)
		return 99;
	program = open(self, O_RDONLY | O_CLOEXEC);
	if (program == -1 || rename(with("then"), self) == -1)
		return 99;
	(void)fexecve(program, argv, environ);
	return 99;
}
