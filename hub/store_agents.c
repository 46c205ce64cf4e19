/*
 * store_agents.c: agents, their large parts and their attributes, in SQLite (see store.h).
 * opamphub-store.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub.h"
#include "selector.h"
#include "store_sqlite.h"

#define QUERY_TEXT  4096
#define SELECTOR_AT 20 /* the first parameter of a selector's pairs */

static struct agent
agent_of(sqlite3_stmt *st)
{
	struct agent a = {.healthy = -1};

	(void)sql_exact(st, 0, a.uid, sizeof(a.uid));
	a.name = sql_bytes(st, 1);
	a.version = sql_bytes(st, 2);
	a.first_seen = sql_number(st, 3);
	a.last_seen = sql_number(st, 4);
	a.connected_since = sql_number(st, 5);
	a.transport = sql_bytes(st, 6);
	a.address = sql_bytes(st, 7);
	a.credential = sql_bytes(st, 8);
	a.gone_why = sql_bytes(st, 9);
	a.capabilities = sql_number(st, 10);
	a.healthy = (int64_t)sql_number(st, 11);
	a.started = sql_number(st, 12);
	a.last_error = sql_bytes(st, 13);
	a.status = sql_bytes(st, 14);
	a.config_status = (uint32_t)sql_number(st, 15);
	a.config_hash = sql_bytes(st, 16);
	a.config_error = sql_bytes(st, 17);
	a.due = sql_number(st, 18);
	a.due_since = sql_number(st, 19);
	a.components_hash = sql_bytes(st, 20);
	a.settings_status = (uint32_t)sql_number(st, 21);
	a.settings_hash = sql_bytes(st, 22);
	a.settings_error = sql_bytes(st, 23);
	a.parts = (uint32_t)sql_number(st, 24);
	return a;
}

static int
put_agent(struct store *s, enum statement which, const struct agent *a, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, which, err);

	if (st == NULL)
		return -1;
	sql_uid(st, 1, a->uid);
	sql_text(st, 2, a->name);
	sql_text(st, 3, a->version);
	sql_u64(st, 4, a->first_seen);
	sql_u64(st, 5, a->last_seen);
	sql_u64(st, 6, a->connected_since);
	sql_text(st, 7, a->transport);
	sql_text(st, 8, a->address);
	sql_text(st, 9, a->credential);
	sql_text(st, 10, a->gone_why);
	sql_u64(st, 11, a->capabilities);
	sql_u64(st, 12, (uint64_t)a->healthy);
	sql_u64(st, 13, a->started);
	sql_text(st, 14, a->last_error);
	sql_text(st, 15, a->status);
	sql_u64(st, 16, a->config_status);
	sql_blob(st, 17, a->config_hash);
	sql_text(st, 18, a->config_error);
	sql_u64(st, 19, a->due);
	sql_u64(st, 20, a->due_since);
	sql_blob(st, 21, a->components_hash);
	sql_u64(st, 22, a->settings_status);
	sql_blob(st, 23, a->settings_hash);
	sql_text(st, 24, a->settings_error);
	return sql_done(s, st, "storing an agent", err);
}

int
store_agent_put(struct store *s, const struct agent *a, struct error *err)
{
	return put_agent(s, SQL_AGENT_PUT, a, err);
}

int
store_agent_update(struct store *s, const struct agent *a, struct error *err)
{
	return put_agent(s, SQL_AGENT_UPDATE, a, err);
}

int
store_agent_get(
    struct store *s, const uint8_t uid[16], store_agent_cb cb, void *ctx, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_AGENT_GET, err);
	struct agent a;
	int r;

	if (st == NULL)
		return -1;
	sql_uid(st, 1, uid);
	r = sql_row(s, st, "reading an agent", err);
	if (r == 1) {
		a = agent_of(st);
		(void)cb(ctx, &a);
	}
	sql_end(st);
	return r;
}

int
store_agent_part_put(struct store *s, const uint8_t uid[16], enum agent_part part,
    struct bytes json, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_PART_PUT, err);

	if (st == NULL)
		return -1;
	sql_uid(st, 1, uid);
	sql_u64(st, 2, part);
	sql_blob(st, 3, json);
	if (sql_done(s, st, "storing a part of an agent", err) == -1)
		return -1;
	st = sql_use(s, SQL_AGENT_PARTS, err);
	if (st == NULL)
		return -1;
	sql_uid(st, 1, uid);
	sql_u64(st, 2, 1u << part);
	return sql_done(s, st, "storing a part of an agent", err);
}

int
store_agent_part_get(struct store *s, const uint8_t uid[16], enum agent_part part,
    store_bytes_cb cb, void *ctx, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_PART_GET, err);
	int r;

	if (st == NULL)
		return -1;
	sql_uid(st, 1, uid);
	sql_u64(st, 2, part);
	r = sql_row(s, st, "reading a part of an agent", err);
	if (r == 1)
		(void)cb(ctx, sql_bytes(st, 0));
	sql_end(st);
	return r;
}

