/*
 * store_configurations.c: configurations with their versions, assignments, events and offers of
 * connection settings, in SQLite (see store.h).  opamphub-store.
 */
#include <string.h>

#include "privsep/limits.h"
#include "store_sqlite.h"

#define TRIM_EACH 16 /* events are trimmed at each so many: they may be that many over the limit */

int
store_configuration_new(
    struct store *s, struct bytes name, uint64_t when, uint64_t *id, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_CONFIGURATION_NEW, err);
	int r;

	if (st == NULL)
		return -1;
	sql_text(st, 1, name);
	sql_u64(st, 2, when);
	r = sqlite3_step(st);
	sql_end(st);
	if (r == SQLITE_CONSTRAINT_UNIQUE)
		return error_set(err,
		    "a configuration with the name \"%.*s\" is there already: add a version to it, "
		    "or choose another name",
		    (int)name.len, name.data);
	if (r != SQLITE_DONE)
		return sql_fault(s, "storing a configuration", err);
	*id = (uint64_t)sqlite3_last_insert_rowid(s->db);
	return 0;
}

static int
delete_by_id(
    struct store *s, enum statement which, uint64_t id, const char *what, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, which, err);

	if (st == NULL)
		return -1;
	sql_u64(st, 1, id);
	if (sql_done(s, st, what, err) == -1)
		return -1;
	return sqlite3_changes(s->db) > 0;
}

int
store_configuration_delete(struct store *s, uint64_t id, struct error *err)
{
	return delete_by_id(s, SQL_CONFIGURATION_DELETE, id, "deleting a configuration", err);
}

int
store_configurations(struct store *s, int (*cb)(void *ctx, const struct configuration *c),
    void *ctx, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_CONFIGURATIONS, err);
	struct configuration c;
	int r;

	if (st == NULL)
		return -1;
	while ((r = sql_row(s, st, "listing configurations", err)) == 1) {
		c.id = sql_number(st, 0);
		c.name = sql_bytes(st, 1);
		c.created = sql_number(st, 2);
		c.deleted = sql_number(st, 3) != 0;
		c.latest = sql_number(st, 4);
		c.versions = sql_number(st, 5);
		if (cb(ctx, &c) != 0) {
			r = 0;
			break;
		}
	}
	sql_end(st);
	return r;
}

int
store_version_new(struct store *s, struct configuration_version *v, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_VERSION_NEXT, err);

	if (st == NULL)
		return -1;
	sql_u64(st, 1, v->configuration);
	if (sql_row(s, st, "storing a version", err) != 1)
		return -1;
	v->number = sql_number(st, 0);
	sql_end(st);
	st = sql_use(s, SQL_VERSION_NEW, err);
	if (st == NULL)
		return -1;
	sql_u64(st, 1, v->configuration);
	sql_u64(st, 2, v->number);
	sql_u64(st, 3, v->created);
	sql_text(st, 4, v->author);
	sql_text(st, 5, v->comment);
	sql_blob(st, 6, (struct bytes){(const char *)v->hash, sizeof(v->hash)});
	sql_blob(st, 7, v->files);
	if (sql_done(s, st, "storing a version", err) == -1)
		return -1;
	v->id = (uint64_t)sqlite3_last_insert_rowid(s->db);
	return 0;
}

static struct configuration_version
version_of(sqlite3_stmt *st)
{
	struct configuration_version v = {0};

	v.id = sql_number(st, 0);
	v.configuration = sql_number(st, 1);
	v.number = sql_number(st, 2);
	v.created = sql_number(st, 3);
	v.author = sql_bytes(st, 4);
	v.comment = sql_bytes(st, 5);
	(void)sql_exact(st, 6, v.hash, sizeof(v.hash));
	v.files = sql_bytes(st, 7);
	return v;
}

int
store_version_get(struct store *s, uint64_t id,
    int (*cb)(void *ctx, const struct configuration_version *v), void *ctx, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_VERSION_GET, err);
	struct configuration_version v;
	int r;

	if (st == NULL)
		return -1;
	sql_u64(st, 1, id);
	r = sql_row(s, st, "reading a version", err);
	if (r == 1) {
		v = version_of(st);
		(void)cb(ctx, &v);
	}
	sql_end(st);
	return r;
}

int
store_versions(struct store *s, uint64_t configuration,
    int (*cb)(void *ctx, const struct configuration_version *v), void *ctx, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_VERSIONS, err);
	struct configuration_version v;
	int r;

	if (st == NULL)
		return -1;
	sql_u64(st, 1, configuration);
	while ((r = sql_row(s, st, "listing versions", err)) == 1) {
		v = version_of(st);
		if (cb(ctx, &v) != 0) {
			r = 0;
			break;
		}
	}
	sql_end(st);
	return r;
}

/* ---- assignments */

