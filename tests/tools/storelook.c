/*
 * storelook.c: opens state directories as confd does at its start, and tells what it finds.  Tests only.
 *
 *	storelook NAME < list of directories, a line each
 *
 * NAME is agent.config_name.  For each directory one line of KEY=VALUE; the last is told=TEXT, which is what
 * confd would log of it, or why it cannot be opened (committed is missing then).
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "confd/store.h"

static void
print_hex(const char *key, const void *data, size_t len)
{
	const unsigned char *p = data;
	size_t i;

	printf("%s=", key);
	for (i = 0; i < len; i++)
		printf("%02x", p[i]);
	printf(" ");
}

static int
is_whole(struct store *s, uint64_t generation)
{
	char *data;
	size_t len;

	if (store_generation_effective(s, generation, &data, &len, NULL) == -1)
		return 0;
	free(data);
	return 1;
}

static void
look(struct store *s)
{
	const struct store_state *st = store_state(s);
	struct error error;
	uint64_t *list;
	uint8_t uid[16];
	size_t count, i;
	int known = store_identity(s, uid, &error);

	printf("committed=%llu trial=%llu phase=%u next=%llu status=%u running=%llu ",
	    (unsigned long long)st->committed, (unsigned long long)st->trial, st->phase,
	    (unsigned long long)st->next, st->status, (unsigned long long)store_running(s));
	print_hex("hash", st->hash, st->hash_len);
	if (known == 1)
		print_hex("uid", uid, sizeof(uid));
	else
		printf("uid=%s ", known == 0 ? "none" : "damaged");
	if (store_generations(s, &list, &count, NULL) == 0) {
		printf("whole=");
		for (i = 0; i < count; i++)
			if (is_whole(s, list[i]))
				printf("%llu,", (unsigned long long)list[i]);
		printf(" broken=");
		for (i = 0; i < count; i++)
			if (!is_whole(s, list[i]))
				printf("%llu,", (unsigned long long)list[i]);
		printf(" ");
		free(list);
	}
}

int
main(int argc, char **argv)
{
	static struct msg_environment env;
	struct error error;
	struct store *s;
	char line[4096], told[1024];
	int dir;

	if (argc != 2)
		errx(2, "usage: storelook NAME < directories");
	(void)umask(077);
	env.agent_gid = getegid();
	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		dir = open(line, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir == -1)
			err(2, "%s", line);
		s = store_open(dir, argv[1], &env, told, &error);
		if (s != NULL)
			look(s);
		printf("told=%s\n", s != NULL ? told : error.text);
		(void)fflush(stdout);
		store_close(s);
	}
	return 0;
}
