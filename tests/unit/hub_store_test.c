/*
 * hub_store_test.c: the hub's store: agents, lists, configurations, assignments, events, and what is
 * there after it is opened again.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hub/store.h"
#include "privsep/limits.h"

struct place {
	char dir[64];
	struct store *store;
};

static struct bytes
text(const char *s)
{
	return (struct bytes){s, strlen(s)};
}

static int
set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	struct error err;

	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/opampd-test-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	p->store = hub_store_open(p->dir, &err);
	assert_non_null(p->store);
	*state = p;
	return 0;
}

static int
tear_down(void **state)
{
	static const char *const files[] = {"hub.db", "hub.db-wal", "hub.db-shm"};
	struct place *p = *state;
	char path[128];
	size_t i;

	hub_store_close(p->store);
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", p->dir, files[i]);
		(void)unlink(path);
	}
	assert_int_equal(rmdir(p->dir), 0);
	free(p);
	return 0;
}

static void
reopen(struct place *p)
{
	struct error err;

	hub_store_close(p->store);
	p->store = hub_store_open(p->dir, &err);
	assert_non_null(p->store);
}

static struct agent
some_agent(unsigned n, const char *name)
{
	struct agent a = {.healthy = -1, .first_seen = 1000 + n, .last_seen = 2000 - n};

	a.uid[0] = (uint8_t)(n >> 8);
	a.uid[15] = (uint8_t)n;
	a.name = text(name);
	return a;
}

struct seen {
	size_t count;
	uint8_t first[16], last[16];
	struct agent agent;
	char text[256];
};

static int
see(void *ctx, const struct agent *a)
{
	struct seen *s = ctx;

	if (s->count++ == 0)
		memcpy(s->first, a->uid, 16);
	memcpy(s->last, a->uid, 16);
	s->agent = *a;
	(void)snprintf(s->text, sizeof(s->text), "%.*s|%.*s|%.*s", (int)a->name.len, a->name.data,
	    (int)a->last_error.len, a->last_error.data == NULL ? "" : a->last_error.data,
	    (int)a->config_hash.len, a->config_hash.data == NULL ? "" : a->config_hash.data);
	return 0;
}

static void
test_what_is_stored_of_an_agent_is_there_after_a_new_start(void **state)
{
	struct place *p = *state;
	struct agent a = some_agent(7, "collector");
	struct seen s = {0};
	struct error err;

	a.connected_since = 55;
	a.capabilities = UINT64_MAX;
	a.healthy = 0;
	a.last_error = text("no such file");
	a.config_hash = (struct bytes){"h\0h", 3};
	assert_int_equal(store_begin(p->store, &err), 0);
	assert_int_equal(store_agent_put(p->store, &a, &err), 0);
	assert_int_equal(store_agent_part_put(p->store, a.uid, PART_HEALTH, text("{}"), &err), 0);
	assert_int_equal(store_commit(p->store, &err), 0);
	reopen(p);
	assert_int_equal(store_agent_get(p->store, a.uid, see, &s, &err), 1);
	assert_string_equal(s.text, "collector|no such file|h");
	assert_int_equal(s.agent.config_hash.len, 3);
	assert_true(s.agent.capabilities == UINT64_MAX);
	assert_int_equal(s.agent.parts, 1u << PART_HEALTH);
	assert_int_equal(s.agent.connected_since, 55);
	assert_int_equal(store_agents_all_gone(p->store, &err), 0);
	assert_int_equal(store_agent_get(p->store, a.uid, see, &s, &err), 1);
	assert_int_equal(s.agent.connected_since, 0);
	a.uid[3] = 9;
	assert_int_equal(store_agent_get(p->store, a.uid, see, &s, &err), 0);
}

static void
test_what_was_undone_is_not_there(void **state)
{
	struct place *p = *state;
	struct agent a = some_agent(1, "a");
	struct seen s = {0};
	struct error err;

	assert_int_equal(store_begin(p->store, &err), 0);
	assert_int_equal(store_agent_put(p->store, &a, &err), 0);
	store_rollback(p->store);
	store_rollback(p->store); /* no harm */
	assert_int_equal(store_agent_get(p->store, a.uid, see, &s, &err), 0);
}

static void
fill(struct store *s)
{
	struct bytes unix_like[] = {
	    text("os.type=linux"), text("host.name=Web1"), text("a,b=c\\d")};
	struct bytes windows[] = {text("os.type=windows"), text("host.name=web2")};
	struct agent a;
	struct error err;
	unsigned i;

	for (i = 0; i < 10; i++) {
		a = some_agent(i, i % 2 ? "beta" : "Alpha");
		a.healthy = i < 3;
		a.connected_since = i < 5;
		a.config_status = i == 9 ? 3 : 1;
		assert_int_equal(store_agent_put(s, &a, &err), 0);
		assert_int_equal(store_agent_attributes(
				     s, a.uid, i < 8 ? unix_like : windows, i < 8 ? 3 : 2, &err),
		    0);
	}
}