int
store_assignment_new(struct store *s, struct assignment *a, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_ASSIGNMENT_NEW, err);

	if (st == NULL)
		return -1;
	sql_u64(st, 1, a->version);
	sql_blob(
	    st, 2, a->has_uid ? (struct bytes){(const char *)a->uid, 16} : (struct bytes){NULL, 0});
	sql_text(st, 3, a->selector.data == NULL ? (struct bytes){"", 0} : a->selector);
	sql_u64(st, 4, a->created);
	sql_text(st, 5, a->author);
	if (sql_done(s, st, "storing an assignment", err) == -1)
		return -1;
	a->id = (uint64_t)sqlite3_last_insert_rowid(s->db);
	return 0;
}

int
store_assignment_delete(struct store *s, uint64_t id, struct error *err)
{
	return delete_by_id(s, SQL_ASSIGNMENT_DELETE, id, "deleting an assignment", err);
}

int
store_assignments(
    struct store *s, int (*cb)(void *ctx, const struct assignment *a), void *ctx, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_ASSIGNMENTS, err);
	struct assignment a;
	int r;

	if (st == NULL)
		return -1;
	while ((r = sql_row(s, st, "listing assignments", err)) == 1) {
		a.id = sql_number(st, 0);
		a.version = sql_number(st, 1);
		a.has_uid = sql_exact(st, 2, a.uid, sizeof(a.uid));
		a.selector = sql_bytes(st, 3);
		a.created = sql_number(st, 4);
		a.author = sql_bytes(st, 5);
		if (cb(ctx, &a) != 0) {
			r = 0;
			break;
		}
	}
	sql_end(st);
	return r;
}

/* ---- events */

int
store_event_add(struct store *s, const struct event_row *e, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_EVENT_ADD, err);

	if (st == NULL)
		return -1;
	sql_u64(st, 1, e->when);
	sql_uid(st, 2, e->uid);
	sql_text(st, 3, e->kind);
	sql_text(st, 4, e->text);
	if (sql_done(s, st, "storing an event", err) == -1)
		return -1;
	if (sqlite3_last_insert_rowid(s->db) % TRIM_EACH != 0)
		return 0;
	st = sql_use(s, SQL_EVENTS_TRIM, err);
	if (st == NULL)
		return -1;
	sql_uid(st, 1, e->uid);
	sql_u64(st, 2, LIMIT_HUB_EVENTS);
	return sql_done(s, st, "dropping old events", err);
}

int
store_events(struct store *s, const uint8_t *uid, uint64_t before, size_t limit,
    int (*cb)(void *ctx, const struct event_row *e), void *ctx, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, uid == NULL ? SQL_EVENTS_ALL : SQL_EVENTS_OF, err);
	struct event_row e;
	int r;

	if (st == NULL)
		return -1;
	sql_u64(st, 1, before == 0 ? INT64_MAX : before);
	sql_u64(st, 2, limit);
	if (uid != NULL)
		sql_uid(st, 3, uid);
	while ((r = sql_row(s, st, "listing events", err)) == 1) {
		e.id = sql_number(st, 0);
		e.when = sql_number(st, 1);
		(void)sql_exact(st, 2, e.uid, sizeof(e.uid));
		e.kind = sql_bytes(st, 3);
		e.text = sql_bytes(st, 4);
		if (cb(ctx, &e) != 0) {
			r = 0;
			break;
		}
	}
	sql_end(st);
	return r;
}

/* ---- connection settings */

int
store_settings_new(struct store *s, struct settings_offer *o, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_SETTINGS_NEW, err);

	if (st == NULL)
		return -1;
	sql_text(st, 1, o->selector.data == NULL ? (struct bytes){"", 0} : o->selector);
	sql_blob(st, 2, o->body);
	sql_blob(st, 3, (struct bytes){(const char *)o->hash, sizeof(o->hash)});
	sql_u64(st, 4, o->created);
	sql_text(st, 5, o->author);
	if (sql_done(s, st, "storing connection settings", err) == -1)
		return -1;
	o->id = (uint64_t)sqlite3_last_insert_rowid(s->db);
	return 0;
}

int
store_settings_delete(struct store *s, uint64_t id, struct error *err)
{
	return delete_by_id(s, SQL_SETTINGS_DELETE, id, "deleting connection settings", err);
}

int
store_settings_list(struct store *s, int (*cb)(void *ctx, const struct settings_offer *o),
    void *ctx, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, SQL_SETTINGS_LIST, err);
	struct settings_offer o;
	int r;

	if (st == NULL)
		return -1;
	while ((r = sql_row(s, st, "listing connection settings", err)) == 1) {
		o.id = sql_number(st, 0);
		o.selector = sql_bytes(st, 1);
		o.body = sql_bytes(st, 2);
		(void)sql_exact(st, 3, o.hash, sizeof(o.hash));
		o.created = sql_number(st, 4);
		o.author = sql_bytes(st, 5);
		if (cb(ctx, &o) != 0) {
			r = 0;
			break;
		}
	}
	sql_end(st);
	return r;
}