static int
delete_of(struct store *s, enum statement which, const uint8_t uid[16], struct error *err)
{
	sqlite3_stmt *st = sql_use(s, which, err);

	if (st == NULL)
		return -1;
	sql_uid(st, 1, uid);
	return sql_done(s, st, "forgetting an agent", err);
}

/* What a search looks at, in one column: 10,000 agents are looked through in some milliseconds. */
static int
put_search(struct store *s, const uint8_t uid[16], const struct bytes *list, size_t count,
    struct error *err)
{
	char id[UID_TEXT], *text;
	size_t size = sizeof(id), at, i, j;
	sqlite3_stmt *st;
	int r;

	for (i = 0; i < count; i++)
		size += list[i].len + 1;
	text = malloc(size);
	if (text == NULL)
		return error_set(err, "storing an agent's attributes: out of memory");
	uid_text(id, uid);
	at = strlen(id);
	memcpy(text, id, at);
	for (i = 0; i < count; i++) {
		text[at++] = '\n';
		for (j = 0; j < list[i].len; j++)
			text[at++] = lower(list[i].data[j]);
	}
	st = sql_use(s, SQL_AGENT_SEARCH, err);
	if (st == NULL) {
		free(text);
		return -1;
	}
	sql_uid(st, 1, uid);
	sql_text(st, 2, (struct bytes){text, at});
	r = sql_done(s, st, "storing an agent's attributes", err);
	free(text);
	return r;
}

int
store_agent_attributes(struct store *s, const uint8_t uid[16], const struct bytes *list,
    size_t count, struct error *err)
{
	const char *equals;
	sqlite3_stmt *st;
	size_t i, name;

	if (delete_of(s, SQL_ATTRIBUTES_DELETE, uid, err) == -1)
		return -1;
	for (i = 0; i < count; i++) {
		equals = memchr(list[i].data, '=', list[i].len);
		if (equals == NULL)
			continue;
		name = (size_t)(equals - list[i].data);
		st = sql_use(s, SQL_ATTRIBUTE_ADD, err);
		if (st == NULL)
			return -1;
		sql_uid(st, 1, uid);
		sql_text(st, 2, (struct bytes){list[i].data, name});
		sql_text(st, 3, (struct bytes){equals + 1, list[i].len - name - 1});
		if (sql_done(s, st, "storing an agent's attributes", err) == -1)
			return -1;
	}
	return put_search(s, uid, list, count, err);
}

int
store_agent_attributes_get(
    struct store *s, const uint8_t uid[16], store_bytes_cb cb, void *ctx, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_ATTRIBUTES_OF, err);
	int r;

	if (st == NULL)
		return -1;
	sql_uid(st, 1, uid);
	while ((r = sql_row(s, st, "reading an agent's attributes", err)) == 1)
		if (cb(ctx, sql_bytes(st, 0)) != 0) {
			r = 0;
			break;
		}
	sql_end(st);
	return r;
}

int
store_agent_due(
    struct store *s, const uint8_t uid[16], uint64_t version, uint64_t when, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_AGENT_DUE, err);

	if (st == NULL)
		return -1;
	sql_uid(st, 1, uid);
	sql_u64(st, 2, version);
	sql_u64(st, 3, when);
	return sql_done(s, st, "storing what an agent is to run", err);
}

int
store_agent_seen(struct store *s, const uint8_t uid[16], uint64_t when, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_AGENT_SEEN, err);

	if (st == NULL)
		return -1;
	sql_uid(st, 1, uid);
	sql_u64(st, 2, when);
	return sql_done(s, st, "storing that an agent was heard of", err);
}

int
store_components_known(
    struct store *s, struct bytes hash, store_bytes_cb cb, void *ctx, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_COMPONENTS_KNOWN, err);
	int r;

	if (st == NULL)
		return -1;
	sql_blob(st, 1, hash);
	sql_u64(st, 2, PART_COMPONENTS);
	r = sql_row(s, st, "looking for known components", err);
	if (r == 1)
		(void)cb(ctx, sql_bytes(st, 0));
	sql_end(st);
	return r;
}

int
store_agent_forget(struct store *s, const uint8_t uid[16], struct error *err)
{
	static const enum statement all[] = {SQL_PARTS_DELETE, SQL_ATTRIBUTES_DELETE,
	    SQL_EVENTS_OF_DELETE, SQL_ASSIGNMENTS_OF_DELETE, SQL_AGENT_DELETE};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (delete_of(s, all[i], uid, err) == -1)
			return -1;
	return 0;
}

int
store_agents_all_gone(struct store *s, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_AGENTS_GONE, err);

	return st == NULL ? -1 : sql_done(s, st, "storing that no agent is connected", err);
}

