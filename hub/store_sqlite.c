/*
 * store_sqlite.c: the store in one SQLite database: opening it, its schema and migrations, and what
 * its parts share.  opamphub-store.  SQLite is told to trust nothing in the file but its form, to keep
 * its locks and its index of the log in memory, and to have every commit on the disk before it says so.
 */
#include "store_sqlite.h"

#include <stdlib.h>
#include <string.h>

#define FILE_NAME "hub.db"
#define CACHE_KIB 8192

/*
 * The schema as a list of steps: PRAGMA user_version says how many were taken.  A step that has been
 * in a release never changes; a new one goes at the end.
 */
static const char *const migrations[] = {
    "CREATE TABLE agents("
    " uid BLOB PRIMARY KEY NOT NULL, name TEXT, version TEXT, first_seen INTEGER NOT NULL,"
    " last_seen INTEGER NOT NULL, connected_since INTEGER NOT NULL, transport TEXT, address TEXT,"
    " credential TEXT, gone_why TEXT, capabilities INTEGER NOT NULL, healthy INTEGER NOT NULL,"
    " started INTEGER NOT NULL, last_error TEXT, status TEXT, config_status INTEGER NOT NULL,"
    " config_hash BLOB, config_error TEXT, due INTEGER NOT NULL, due_since INTEGER NOT NULL,"
    " components_hash BLOB, settings_status INTEGER NOT NULL, settings_hash BLOB,"
    " settings_error TEXT, parts INTEGER NOT NULL DEFAULT 0, search TEXT NOT NULL DEFAULT ''"
    ") WITHOUT ROWID;"
    "CREATE INDEX agents_name ON agents(name COLLATE NOCASE, uid);"
    "CREATE INDEX agents_components ON agents(components_hash);"
    "CREATE TABLE parts("
    " uid BLOB NOT NULL, part INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY(uid, part));"
    "CREATE TABLE attributes("
    " uid BLOB NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(uid, name, value)"
    ") WITHOUT ROWID;"
    "CREATE INDEX attributes_value ON attributes(name, value, uid);"
    "CREATE TABLE configurations("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, created INTEGER NOT NULL,"
    " deleted INTEGER NOT NULL DEFAULT 0);"
    "CREATE UNIQUE INDEX configurations_name ON configurations(name) WHERE deleted = 0;"
    "CREATE TABLE versions("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, configuration INTEGER NOT NULL REFERENCES "
    "configurations(id),"
    " number INTEGER NOT NULL, created INTEGER NOT NULL, author TEXT NOT NULL, comment TEXT NOT "
    "NULL,"
    " hash BLOB NOT NULL, files BLOB NOT NULL, UNIQUE(configuration, number));"
    "CREATE TABLE assignments("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL REFERENCES versions(id), uid "
    "BLOB,"
    " selector TEXT NOT NULL, created INTEGER NOT NULL, author TEXT NOT NULL);"
    "CREATE INDEX assignments_uid ON assignments(uid);"
    "CREATE TABLE events("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, uid BLOB NOT NULL, kind TEXT "
    "NOT NULL,"
    " text TEXT NOT NULL);"
    "CREATE INDEX events_uid ON events(uid, id);"
    "CREATE TABLE settings("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, selector TEXT NOT NULL, body BLOB NOT NULL, hash BLOB "
    "NOT NULL,"
    " created INTEGER NOT NULL, author TEXT NOT NULL);",
};

#define MIGRATIONS (sizeof(migrations) / sizeof(migrations[0]))

#define VERSION_COLUMNS "id, configuration, number, created, author, comment, hash"