static uint64_t
matches(struct store *s, struct agent_query q, struct seen *seen)
{
	uint64_t n = 0;
	struct error err;

	memset(seen, 0, sizeof(*seen));
	if (q.limit == 0)
		q.limit = 100;
	assert_int_equal(store_agents_list(s, &q, see, seen, &n, &err), 0);
	return n;
}

static void
test_lists_by_search_selector_state_and_order(void **state)
{
	struct place *p = *state;
	struct agent_query all = {.connected = -1, .healthy = -1, .config_status = -1}, q;
	struct agent_counts c;
	struct seen s;
	struct error err;

	fill(p->store);
	assert_int_equal(matches(p->store, all, &s), 10);
	assert_int_equal(s.count, 10);
	assert_int_equal(s.first[15], 0); /* Alpha before beta, then by uid */
	q = all;
	q.search = text("WEB1");
	assert_int_equal(matches(p->store, q, &s), 8);
	q.search = text("windows");
	assert_int_equal(matches(p->store, q, &s), 2);
	q.search = text("' OR 1=1 --");
	assert_int_equal(matches(p->store, q, &s), 0);
	q = all;
	q.selector = text("os.type=linux,host.name=Web1");
	assert_int_equal(matches(p->store, q, &s), 8);
	q.selector = text("a\\,b=c\\\\d");
	assert_int_equal(matches(p->store, q, &s), 8);
	q.selector = text("os.type=linux,host.name=web2");
	assert_int_equal(matches(p->store, q, &s), 0);
	q = all;
	q.connected = 1;
	q.healthy = 0;
	assert_int_equal(matches(p->store, q, &s), 2);
	q = all;
	q.config_status = 3;
	assert_int_equal(matches(p->store, q, &s), 1);
	q = all;
	q.sort = SORT_LAST_SEEN;
	q.descending = 1;
	q.limit = 3;
	q.offset = 1;
	assert_int_equal(matches(p->store, q, &s), 10);
	assert_int_equal(s.count, 3);
	assert_int_equal(s.first[15], 1);
	assert_int_equal(s.last[15], 3);
	assert_int_equal(store_agents_counts(p->store, &c, &err), 0);
	assert_int_equal(c.total, 10);
	assert_int_equal(c.connected, 5);
	assert_int_equal(c.healthy, 3);
	assert_int_equal(c.unhealthy, 2);
	assert_int_equal(c.failed, 1);
	q = all;
	q.selector = text("no equals");
	assert_int_equal(store_agents_list(p->store, &q, see, &s, &c.total, &err), -1);
	assert_non_null(strstr(err.text, "name=value"));
}

static int
keep_version(void *ctx, const struct configuration_version *v)
{
	struct configuration_version *out = ctx;

	*out = *v;
	return 0;
}

static int
keep_configuration(void *ctx, const struct configuration *c)
{
	struct configuration *out = ctx;

	*out = *c;
	return 0;
}

static void
test_versions_are_numbered_within_their_configuration(void **state)
{
	struct place *p = *state;
	struct configuration_version v = {
	    .author = text("me"), .comment = text(""), .files = text("{}")};
	struct configuration c = {0};
	uint64_t one, two;
	struct error err;

	assert_int_equal(store_configuration_new(p->store, text("one"), 1, &one, &err), 0);
	assert_int_equal(store_configuration_new(p->store, text("two"), 2, &two, &err), 0);
	assert_int_equal(store_configuration_new(p->store, text("two"), 3, &two, &err), -1);
	assert_non_null(strstr(err.text, "there already"));
	v.configuration = one;
	assert_int_equal(store_version_new(p->store, &v, &err), 0);
	v.configuration = two;
	assert_int_equal(store_version_new(p->store, &v, &err), 0);
	assert_int_equal(v.number, 1);
	memset(v.hash, 7, sizeof(v.hash));
	assert_int_equal(store_version_new(p->store, &v, &err), 0);
	assert_int_equal(v.number, 2);
	assert_int_equal(v.id, 3);
	reopen(p);
	memset(&v, 0, sizeof(v));
	assert_int_equal(store_version_get(p->store, 3, keep_version, &v, &err), 1);
	assert_int_equal(v.configuration, two);
	assert_int_equal(v.hash[31], 7);
	assert_int_equal(store_version_get(p->store, 4, keep_version, &v, &err), 0);
	assert_int_equal(store_configurations(p->store, keep_configuration, &c, &err), 0);
	assert_int_equal(c.latest, 3);
	assert_int_equal(c.versions, 2);
	assert_int_equal(store_configuration_delete(p->store, two, &err), 1);
	assert_int_equal(store_configuration_delete(p->store, two, &err), 0);
	/* its name is free again, its versions are not gone */
	assert_int_equal(store_configuration_new(p->store, text("two"), 3, &two, &err), 0);
	assert_int_equal(store_version_get(p->store, 3, keep_version, &v, &err), 1);
}

static int
keep_assignment(void *ctx, const struct assignment *a)
{
	struct assignment *out = ctx;

	*out = *a;
	return 1;
}

