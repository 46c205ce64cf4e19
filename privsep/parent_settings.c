/*
 * parent_settings.c: has the settings read by a one-shot merge, and takes over its sections.
 * The parent itself never sees the file's text: merge's record for it is checked entry by entry.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memfd.h"
#include "parent.h"
#include "trusted_open.h"

#define ERROR_TEXT_MAX (128 * KIB)

static int
give(struct parent *p, int fd, uint32_t kind)
{
	struct msg_file m = {kind, 0};

	if (fd == -1)
		return -1;
	slot_send(&p->reader, MSG_CHILD_FILE, &m, fd);
	return 0;
}

/* What ${env:X} in the settings may see, and two names of our own. */
static int
environment_file(struct parent *p)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	char **e;
	int fd;

	if (f == NULL)
		return -1;
	fprintf(f, "OPAMPD_SETTINGS_NAME=%s%cPWD=%s%c", p->settings_name, 0, p->cwd, 0);
	for (e = p->environment; e != NULL && *e != NULL; e++)
		fprintf(f, "%s%c", *e, 0);
	fputc(0, f);
	if (fclose(f) != 0)
		return -1;
	fd = memfd_seal("environment", text, len, NULL);
	explicit_bzero(text, len);
	free(text);
	return fd;
}

int
parent_settings_file(const struct parent *p, struct error *err)
{
	char *path = NULL;
	int fd;

	if (p->settings_name[0] == '/')
		path = strdup(p->settings_name);
	else if (asprintf(&path, "%s/%s", p->cwd, p->settings_name) == -1)
		path = NULL;
	if (path == NULL)
		return error_set(err, "no memory");
	fd = trusted_open(path, TRUSTED_FILE, p->unprivileged ? getuid() : 0, err);
	if (fd == -1) {
		struct error why = *err;

		error_set(err, "the settings: %s%s", why.text,
		    access(path, F_OK) == -1 && errno == ENOENT
			? ": there is no such file yet: write it after the example "
			  "opampd.yaml.example (opampd.yaml(5) says what may stand in it), or "
			  "name another one by -f"
			: "");
	}
	free(path);
	return fd;
}

static void
drop_sections(int *sections)
{
	size_t i;

	for (i = 0; i < PROC_COUNT; i++) {
		if (sections[i] >= 0)
			close(sections[i]);
		sections[i] = -1;
	}
}

/* Starts merge on the settings; parent_job_ended sees its end. */
int
parent_settings_begin(struct parent *p)
{
	struct error err;
	int settings;

	drop_sections(p->new_sections);
	p->read_status = -1;
	settings = parent_settings_file(p, &err);
	if (settings == -1 || parent_identity(settings, p->new_settings_id) == -1) {
		log_error("%s", settings == -1 ? err.text : "the settings cannot be looked at");
		if (settings >= 0)
			close(settings);
		return -1;
	}
	if (slot_start(&p->reader, MERGE_SETTINGS, 0) == -1) {
		close(settings);
		return -1;
	}
	p->reading = 1;
	if (give(p, settings, FILE_SETTINGS) == -1 ||
	    give(p, open("/etc/passwd", O_RDONLY | O_CLOEXEC), FILE_PASSWD) == -1 ||
	    give(p, open("/etc/group", O_RDONLY | O_CLOEXEC), FILE_GROUP) == -1 ||
	    give(p, environment_file(p), FILE_ENVIRONMENT) == -1)
		log_error("handing the settings over: %s", strerror(errno));
	slot_send(&p->reader, MSG_CHILD_GO, NULL, -1);
	return 0;
}

/* After the end of merge: is there a section for everybody? */
int
parent_settings_result(struct parent *p)
{
	uint32_t i;

	for (i = PROC_PARENT; p->read_status == 0 && i < PROC_COUNT; i++)
		if (p->new_sections[i] == -1) {
			log_error("the settings reader gave no section for %s", proc_name(i));
			p->read_status = -1;
		}
	return p->read_status;
}

int
parent_read_settings(struct parent *p)
{
	if (parent_settings_begin(p) == -1)
		return -1;
	while (p->reading)
		if (event_base_loop(p->base, EVLOOP_ONCE) == -1)
			return -1;
	return parent_settings_result(p);
}

/* Ends with a NUL. */
static void
print_lines(enum log_level level, char *text)
{
	char *line, *rest;

	for (rest = text; (line = strsep(&rest, "\n")) != NULL;)
		if (*line != '\0')
			log_at(level, "%s", line);
}

static void
print_problems(int fd)
{
	char *text;
	size_t len;

	if (memfd_read(fd, ERROR_TEXT_MAX, &text, &len, NULL) == -1)
		return;
	print_lines(LOG_LEVEL_ERROR, text);
	free(text);
}

static void
print_warnings(int fd)
{
	struct record_entry e;
	struct record r;
	char *data, *text;
	size_t len;

	if (memfd_read(fd, ERROR_TEXT_MAX, &data, &len, NULL) == -1)
		return;
	if (record_open(&r, data, len, NULL) == 0 && record_find(&r, 2, &e) &&
	    (text = strndup(e.value, e.len)) != NULL) {
		print_lines(LOG_LEVEL_WARN, text);
		free(text);
	}
	free(data);
}

void
parent_settings_message(struct slot *s, struct message *m)
{
	struct parent *p = s->parent;
	const struct msg_section *section = m->payload;
	const struct msg_merge *answer = m->payload;

	if (s != &p->reader)
		return;
	if (m->type == MSG_MERGE_SECTION) {
		if (section->proc < PROC_PARENT || section->proc >= PROC_COUNT)
			return;
		if (p->new_sections[section->proc] >= 0)
			close(p->new_sections[section->proc]);
		p->new_sections[section->proc] = message_take_fd(m);
		return;
	}
	s->answered = 1;
	p->read_status = answer->status == MERGE_DONE_OK ? 0 : -1;
	if (p->read_status == 0)
		print_warnings(m->fd);
	else
		print_problems(m->fd);
}

/* For confd: at its start, and when the settings were read again and it goes on with those it has. */
void
parent_environment(struct parent *p)
{
	struct msg_environment m = {.agent_gid = p->command.gid,
	    .admin_gid = UINT32_MAX,
	    .reader_gid = UINT32_MAX,
	    .owner_uid = getuid(),
	    .link_port = p->link_port,
	    .weak = p->unprivileged && p->landlock_abi == 0,
	    .reloaded = (uint32_t)p->reloaded,
	    .lives = p->agents[0].start != 0,
	    .binary_dev = p->command.binary[0],
	    .binary_ino = p->command.binary[1],
	    .binary_size = p->command.binary[2],
	    .binary_mtime = p->command.binary[3],
	    .binary_ctime = p->command.binary[4]};
	struct record_entry e;

	if (record_find(&p->settings.record, SET_GID_READER, &e))
		memcpy(&m.reader_gid, e.value, 4);
	if (record_find(&p->settings.record, SET_GID_ADMIN, &e))
		memcpy(&m.admin_gid, e.value, 4);
	slot_send(&p->daemons[PROC_CONFD], MSG_CONFD_ENVIRONMENT, &m, -1);
	p->reloaded = 0;
}
