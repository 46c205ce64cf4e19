/*
 * link_health_test.c: one verdict from the Collector's tree of health, and the link's secrets.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netd/link_health.h"
#include "netd/link_secret.h"
#include "privsep/limits.h"
#include "privsep/log.h"
#include "privsep/memfd.h"

typedef Opamp__Proto__V1__ComponentHealth Health;
typedef Opamp__Proto__V1__ComponentHealth__ComponentHealthMapEntry Entry;

static char *
copy(const char *s)
{
	char *c = strdup(s);

	assert_non_null(c);
	return c;
}

static Health *
node(const char *status, const char *error, uint64_t time)
{
	Health *h = malloc(sizeof(*h));

	assert_non_null(h);
	opamp__proto__v1__component_health__init(h);
	h->status = copy(status);
	h->last_error = copy(error);
	h->healthy = strcmp(status, "StatusOK") == 0;
	h->status_time_unix_nano = time;
	return h;
}

static Health *
under(Health *parent, const char *key, Health *child)
{
	Entry *e = malloc(sizeof(*e));
	size_t n = parent->n_component_health_map;

	assert_non_null(e);
	opamp__proto__v1__component_health__component_health_map_entry__init(e);
	e->key = copy(key);
	e->value = child;
	parent->component_health_map =
	    realloc(parent->component_health_map, (n + 1) * sizeof(Entry *));
	assert_non_null(parent->component_health_map);
	parent->component_health_map[n] = e;
	parent->n_component_health_map = n + 1;
	return child;
}

static int
take(struct link_health *h, Health *tree, const struct link_baseline *b)
{
	int changed = link_health_take(h, tree, b, NULL);

	opamp__proto__v1__component_health__free_unpacked(tree, NULL);
	return changed;
}

/* A pipeline with one receiver and one exporter. */
static Health *
pipeline(const char *root, const char *receiver, const char *exporter, const char *error, int turn)
{
	Health *tree = node(root, "", 1 + (uint64_t)turn),
	       *p = under(tree, "pipeline:traces", node(root, "", 2));

	if (turn)
		under(p, "receiver:otlp", node(receiver, "", 3));
	under(p, "exporter:otlp", node(exporter, error, 4));
	if (!turn)
		under(p, "receiver:otlp", node(receiver, "", 5));
	return tree;
}

static void
test_HL03_worst_of_the_components(void **state)
{
	static const struct {
		const char *status;
		uint32_t worst;
	} cases[] = {{"StatusOK", WORST_OK}, {"StatusStarting", WORST_STARTING},
	    {"StatusRecoverableError", WORST_RECOVERABLE_OLD},
	    {"StatusPermanentError", WORST_PERMANENT}, {"StatusFatalError", WORST_FATAL},
	    {"StatusStopping", WORST_STOPPED}, {"StatusStopped", WORST_STOPPED},
	    {"StatusOfTheFuture", WORST_STARTING}, {"", WORST_STARTING}};
	struct link_baseline none = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct link_health h = {0};

		assert_int_equal(
		    take(&h, pipeline("StatusOK", "StatusOK", cases[i].status, "", 0), &none), 1);
		assert_int_equal(h.worst, cases[i].worst);
		assert_int_equal(h.count, 3);
		assert_int_equal(h.healthy, 1);
		link_health_clear(&h);
	}
}

static void
test_HL04_status_time_and_map_order_are_no_change(void **state)
{
	struct link_health h = {0};
	struct link_baseline none = {0};

	(void)state;
	assert_int_equal(take(&h, pipeline("StatusOK", "StatusOK", "StatusOK", "", 0), &none), 1);
	assert_int_equal(take(&h, pipeline("StatusOK", "StatusOK", "StatusOK", "", 1), &none), 0);
	assert_int_equal(h.status_time_ns, 2);
	assert_int_equal(
	    take(&h, pipeline("StatusOK", "StatusOK", "StatusOK", "word", 1), &none), 1);
	link_health_clear(&h);
}

static void
test_a_fault_counts_only_where_all_was_well(void **state)
{
	struct link_health h = {0};
	struct link_baseline b = {0};
	Health *tree;

	(void)state;
	/* the exporter was bad at the baseline */
	take(&h,
	    pipeline("StatusRecoverableError", "StatusOK", "StatusRecoverableError", "away", 0),
	    &b);
	assert_int_equal(h.worst, WORST_RECOVERABLE_OLD);
	assert_int_equal(link_baseline_take(&b, &h, NULL), 0);
	take(&h,
	    pipeline("StatusRecoverableError", "StatusOK", "StatusRecoverableError", "other", 0),
	    &b);
	assert_int_equal(h.worst, WORST_RECOVERABLE_OLD);
	/* the receiver was well */
	take(&h, pipeline("StatusRecoverableError", "StatusRecoverableError", "StatusOK", "", 0),
	    &b);
	assert_int_equal(h.worst, WORST_RECOVERABLE_NEW);
	/* one that was not there before is not to blame either */
	tree = pipeline("StatusRecoverableError", "StatusOK", "StatusOK", "", 0);
	under(tree, "pipeline:new", node("StatusRecoverableError", "dial", 1));
	take(&h, tree, &b);
	assert_int_equal(h.worst, WORST_RECOVERABLE_OLD);
	/* the baseline moves: the same state is another verdict */
	take(&h, pipeline("StatusOK", "StatusOK", "StatusOK", "", 0), &b);
	assert_int_equal(link_baseline_take(&b, &h, NULL), 0);
	take(&h, pipeline("StatusRecoverableError", "StatusOK", "StatusRecoverableError", "x", 0),
	    &b);
	assert_int_equal(h.worst, WORST_RECOVERABLE_NEW);
	assert_int_equal(link_baseline_take(&b, &h, NULL), 0);
	assert_int_equal(link_health_judge(&h, &b), 1);
	assert_int_equal(h.worst, WORST_RECOVERABLE_OLD);
	link_health_clear(&h);
	link_baseline_clear(&b);
}