static const char *const text_of[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_AGENT_PUT] =
	"INSERT INTO agents(" AGENT_COLUMNS ")"
	" VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,"
	"?21,?22,?23,?24) ON CONFLICT(uid) DO UPDATE SET"
	" name=?2, version=?3, last_seen=?5, connected_since=?6, transport=?7, address=?8,"
	" credential=?9, gone_why=?10, capabilities=?11, healthy=?12, started=?13,"
	" last_error=?14, status=?15, config_status=?16, config_hash=?17, config_error=?18,"
	" due=?19, due_since=?20, components_hash=?21, settings_status=?22,"
	" settings_hash=?23, settings_error=?24",
    /* not what has an index: it would be written anew, the same or not */
    [SQL_AGENT_UPDATE] =
	"UPDATE agents SET version=?3, last_seen=?5, connected_since=?6, transport=?7,"
	" address=?8, credential=?9, gone_why=?10, capabilities=?11, healthy=?12, started=?13,"
	" last_error=?14, status=?15, config_status=?16, config_hash=?17, config_error=?18,"
	" due=?19, due_since=?20, settings_status=?22, settings_hash=?23, settings_error=?24"
	" WHERE uid=?1",
    [SQL_AGENT_GET] = "SELECT " AGENT_COLUMNS ", parts FROM agents WHERE uid=?1",
    [SQL_AGENT_SEARCH] = "UPDATE agents SET search=?2 WHERE uid=?1",
    [SQL_AGENT_PARTS] = "UPDATE agents SET parts = parts | ?2 WHERE uid=?1 AND parts & ?2 = 0",
    [SQL_AGENT_DUE] = "UPDATE agents SET due=?2, due_since=?3 WHERE uid=?1",
    [SQL_AGENT_SEEN] = "UPDATE agents SET last_seen=?2 WHERE uid=?1",
    [SQL_AGENT_DELETE] = "DELETE FROM agents WHERE uid=?1",
    [SQL_AGENTS_GONE] = "UPDATE agents SET connected_since=0, gone_why='the hub was started anew'"
			" WHERE connected_since<>0",
    [SQL_AGENTS_COUNTS] =
	"SELECT count(*), coalesce(sum(connected_since<>0),0), coalesce(sum(healthy=1 AND "
	"connected_since<>0),0),"
	" coalesce(sum(healthy=0 AND connected_since<>0),0), coalesce(sum(config_status=1),0),"
	" coalesce(sum(config_status=2),0), coalesce(sum(config_status=3),0),"
	" coalesce(sum(due<>0 AND config_hash IS NOT (SELECT hash FROM versions WHERE id=due)),0)"
	" FROM agents",
    [SQL_PART_PUT] = "INSERT INTO parts(uid, part, body) VALUES(?1,?2,?3)"
		     " ON CONFLICT(uid, part) DO UPDATE SET body=?3",
    [SQL_PART_GET] = "SELECT body FROM parts WHERE uid=?1 AND part=?2",
    [SQL_PARTS_DELETE] = "DELETE FROM parts WHERE uid=?1",
    [SQL_ATTRIBUTE_ADD] = "INSERT OR IGNORE INTO attributes(uid, name, value) VALUES(?1,?2,?3)",
    [SQL_ATTRIBUTES_DELETE] = "DELETE FROM attributes WHERE uid=?1",
    [SQL_ATTRIBUTES_OF] = "SELECT name || '=' || value FROM attributes WHERE uid=?1",
    [SQL_COMPONENTS_KNOWN] = "SELECT body FROM agents JOIN parts USING(uid)"
			     " WHERE components_hash=?1 AND part=?2 LIMIT 1",
    [SQL_ATTRIBUTE_NAMES] = "SELECT name, count(*) AS n FROM attributes GROUP BY name"
			    " ORDER BY n DESC, name LIMIT ?1",
    [SQL_CONFIGURATION_NEW] = "INSERT INTO configurations(name, created) VALUES(?1,?2)",
    [SQL_CONFIGURATION_DELETE] = "UPDATE configurations SET deleted=1 WHERE id=?1 AND deleted=0",
    [SQL_CONFIGURATIONS] =
	"SELECT c.id, c.name, c.created, c.deleted, coalesce(max(v.id),0),"
	" count(v.id) FROM configurations c LEFT JOIN versions v"
	" ON v.configuration=c.id GROUP BY c.id ORDER BY c.name COLLATE NOCASE, c.id",
    [SQL_VERSION_NEXT] = "SELECT coalesce(max(number),0)+1 FROM versions WHERE configuration=?1",
    [SQL_VERSION_NEW] =
	"INSERT INTO versions(configuration, number, created, author, comment, hash,"
	" files) VALUES(?1,?2,?3,?4,?5,?6,?7)",
    [SQL_VERSION_GET] = "SELECT " VERSION_COLUMNS ", files FROM versions WHERE id=?1",
    [SQL_VERSIONS] = "SELECT " VERSION_COLUMNS ", NULL FROM versions WHERE configuration=?1"
		     " ORDER BY number DESC",
    [SQL_ASSIGNMENT_NEW] = "INSERT INTO assignments(version, uid, selector, created, author)"
			   " VALUES(?1,?2,?3,?4,?5)",
    [SQL_ASSIGNMENT_DELETE] = "DELETE FROM assignments WHERE id=?1",
    [SQL_ASSIGNMENTS_OF_DELETE] = "DELETE FROM assignments WHERE uid=?1",
    [SQL_ASSIGNMENTS] = "SELECT id, version, uid, selector, created, author FROM assignments"
			" ORDER BY id DESC",
    [SQL_EVENT_ADD] = "INSERT INTO events(time, uid, kind, text) VALUES(?1,?2,?3,?4)",
    [SQL_EVENTS_TRIM] = "DELETE FROM events WHERE uid=?1 AND id <= (SELECT id FROM events"
			" WHERE uid=?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    [SQL_EVENTS_OF_DELETE] = "DELETE FROM events WHERE uid=?1",
    [SQL_EVENTS_ALL] = "SELECT id, time, uid, kind, text FROM events WHERE id < ?1"
		       " ORDER BY id DESC LIMIT ?2",
    [SQL_EVENTS_OF] = "SELECT id, time, uid, kind, text FROM events WHERE uid=?3 AND id < ?1"
		      " ORDER BY id DESC LIMIT ?2",
    [SQL_SETTINGS_NEW] = "INSERT INTO settings(selector, body, hash, created, author)"
			 " VALUES(?1,?2,?3,?4,?5)",
    [SQL_SETTINGS_DELETE] = "DELETE FROM settings WHERE id=?1",
    [SQL_SETTINGS_LIST] = "SELECT id, selector, body, hash, created, author FROM settings"
			  " ORDER BY id DESC",
};

