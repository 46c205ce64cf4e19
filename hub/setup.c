/*
 * setup.c: what the hub's parent hands to the two processes it starts (see setup.h).
 */
#include "setup.h"

#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#include <jansson.h>

#include "privsep/child.h"
#include "privsep/limits.h"
#include "privsep/log.h"
#include "privsep/memfd.h"

#define LARGE_BLOCK (128 * 1024)

/* jansson's tables of names want chance, for which it would open a file when the first is made. */
static void
seed_json(void)
{
	size_t seed = 0;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		fatal("no random numbers can be had");
	json_object_seed(seed | 1);
}

void
setup_begin(struct setup *s, const char *name)
{
	struct error err;
	size_t len;

	log_init(name, LOG_SINK_STDERR, LOG_LEVEL_INFO);
	(void)signal(SIGPIPE, SIG_IGN);
	/* what a large message needed goes back to the system, whatever was small beside it */
	(void)mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
	(void)mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK);
	seed_json();
	child_prepare_libc();
	if (memfd_read(SETUP_FD_RECORD, LIMIT_SETTINGS_RECORD, &s->data, &len, &err) == -1 ||
	    record_open(&s->record, s->data, len, &err) == -1)
		fatal("what opamphub hands over: %s", err.text);
	close(SETUP_FD_RECORD);
	log_set_level((enum log_level)record_u64(&s->record, SETUP_LOG_LEVEL, LOG_LEVEL_INFO));
}

void
setup_ready(void)
{
	if (write(SETUP_FD_ALIVE, "r", 1) != 1)
		fatal("telling opamphub that we are ready failed");
}

int
setup_has_tokens(const struct setup *s)
{
	struct record_entry e;

	return record_find(&s->record, SETUP_TOKEN, &e);
}

/* Both in full, whatever differs first. */
static int
same(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned char differs = a_len != b_len;
	size_t i;

	for (i = 0; i < a_len && b_len > 0; i++)
		differs |= (unsigned char)(a[i] ^ b[i % b_len]);
	return !differs;
}

int
setup_token(const struct setup *s, const char *shown, const char **name, size_t *name_len)
{
	struct record_entry e;
	const char *space;
	size_t pos = 0, n;
	int found = -1;

	while (record_next(&s->record, &pos, SETUP_TOKEN, &e)) {
		space = memchr(e.value, ' ', e.len);
		n = space == NULL ? e.len : (size_t)(space - e.value);
		if (n + 1 >= e.len || shown == NULL ||
		    !same(e.value + n + 1, e.len - n - 1, shown, strlen(shown)))
			continue;
		*name = e.value;
		*name_len = n;
		found = 0;
	}
	return found;
}

const char *
setup_bearer(const char *authorization)
{
	if (authorization == NULL || strncasecmp(authorization, "Bearer ", 7) != 0)
		return NULL;
	for (authorization += 7; *authorization == ' ';)
		authorization++;
	return authorization;
}