/* ---- lists */

static const char *const order_of[] = {
    [SORT_NAME] = "name COLLATE NOCASE",
    [SORT_VERSION] = "version COLLATE NOCASE",
    [SORT_HEALTH] = "healthy",
    [SORT_CONFIG] = "config_status",
    [SORT_LAST_SEEN] = "last_seen",
    [SORT_FIRST_SEEN] = "first_seen",
};

/* The conditions of a query: nothing foreign is in the text, all of it is bound. */
static int
conditions(char *text, size_t size, const struct agent_query *q, const struct selector *sel)
{
	int n = snprintf(text, size, "WHERE 1%s%s%s%s%s",
	    q->search.len > 0 ? " AND instr(search, ?1) > 0" : "",
	    q->connected == 1 ? " AND connected_since <> 0" : "",
	    q->connected == 0 ? " AND connected_since = 0" : "",
	    q->healthy >= 0 ? " AND healthy = ?2" : "",
	    q->config_status >= 0 ? " AND config_status = ?3" : "");
	size_t i;

	for (i = 0; i < sel->count && n > 0 && (size_t)n < size; i++)
		n += snprintf(text + n, size - (size_t)n,
		    " AND uid IN (SELECT uid FROM attributes WHERE name=?%zu AND value=?%zu)",
		    SELECTOR_AT + 2 * i, SELECTOR_AT + 2 * i + 1);
	return n > 0 && (size_t)n < size ? 0 : -1;
}

static void
bind_query(
    sqlite3_stmt *st, const struct agent_query *q, const struct selector *sel, struct bytes lowered)
{
	size_t i;

	if (q->search.len > 0)
		sql_text(st, 1, lowered);
	if (q->healthy >= 0)
		sql_u64(st, 2, (uint64_t)q->healthy);
	if (q->config_status >= 0)
		sql_u64(st, 3, (uint64_t)q->config_status);
	for (i = 0; i < sel->count; i++) {
		sql_text(st, SELECTOR_AT + 2 * (int)i, sel->pairs[i].name);
		sql_text(st, SELECTOR_AT + 2 * (int)i + 1, sel->pairs[i].value);
	}
}

static int
list_matches(struct store *s, const char *where, const struct agent_query *q,
    const struct selector *sel, struct bytes lowered, uint64_t *matches, struct error *err)
{
	char text[QUERY_TEXT];
	sqlite3_stmt *st;
	int r;

	(void)snprintf(text, sizeof(text), "SELECT count(*) FROM agents %s", where);
	if (sqlite3_prepare_v2(s->db, text, -1, &st, NULL) != SQLITE_OK)
		return sql_fault(s, "counting agents", err);
	bind_query(st, q, sel, lowered);
	r = sql_row(s, st, "counting agents", err);
	if (r == 1)
		*matches = sql_number(st, 0);
	(void)sqlite3_finalize(st);
	return r == 1 ? 0 : -1;
}

static int
list_rows(struct store *s, const char *where, const struct agent_query *q,
    const struct selector *sel, struct bytes lowered, store_agent_cb cb, void *ctx,
    struct error *err)
{
	const char *order = order_of[q->sort], *down = q->descending ? " DESC" : "";
	char text[QUERY_TEXT];
	sqlite3_stmt *st;
	struct agent a;
	int r;

	(void)snprintf(text, sizeof(text),
	    "SELECT " AGENT_COLUMNS ", parts FROM agents %s"
	    " ORDER BY %s%s, uid%s LIMIT ?4 OFFSET ?5",
	    where, order, down, down);
	if (sqlite3_prepare_v2(s->db, text, -1, &st, NULL) != SQLITE_OK)
		return sql_fault(s, "listing agents", err);
	bind_query(st, q, sel, lowered);
	sql_u64(st, 4, q->limit);
	sql_u64(st, 5, q->offset);
	while ((r = sql_row(s, st, "listing agents", err)) == 1) {
		a = agent_of(st);
		if (cb(ctx, &a) != 0) {
			r = 0;
			break;
		}
	}
	(void)sqlite3_finalize(st);
	return r;
}

/*
 * With conditions: one look at every row, of which no more is kept than what they are sorted by; the rows wanted are
 * then read one by one.  By an index every row would be searched for.
 */