int
sql_fault(struct store *s, const char *what, struct error *err)
{
	const char *text = sqlite3_errmsg(s->db);
	int number =
	    (sqlite3_errcode(s->db) & 0xff) == SQLITE_IOERR ? sqlite3_system_errno(s->db) : 0;

	s->failed = 1;
	return number == 0 ? error_set(err, "%s: %s", what, text)
			   : error_set(err, "%s: %s: %s", what, text, strerror(number));
}

int
store_failed(struct store *s)
{
	int failed = s->failed;

	s->failed = 0;
	return failed;
}

sqlite3_stmt *
sql_use(struct store *s, enum statement which, struct error *err)
{
	sqlite3_stmt **st = &s->prepared[which];

	if (*st == NULL && sqlite3_prepare_v3(s->db, text_of[which], -1, SQLITE_PREPARE_PERSISTENT,
			       st, NULL) != SQLITE_OK) {
		(void)sql_fault(s, "preparing a statement of the store", err);
		return NULL;
	}
	sql_end(*st);
	return *st;
}

void
sql_end(sqlite3_stmt *st)
{
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
}

int
sql_row(struct store *s, sqlite3_stmt *st, const char *what, struct error *err)
{
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		return 1;
	case SQLITE_DONE:
		return 0;
	default:
		return sql_fault(s, what, err);
	}
}

int
sql_done(struct store *s, sqlite3_stmt *st, const char *what, struct error *err)
{
	int r = sql_row(s, st, what, err);

	sql_end(st);
	return r == -1 ? -1 : 0;
}

void
sql_text(sqlite3_stmt *st, int at, struct bytes b)
{
	if (b.data == NULL)
		(void)sqlite3_bind_null(st, at);
	else
		(void)sqlite3_bind_text64(
		    st, at, b.data, (sqlite3_uint64)b.len, SQLITE_STATIC, SQLITE_UTF8);
}

void
sql_blob(sqlite3_stmt *st, int at, struct bytes b)
{
	if (b.data == NULL)
		(void)sqlite3_bind_null(st, at);
	else
		(void)sqlite3_bind_blob64(st, at, b.data, (sqlite3_uint64)b.len, SQLITE_STATIC);
}

void
sql_uid(sqlite3_stmt *st, int at, const uint8_t uid[16])
{
	(void)sqlite3_bind_blob(st, at, uid, 16, SQLITE_STATIC);
}

void
sql_u64(sqlite3_stmt *st, int at, uint64_t n)
{
	(void)sqlite3_bind_int64(st, at, (sqlite3_int64)n);
}

struct bytes
sql_bytes(sqlite3_stmt *st, int column)
{
	struct bytes b = {NULL, 0};

	if (sqlite3_column_type(st, column) == SQLITE_NULL)
		return b;
	b.data = sqlite3_column_blob(st, column);
	b.len = (size_t)sqlite3_column_bytes(st, column);
	if (b.data == NULL)
		b.data = ""; /* empty is not absent */
	return b;
}

uint64_t
sql_number(sqlite3_stmt *st, int column)
{
	return (uint64_t)sqlite3_column_int64(st, column);
}

int
sql_exact(sqlite3_stmt *st, int column, void *out, size_t size)
{
	struct bytes b = sql_bytes(st, column);

	memset(out, 0, size);
	if (b.data == NULL || b.len != size)
		return 0;
	memcpy(out, b.data, size);
	return 1;
}

