/*
 * fake_store.h: confd/store.h in memory, for tests of the apply transaction: what a crash would leave is
 * what is in here, and every write can be made to fail.  Included once, by a test's only file.
 */
#ifndef TESTS_UNIT_FAKE_STORE_H
#define TESTS_UNIT_FAKE_STORE_H

#include <stdlib.h>
#include <string.h>

#include "confd/store.h"

#define FAKE_GENERATIONS 64

struct fake_generation {
	struct store_meta meta;
	char *remote, *effective;
	size_t remote_len, effective_len;
};

struct store {
	struct store_state state;
	struct fake_generation generations[FAKE_GENERATIONS];
	size_t count;
	uint64_t running, ready;
	uint8_t uid[16];
	int have_uid, gate, candidate;
	char candidate_text[64];
	char *description;
	size_t description_len;
	/* faults */
	/* fail_switch: 1 what was not made ready, 2 everything */
	int fail_state, fail_make, fail_switch, fail_ready, fail_candidate, fail_identity;
	unsigned writes;
};

static struct fake_generation *
fake_find(struct store *s, uint64_t number)
{
	size_t i;

	for (i = 0; i < s->count; i++)
		if (s->generations[i].meta.generation == number)
			return &s->generations[i];
	return NULL;
}

static char *
fake_copy(const void *data, size_t len)
{
	char *copy = malloc(len + 1);

	if (copy == NULL)
		abort();
	if (len > 0)
		memcpy(copy, data, len);
	copy[len] = '\0';
	return copy;
}

static void
fake_forget(struct store *s, size_t i)
{
	free(s->generations[i].remote);
	free(s->generations[i].effective);
	memmove(&s->generations[i], &s->generations[i + 1],
	    (s->count - i - 1) * sizeof(s->generations[0]));
	s->count--;
}

static void
fake_store_clear(struct store *s)
{
	while (s->count > 0)
		fake_forget(s, s->count - 1);
	free(s->description);
	s->description = NULL;
}

int
store_identity(struct store *s, uint8_t uid[16], struct error *err)
{
	(void)err;
	memcpy(uid, s->uid, 16);
	return s->have_uid;
}

int
store_identity_set(struct store *s, const uint8_t uid[16], struct error *err)
{
	if (s->fail_identity)
		return error_set(err, "identity: No space left on device");
	memcpy(s->uid, uid, 16);
	s->have_uid = 1;
	return 0;
}

const struct store_state *
store_state(const struct store *s)
{
	return &s->state;
}

int
store_state_set(struct store *s, const struct store_state *next, struct error *err)
{
	if (s->fail_state)
		return error_set(err, "state: No space left on device");
	if (next->next < s->state.next || next->next <= next->committed ||
	    next->next <= next->trial)
		abort(); /* a number would be used twice */
	s->state = *next;
	s->writes++;
	return 0;
}

int
store_generation_make(struct store *s, const struct store_meta *meta, const void *remote,
    size_t remote_len, const void *effective, size_t effective_len, struct error *err)
{
	struct fake_generation *g;

	if (fake_find(s, meta->generation) != NULL)
		abort(); /* a number was used twice */
	if (s->fail_make == 1)
		return error_set(err, "generations: No space left on device");
	if (s->count == FAKE_GENERATIONS)
		fake_forget(s, 0);
	g = &s->generations[s->count++];
	memset(g, 0, sizeof(*g));
	g->meta = *meta;
	if (remote != NULL) {
		g->remote = fake_copy(remote, remote_len);
		g->remote_len = remote_len;
	}
	g->effective = fake_copy(effective, effective_len);
	g->effective_len = effective_len;
	if (s->fail_make == 2) /* its name is there, and can be neither made durable nor removed */
		return error_set(err, "generations: Read-only file system");
	return 0;
}

int
store_generation_outcome(struct store *s, uint64_t generation, enum store_outcome outcome,
    const char *message, struct error *err)
{
	struct fake_generation *g = fake_find(s, generation);

	if (g == NULL)
		return error_set(err, "no such generation");
	g->meta.outcome = outcome;
	(void)snprintf(g->meta.message, sizeof(g->meta.message), "%s", message);
	return 0;
}

int
store_generation_meta(
    struct store *s, uint64_t generation, struct store_meta *meta, struct error *err)
{
	struct fake_generation *g = fake_find(s, generation);

	if (g == NULL)
		return error_set(err, "no such generation");
	*meta = g->meta;
	return 0;
}

int
store_generation_remote(
    struct store *s, uint64_t generation, char **data, size_t *len, struct error *err)
{
	struct fake_generation *g = fake_find(s, generation);

	*data = NULL;
	*len = 0;
	if (g == NULL)
		return error_set(err, "no such generation");
	if (g->remote != NULL) {
		*data = fake_copy(g->remote, g->remote_len);
		*len = g->remote_len;
	}
	return 0;
}

int
store_generation_effective(
    struct store *s, uint64_t generation, char **data, size_t *len, struct error *err)
{
	struct fake_generation *g = fake_find(s, generation);

	*data = NULL;
	*len = 0;
	if (g == NULL)
		return error_set(err, "no such generation");
	*data = fake_copy(g->effective, g->effective_len);
	*len = g->effective_len;
	return 0;
}

int
store_generations(struct store *s, uint64_t **numbers, size_t *count, struct error *err)
{
	size_t i;

	(void)err;
	*numbers = calloc(s->count + 1, sizeof(**numbers));
	if (*numbers == NULL)
		abort();
	for (i = 0; i < s->count; i++)
		(*numbers)[i] = s->generations[i].meta.generation;
	*count = s->count;
	return 0;
}

void
store_prune(struct store *s, uint64_t keep, uint64_t spare)
{
	size_t i = 0;

	while (s->count > keep && i < s->count) {
		uint64_t n = s->generations[i].meta.generation;

		if (n == s->state.committed || n == s->state.trial || n == spare)
			i++;
		else
			fake_forget(s, i);
	}
}

int
store_candidate(struct store *s, const void *data, size_t len, struct error *err)
{
	(void)snprintf(
	    s->candidate_text, sizeof(s->candidate_text), "%.*s", (int)len, (const char *)data);
	if (s->fail_candidate)
		return error_set(err, "candidate: No space left on device");
	s->candidate = 1;
	return 0;
}

void
store_candidate_remove(struct store *s)
{
	s->candidate = 0;
}

int
store_switch(struct store *s, uint64_t generation, struct error *err)
{
	if (fake_find(s, generation) == NULL)
		return error_set(err, "no such generation");
	if (s->fail_switch == 2 || (s->fail_switch && s->ready != generation))
		return error_set(err, "agent: No space left on device");
	s->running = generation;
	return 0;
}

int
store_keep_ready(struct store *s, uint64_t generation, struct error *err)
{
	if (s->fail_ready)
		return error_set(err, "agent: No space left on device");
	s->ready = generation;
	return 0;
}

uint64_t
store_running(struct store *s)
{
	return s->running;
}

void
store_cache(struct store *s, struct store_cache *c)
{
	*c = (struct store_cache){.gate = s->gate};
	if (s->description != NULL) {
		c->description = fake_copy(s->description, s->description_len);
		c->description_len = s->description_len;
	}
}

int
store_cache_set(struct store *s, const struct store_cache *c, struct error *err)
{
	(void)err;
	s->gate = c->gate;
	free(s->description);
	s->description =
	    c->description == NULL ? NULL : fake_copy(c->description, c->description_len);
	s->description_len = c->description_len;
	return 0;
}

void
store_cache_free(struct store_cache *c)
{
	free(c->description);
	c->description = NULL;
}

#endif