static void
test_HL02_the_failed_component_is_named(void **state)
{
	struct link_health h = {0};
	struct link_baseline none = {0};
	Health *tree;

	(void)state;
	take(&h,
	    pipeline("StatusPermanentError", "StatusOK", "StatusPermanentError", "no such host", 0),
	    &none);
	assert_string_equal(h.text, "pipeline:traces/exporter:otlp: no such host");
	assert_string_equal(h.text + strlen(h.text) + 1, "StatusPermanentError");
	assert_int_equal(h.text_len, strlen(h.text) + 1 + strlen("StatusPermanentError"));
	tree = node("StatusFatalError", "own words", 1);
	under(tree, "extension:x", node("StatusFatalError", "other words", 1));
	take(&h, tree, &none);
	assert_string_equal(h.text, "own words");
	take(&h, node("", "", 0), &none);
	assert_string_equal(h.text, "the agent is not ready");
	tree = node("", "", 0);
	tree->healthy = 1;
	take(&h, tree, &none);
	assert_string_equal(h.text, "");
	assert_int_equal(h.worst, WORST_OK);
	link_health_clear(&h);
}

static void
test_a_sum_worse_than_its_parts_counts(void **state)
{
	struct link_health h = {0};
	struct link_baseline none = {0};

	(void)state;
	take(&h, pipeline("StatusFatalError", "StatusOK", "StatusOK", "", 0), &none);
	assert_int_equal(h.worst, WORST_FATAL);
	link_health_clear(&h);
}

static void
test_the_last_of_equal_keys_holds(void **state)
{
	struct link_health h = {0};
	struct link_baseline none = {0};
	Health *tree = node("StatusOK", "", 1);

	(void)state;
	under(tree, "a", node("StatusFatalError", "first", 1));
	under(tree, "a", node("StatusOK", "", 1));
	take(&h, tree, &none);
	assert_int_equal(h.worst, WORST_OK);
	assert_int_equal(h.count, 1);
	link_health_clear(&h);
}

static void
test_I11_trees_too_large_are_summed_up(void **state)
{
	struct link_health h = {0};
	struct link_baseline none = {0};
	Health *tree = node("StatusOK", "", 1), *deep;
	char key[32], *long_text = malloc(2 * MIB);
	unsigned i;

	(void)state;
	for (i = 0; i <= LIMIT_HEALTH_COMPONENTS; i++) {
		(void)snprintf(key, sizeof(key), "c%u", i);
		under(tree, key, node(i == 7 ? "StatusFatalError" : "StatusOK", "", 1));
	}
	assert_int_equal(take(&h, tree, &none), 1);
	assert_int_equal(h.worst, WORST_FATAL);
	assert_true(h.packed_len < 64);
	assert_in_range(h.component_count, 1, LIMIT_HEALTH_COMPONENTS);
	tree = deep = node("StatusOK", "", 1);
	for (i = 0; i < LIMIT_HEALTH_DEPTH; i++)
		deep = under(deep, "d", node("StatusOK", "", 1));
	take(&h, tree, &none);
	assert_true(h.packed_len > 64);
	tree = deep = node("StatusOK", "", 1);
	for (i = 0; i <= LIMIT_HEALTH_DEPTH; i++)
		deep = under(deep, "d", node("StatusOK", "", 1));
	take(&h, tree, &none);
	assert_true(h.packed_len < 64);
	/* texts and keys beyond every buffer, cut inside a character */
	assert_non_null(long_text);
	for (i = 0; i + 2 < 2 * MIB; i += 2)
		memcpy(long_text + i, "\xc3\xa4", 2);
	long_text[i] = '\0';
	tree = node("StatusPermanentError", "", 1);
	deep = under(tree, long_text, node("StatusOK", "", 1));
	under(deep, long_text, node("StatusPermanentError", long_text, 1));
	take(&h, tree, &none);
	assert_true(h.text_len <= sizeof(h.text));
	take(&h, node(long_text, long_text, 1), &none);
	assert_in_range(h.text_len, LIMIT_AGENT_TEXT, sizeof(h.text));
	free(long_text);
	link_health_clear(&h);
}

/* ---- secrets */