static void
test_assignments_need_a_version_and_go_with_their_agent(void **state)
{
	struct place *p = *state;
	struct assignment a = {.version = 1, .author = text("me"), .has_uid = 1}, found = {0};
	struct configuration_version v = {
	    .author = text("me"), .comment = text(""), .files = text("{}")};
	struct agent agent = some_agent(4, "x");
	struct error err;

	memcpy(a.uid, agent.uid, 16);
	assert_int_equal(store_assignment_new(p->store, &a, &err), -1);
	assert_int_equal(
	    store_configuration_new(p->store, text("c"), 1, &v.configuration, &err), 0);
	assert_int_equal(store_version_new(p->store, &v, &err), 0);
	assert_int_equal(store_agent_put(p->store, &agent, &err), 0);
	assert_int_equal(store_assignment_new(p->store, &a, &err), 0);
	a.has_uid = 0;
	a.selector = text("a=b");
	assert_int_equal(store_assignment_new(p->store, &a, &err), 0);
	assert_int_equal(store_assignments(p->store, keep_assignment, &found, &err), 0);
	assert_int_equal(found.has_uid, 0); /* the newest first */
	assert_int_equal(store_assignment_delete(p->store, found.id, &err), 1);
	assert_int_equal(store_assignment_delete(p->store, found.id, &err), 0);
	assert_int_equal(store_assignments(p->store, keep_assignment, &found, &err), 0);
	assert_int_equal(found.has_uid, 1);
	assert_int_equal(store_agent_forget(p->store, agent.uid, &err), 0);
	memset(&found, 0, sizeof(found));
	assert_int_equal(store_assignments(p->store, keep_assignment, &found, &err), 0);
	assert_int_equal(found.id, 0);
}

static int
count_event(void *ctx, const struct event_row *e)
{
	uint64_t *n = ctx;

	(void)e;
	++*n;
	return 0;
}

static void
test_events_of_an_agent_are_bounded(void **state)
{
	struct place *p = *state;
	struct agent a = some_agent(1, "a"), b = some_agent(2, "b");
	struct event_row e = {.kind = text("applied"), .text = text("")};
	uint64_t n = 0;
	struct error err;
	unsigned i;

	memcpy(e.uid, b.uid, 16);
	assert_int_equal(store_event_add(p->store, &e, &err), 0);
	memcpy(e.uid, a.uid, 16);
	for (i = 0; i < 3 * LIMIT_HUB_EVENTS; i++)
		assert_int_equal(store_event_add(p->store, &e, &err), 0);
	assert_int_equal(store_events(p->store, a.uid, 0, 10000, count_event, &n, &err), 0);
	assert_in_range(n, LIMIT_HUB_EVENTS, LIMIT_HUB_EVENTS + 16);
	n = 0;
	assert_int_equal(store_events(p->store, b.uid, 0, 10000, count_event, &n, &err), 0);
	assert_int_equal(n, 1);
	n = 0;
	assert_int_equal(store_events(p->store, NULL, 0, 7, count_event, &n, &err), 0);
	assert_int_equal(n, 7);
}

static int
keep_text(void *ctx, struct bytes b)
{
	(void)snprintf(ctx, 64, "%.*s", (int)b.len, b.data);
	return 0;
}

static void
test_AC_03_components_are_known_by_their_hash(void **state)
{
	struct place *p = *state;
	struct agent a = some_agent(1, "a");
	char found[64] = "";
	struct error err;

	a.components_hash = text("hash");
	assert_int_equal(store_agent_put(p->store, &a, &err), 0);
	assert_int_equal(store_components_known(p->store, text("hash"), keep_text, found, &err), 0);
	assert_int_equal(
	    store_agent_part_put(p->store, a.uid, PART_COMPONENTS, text("{1}"), &err), 0);
	assert_int_equal(store_components_known(p->store, text("hash"), keep_text, found, &err), 1);
	assert_string_equal(found, "{1}");
	assert_int_equal(
	    store_components_known(p->store, text("other"), keep_text, found, &err), 0);
}

static void
test_a_store_of_a_newer_hub_is_refused(void **state)
{
	struct place *p = *state;
	char command[256];
	struct error err;

	hub_store_close(p->store);
	(void)snprintf(command, sizeof(command),
	    "/usr/bin/python3 -c \"import sqlite3; c = sqlite3.connect('%s/hub.db'); "
	    "c.execute('PRAGMA user_version=99')\"",
	    p->dir);
	assert_int_equal(system(command), 0);
	p->store = hub_store_open(p->dir, &err);
	assert_null(p->store);
	assert_non_null(strstr(err.text, "newer opamphub"));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
	    TEST(test_what_is_stored_of_an_agent_is_there_after_a_new_start),
	    TEST(test_what_was_undone_is_not_there),
	    TEST(test_lists_by_search_selector_state_and_order),
	    TEST(test_versions_are_numbered_within_their_configuration),
	    TEST(test_assignments_need_a_version_and_go_with_their_agent),
	    TEST(test_events_of_an_agent_are_bounded),
	    TEST(test_AC_03_components_are_known_by_their_hash),
	    TEST(test_a_store_of_a_newer_hub_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
