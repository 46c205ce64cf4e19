/*
 * store_sqlite.h: what the parts of the SQLite store share.  opamphub-store; included by hub/store_*.c
 * and by nobody else.
 */
#ifndef HUB_STORE_SQLITE_H
#define HUB_STORE_SQLITE_H

#include <sqlite3.h>

#include "store.h"

/* As agent_of reads them; "parts" comes after. */
#define AGENT_COLUMNS                                                                              \
	"uid, name, version, first_seen, last_seen, connected_since, transport, address,"          \
	" credential, gone_why, capabilities, healthy, started, last_error, status,"               \
	" config_status, config_hash, config_error, due, due_since, components_hash,"              \
	" settings_status, settings_hash, settings_error"

/* One line for each statement that is kept prepared. */
enum statement {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_AGENT_PUT,
	SQL_AGENT_UPDATE,
	SQL_AGENT_GET,
	SQL_AGENT_SEARCH,
	SQL_AGENT_PARTS,
	SQL_AGENT_DUE,
	SQL_AGENT_SEEN,
	SQL_AGENT_DELETE,
	SQL_AGENTS_GONE,
	SQL_AGENTS_COUNTS,
	SQL_PART_PUT,
	SQL_PART_GET,
	SQL_PARTS_DELETE,
	SQL_ATTRIBUTE_ADD,
	SQL_ATTRIBUTES_DELETE,
	SQL_ATTRIBUTES_OF,
	SQL_ATTRIBUTE_NAMES,
	SQL_COMPONENTS_KNOWN,
	SQL_CONFIGURATION_NEW,
	SQL_CONFIGURATION_DELETE,
	SQL_CONFIGURATIONS,
	SQL_VERSION_NEXT,
	SQL_VERSION_NEW,
	SQL_VERSION_GET,
	SQL_VERSIONS,
	SQL_ASSIGNMENT_NEW,
	SQL_ASSIGNMENT_DELETE,
	SQL_ASSIGNMENTS_OF_DELETE,
	SQL_ASSIGNMENTS,
	SQL_EVENT_ADD,
	SQL_EVENTS_TRIM,
	SQL_EVENTS_OF_DELETE,
	SQL_EVENTS_ALL,
	SQL_EVENTS_OF,
	SQL_SETTINGS_NEW,
	SQL_SETTINGS_DELETE,
	SQL_SETTINGS_LIST,
	SQL_COUNT
};

struct store {
	sqlite3 *db;
	sqlite3_stmt *prepared[SQL_COUNT];
	int failed; /* for store_failed */
};

/* The statement, reset and without bindings; NULL with err. */
sqlite3_stmt *sql_use(struct store *s, enum statement which, struct error *err);

/* Steps one that gives no row, and resets it.  what: "storing an agent", for the message. */
int sql_done(struct store *s, sqlite3_stmt *st, const char *what, struct error *err);

/* Steps: 1 a row, 0 no more, -1 err.  Reset it when done (sql_end). */
int sql_row(struct store *s, sqlite3_stmt *st, const char *what, struct error *err);
void sql_end(sqlite3_stmt *st);

/* Binding cannot fail but for memory, which the step then tells. */
void sql_text(sqlite3_stmt *st, int at, struct bytes b); /* NULL data: NULL */
void sql_blob(sqlite3_stmt *st, int at, struct bytes b);
void sql_uid(sqlite3_stmt *st, int at, const uint8_t uid[16]);
void sql_u64(sqlite3_stmt *st, int at, uint64_t n);

struct bytes sql_bytes(sqlite3_stmt *st, int column);
uint64_t sql_number(sqlite3_stmt *st, int column);
/* 0 when the column has not exactly size bytes; out is then zero. */
int sql_exact(sqlite3_stmt *st, int column, void *out, size_t size);

int sql_fault(struct store *s, const char *what, struct error *err);

#endif