static int
list_chosen(struct store *s, const char *where, const struct agent_query *q,
    const struct selector *sel, struct bytes lowered, store_agent_cb cb, void *ctx,
    uint64_t *matches, struct error *err)
{
	const char *order = order_of[q->sort], *down = q->descending ? " DESC" : "";
	char text[QUERY_TEXT];
	uint8_t uid[16];
	sqlite3_stmt *st;
	int r;

	(void)snprintf(text, sizeof(text),
	    "SELECT uid FROM agents NOT INDEXED %s ORDER BY %s%s, uid%s", where, order, down, down);
	if (sqlite3_prepare_v2(s->db, text, -1, &st, NULL) != SQLITE_OK)
		return sql_fault(s, "listing agents", err);
	bind_query(st, q, sel, lowered);
	*matches = 0;
	while ((r = sql_row(s, st, "listing agents", err)) == 1) {
		if (++*matches <= q->offset || *matches - q->offset > q->limit)
			continue;
		(void)sql_exact(st, 0, uid, sizeof(uid));
		if (store_agent_get(s, uid, cb, ctx, err) == -1) {
			r = -1;
			break;
		}
	}
	(void)sqlite3_finalize(st);
	return r;
}

int
store_agents_due(struct store *s, struct bytes selector, uint64_t version, uint64_t when,
    store_agent_cb cb, void *ctx, struct error *err)
{
	const struct agent_query q = {
	    .selector = selector, .connected = -1, .healthy = -1, .config_status = -1};
	char where[QUERY_TEXT / 2], text[QUERY_TEXT];
	struct selector sel;
	struct agent a = {.healthy = -1};
	sqlite3_stmt *st;
	int r;

	if (selector_read(&sel, selector, err) == -1)
		return -1;
	if (conditions(where, sizeof(where), &q, &sel) == -1)
		return error_set(err, "the selector is too long");
	(void)snprintf(text, sizeof(text),
	    "UPDATE agents SET due=?4, due_since=?5 %s AND (due<>?4 OR (config_status=3 AND"
	    " connected_since<>0 AND capabilities & 2)) AND uid NOT IN"
	    " (SELECT uid FROM assignments WHERE uid IS NOT NULL)"
	    " RETURNING uid, capabilities, config_status, config_hash",
	    where);
	if (sqlite3_prepare_v2(s->db, text, -1, &st, NULL) != SQLITE_OK)
		return sql_fault(s, "storing what agents are to run", err);
	bind_query(st, &q, &sel, (struct bytes){"", 0});
	sql_u64(st, 4, version);
	sql_u64(st, 5, when);
	while ((r = sql_row(s, st, "storing what agents are to run", err)) == 1) {
		(void)sql_exact(st, 0, a.uid, sizeof(a.uid));
		a.capabilities = sql_number(st, 1);
		a.config_status = (uint32_t)sql_number(st, 2);
		a.config_hash = sql_bytes(st, 3);
		if (cb(ctx, &a) != 0) {
			r = 0;
			break;
		}
	}
	(void)sqlite3_finalize(st);
	return r;
}

int
store_agents_list(struct store *s, const struct agent_query *q, store_agent_cb cb, void *ctx,
    uint64_t *matches, struct error *err)
{
	char where[QUERY_TEXT / 2], lowered[LIMIT_HUB_SEARCH];
	struct selector sel;
	size_t i;

	if (q->search.len > sizeof(lowered))
		return error_set(err, "the search text is longer than %zu bytes", sizeof(lowered));
	for (i = 0; i < q->search.len; i++)
		lowered[i] = lower(q->search.data[i]);
	if (selector_read(&sel, q->selector, err) == -1)
		return -1;
	if (conditions(where, sizeof(where), q, &sel) == -1)
		return error_set(err, "the selector is too long");
	if (q->search.len > 0 || q->connected >= 0 || q->healthy >= 0 || q->config_status >= 0)
		return list_chosen(
		    s, where, q, &sel, (struct bytes){lowered, i}, cb, ctx, matches, err);
	if (list_matches(s, where, q, &sel, (struct bytes){lowered, i}, matches, err) == -1)
		return -1;
	return list_rows(s, where, q, &sel, (struct bytes){lowered, i}, cb, ctx, err);
}

int
store_agents_counts(struct store *s, struct agent_counts *c, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_AGENTS_COUNTS, err);
	int r;

	if (st == NULL)
		return -1;
	r = sql_row(s, st, "counting agents", err);
	if (r == 1)
		*c = (struct agent_counts){sql_number(st, 0), sql_number(st, 1), sql_number(st, 2),
		    sql_number(st, 3), sql_number(st, 4), sql_number(st, 5), sql_number(st, 6),
		    sql_number(st, 7)};
	sql_end(st);
	return r == 1 ? 0 : -1;
}

int
store_attribute_names(struct store *s, size_t limit,
    int (*cb)(void *ctx, struct bytes name, uint64_t agents), void *ctx, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_ATTRIBUTE_NAMES, err);
	int r;

	if (st == NULL)
		return -1;
	sql_u64(st, 1, limit);
	while ((r = sql_row(s, st, "listing attributes", err)) == 1)
		if (cb(ctx, sql_bytes(st, 0), sql_number(st, 1)) != 0) {
			r = 0;
			break;
		}
	sql_end(st);
	return r;
}
