/*
 * fuzz_settings.c: any text as opampd.yaml.  What is accepted must open as a section for every
 * process; what is refused must say why.  As root reads them, who looks up users, and as others do.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "confd/settings_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char passwd[] =
    "root:x:0:0:root:/root:/bin/sh\n"
    "_opampd_net:x:901:901::/:/bin/false\n_opampd_dns:x:902:902::/:/\n"
    "_opampd_link:x:903:903::/:/\n_opampd_conf:x:904:904::/:/\n"
    "_opampd_merge:x:905:905::/:/\n_opampd_proc:x:906:906::/:/\n"
    "_opampd_agent:x:907:907::/:/\nother:x:1000:1000::/home/other:/bin/sh\n"
    "bad:x:y:z\nshort\nzero:x:0:0::/:\n";
static const char group[] = "root:x:0:\nadm:x:4:other\nopampd:x:910:\nopampd-admin:x:911:\n"
			    "many:x:99999999999:\n";

/* As root, each process has a user of its own. */
static void
check_users(const struct settings *s)
{
	static const enum setting keys[] = {SET_UID_NETD, SET_UID_LINK, SET_UID_CONFD,
	    SET_UID_PROCD, SET_UID_CONNECT, SET_UID_MERGE, SET_UID_AGENT};
	const size_t count = sizeof(keys) / sizeof(keys[0]);
	uint32_t ids[sizeof(keys) / sizeof(keys[0])][2];
	struct record_entry e;
	size_t i, k;

	for (i = 0; i < count; i++) {
		if (!record_find(&s->record, (uint16_t)keys[i], &e) || e.len != sizeof(ids[i]))
			abort();
		memcpy(ids[i], e.value, sizeof(ids[i]));
		if (ids[i][0] == 0 || ids[i][1] == 0)
			abort();
		for (k = 0; k < i; k++)
			if (ids[k][0] == ids[i][0])
				abort();
	}
}

static void
read_them(const uint8_t *data, size_t size, int as_root)
{
	struct settings_reader *r = calloc(1, sizeof(*r));
	struct settings s;
	uint32_t i;
	int fd;

	if (r == NULL)
		return;
	r->file = "opampd.yaml";
	r->environment = "NAME=value\0OTHER=1\0EMPTY=\0";
	r->cwd = "/tmp";
	r->users.wanted = as_root;
	r->users.passwd = passwd;
	r->users.group = group;
	if (settings_read(r, (const char *)data, size) == -1) {
		if (r->problem_count == 0 || r->problems[0].text[0] == '\0')
			abort();
	} else {
		for (i = PROC_PARENT; i < PROC_COUNT; i++) {
			fd = record_finish_memfd(&r->sections[i], "settings", NULL);
			if (fd == -1 || settings_open(&s, fd, (enum proc)i, NULL) == -1)
				abort();
			if (as_root && i == PROC_PARENT)
				check_users(&s);
			settings_free(&s);
			close(fd);
		}
	}
	settings_reader_free(r);
	free(r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size <= 65536) {
		read_them(data, size, 0);
		read_them(data, size, 1);
	}
	return 0;
}