static int
run(struct store *s, const char *sql, const char *what, struct error *err)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
								       : sql_fault(s, what, err);
}

static int
version_of(struct store *s, uint64_t *version, struct error *err)
{
	sqlite3_stmt *st;
	int r = -1;

	if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK)
		return sql_fault(s, "reading the store's version", err);
	if (sqlite3_step(st) == SQLITE_ROW) {
		*version = sql_number(st, 0);
		r = 0;
	} else
		(void)sql_fault(s, "reading the store's version", err);
	(void)sqlite3_finalize(st);
	return r;
}

/* Each step and the number that tells of it are one transaction. */
static int
migrate(struct store *s, struct error *err)
{
	uint64_t version = 0;
	char mark[64];

	if (version_of(s, &version, err) == -1)
		return -1;
	if (version > MIGRATIONS)
		return error_set(err,
		    "the store was written by a newer opamphub (its form is %llu, this one knows "
		    "%zu): install that version, or use another directory",
		    (unsigned long long)version, MIGRATIONS);
	for (; version < MIGRATIONS; version++) {
		(void)sqlite3_snprintf(
		    sizeof(mark), mark, "PRAGMA user_version=%d", (int)version + 1);
		if (run(s, "BEGIN IMMEDIATE", "changing the store's form", err) == -1)
			return -1;
		if (run(s, migrations[version], "changing the store's form", err) == -1 ||
		    run(s, mark, "changing the store's form", err) == -1 ||
		    run(s, "COMMIT", "changing the store's form", err) == -1) {
			(void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
			return -1;
		}
	}
	return 0;
}

static int
prepare(struct store *s, struct error *err)
{
	char cache[64];

	(void)sqlite3_extended_result_codes(s->db, 1);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	(void)sqlite3_limit(s->db, SQLITE_LIMIT_ATTACHED, 0);
	(void)sqlite3_snprintf(sizeof(cache), cache, "PRAGMA cache_size=-%d", CACHE_KIB);
	/* exclusive before WAL: the index of the log is then in memory, not in a shared file */
	if (run(s, "PRAGMA locking_mode=EXCLUSIVE", "locking the store", err) == -1 ||
	    run(s, "PRAGMA journal_mode=WAL", "opening the store's log", err) == -1 ||
	    run(s, "PRAGMA synchronous=FULL", "opening the store", err) == -1 ||
	    run(s, "PRAGMA foreign_keys=ON", "opening the store", err) == -1 ||
	    run(s, "PRAGMA temp_store=MEMORY", "opening the store", err) == -1 ||
	    run(s, "PRAGMA mmap_size=0", "opening the store", err) == -1 ||
	    run(s, "PRAGMA wal_autocheckpoint=4000", "opening the store", err) == -1 ||
	    run(s, cache, "opening the store", err) == -1)
		return -1;
	return migrate(s, err);
}

struct store *
hub_store_open(const char *dir, struct error *err)
{
	struct store *s = calloc(1, sizeof(*s));
	char *path = sqlite3_mprintf("%s/" FILE_NAME, dir);

	if (s == NULL || path == NULL) {
		(void)error_set(err, "opening the store: out of memory");
		goto fail;
	}
	if (sqlite3_open_v2(path, &s->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW |
		    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
		NULL) != SQLITE_OK) {
		(void)error_set(
		    err, "%s: %s", path, s->db == NULL ? "out of memory" : sqlite3_errmsg(s->db));
		goto fail;
	}
	if (prepare(s, err) == -1) {
		(void)error_prefix(err, "%s", path);
		goto fail;
	}
	sqlite3_free(path);
	return s;
fail:
	sqlite3_free(path);
	hub_store_close(s);
	return NULL;
}

void
hub_store_close(struct store *s)
{
	size_t i;

	if (s == NULL)
		return;
	for (i = 0; i < SQL_COUNT; i++)
		(void)sqlite3_finalize(s->prepared[i]);
	(void)sqlite3_close(s->db);
	free(s);
}

static int
plain(struct store *s, enum statement which, const char *what, struct error *err)
{
	sqlite3_stmt *st = sql_use(s, which, err);

	return st == NULL ? -1 : sql_done(s, st, what, err);
}

int
store_begin(struct store *s, struct error *err)
{
	return plain(s, SQL_BEGIN, "beginning to store", err);
}

int
store_commit(struct store *s, struct error *err)
{
	return plain(s, SQL_COMMIT, "storing", err);
}

void
store_rollback(struct store *s)
{
	struct error err;

	if (!sqlite3_get_autocommit(s->db)) /* SQLite may have rolled back by itself */
		(void)plain(s, SQL_ROLLBACK, "undoing", &err);
}