static char *
secret_in(int fd)
{
	char *text, *at;
	size_t len;

	assert_int_equal(memfd_read(fd, 4096, &text, &len, NULL), 0);
	at = strstr(text, LINK_SECRET_HEADER ": \"");
	assert_non_null(at);
	at = strndup(at + strlen(LINK_SECRET_HEADER ": \""), LINK_SECRET_LEN);
	free(text);
	return at;
}

static void
test_I15_a_secret_is_for_one_start_and_one_user(void **state)
{
	struct link_secrets s = {0};
	int fd = link_secrets_next(&s, NULL), fd2;
	char *first, *second, wrong[LINK_SECRET_LEN];

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(link_secrets_next(&s, NULL), -2);
	first = secret_in(fd);
	/* not before its start began */
	assert_null(link_secrets_find(&s, first, LINK_SECRET_LEN, 1000));
	assert_non_null(link_secrets_begun(&s, 5, AGENT_RUN, 1000, NULL));
	assert_int_equal(link_secrets_find(&s, first, LINK_SECRET_LEN, 1000)->start, 5);
	assert_null(link_secrets_find(&s, first, LINK_SECRET_LEN, 0));
	assert_null(link_secrets_find(&s, first, LINK_SECRET_LEN - 1, 1000));
	assert_null(link_secrets_find(&s, first, 0, 1000));
	memcpy(wrong, first, sizeof(wrong));
	wrong[LINK_SECRET_LEN - 1] ^= 1;
	assert_null(link_secrets_find(&s, wrong, sizeof(wrong), 1000));
	assert_true(link_secrets_expects(&s, 1000));
	assert_false(link_secrets_expects(&s, 0));
	/* a new one for the next start; the old ends with its start */
	fd2 = link_secrets_next(&s, NULL);
	assert_true(fd2 >= 0);
	second = secret_in(fd2);
	assert_string_not_equal(first, second);
	assert_non_null(link_secrets_begun(&s, 6, AGENT_VALIDATE, 1000, NULL)); /* takes none */
	assert_null(link_secrets_find(&s, second, LINK_SECRET_LEN, 1000));
	link_secrets_ended(&s, 5);
	assert_null(link_secrets_find(&s, first, LINK_SECRET_LEN, 1000));
	link_secrets_ended(&s, 6);
	assert_false(link_secrets_expects(&s, 1000));
	free(first);
	free(second);
	close(fd);
	close(fd2);
}

static void
test_I9_a_successor_reads_the_secrets_back(void **state)
{
	struct link_secrets old = {0}, s = {0};
	int live = link_secrets_next(&old, NULL), next, forged;
	char *secret = secret_in(live), *later;

	(void)state;
	assert_non_null(link_secrets_begun(&old, 3, AGENT_RUN, 7, NULL));
	next = link_secrets_next(&old, NULL);
	later = secret_in(next);
	assert_int_equal(link_secrets_given(&s, 3, live, NULL), 0);
	assert_int_equal(link_secrets_given(&s, 0, next, NULL), 0);
	assert_int_equal(link_secrets_next(&s, NULL), -2); /* the parent has one */
	assert_non_null(link_secrets_begun(&s, 3, AGENT_RUN, 7, NULL));
	assert_int_equal(link_secrets_find(&s, secret, LINK_SECRET_LEN, 7)->start, 3);
	assert_null(link_secrets_begun(&s, 3, AGENT_RUN, 7, NULL));
	assert_non_null(link_secrets_begun(&s, 4, AGENT_RUN, 7, NULL));
	assert_int_equal(link_secrets_find(&s, later, LINK_SECRET_LEN, 7)->start, 4);
	forged = memfd_seal("x", "extensions:\n", 12, NULL);
	assert_int_equal(link_secrets_given(&s, 0, forged, NULL), -1);
	close(live);
	close(next);
	close(forged);
	free(secret);
	free(later);
}

static void
test_I11_starts_are_bounded(void **state)
{
	struct link_secrets s = {0};
	uint32_t i;

	(void)state;
	assert_null(link_secrets_begun(&s, 0, AGENT_RUN, 1, NULL));
	for (i = 1; i <= LINK_STARTS; i++)
		assert_non_null(link_secrets_begun(&s, i, AGENT_PROBE, 1, NULL));
	assert_null(link_secrets_begun(&s, i, AGENT_PROBE, 1, NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_HL03_worst_of_the_components),
	    cmocka_unit_test(test_HL04_status_time_and_map_order_are_no_change),
	    cmocka_unit_test(test_a_fault_counts_only_where_all_was_well),
	    cmocka_unit_test(test_HL02_the_failed_component_is_named),
	    cmocka_unit_test(test_a_sum_worse_than_its_parts_counts),
	    cmocka_unit_test(test_the_last_of_equal_keys_holds),
	    cmocka_unit_test(test_I11_trees_too_large_are_summed_up),
	    cmocka_unit_test(test_I15_a_secret_is_for_one_start_and_one_user),
	    cmocka_unit_test(test_I9_a_successor_reads_the_secrets_back),
	    cmocka_unit_test(test_I11_starts_are_bounded),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
