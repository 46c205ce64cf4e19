/*
 * hublook.c: opens stores of opamphub as opamphub-store does at its start, and tells what is in them.  Tests only.
 *
 *	hublook < list of directories, a line each
 *	hublook DIRECTORY        all the rows, to be read by people
 *
 * For each directory one line: "whole" and a digest of each table's rows in the form TABLE=DIGEST, or
 * "broken" and why it cannot be used.  Times are left out, and what changes with every start: who is connected.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/evp.h>

#include "hub/store_sqlite.h"

static const struct table {
	const char *name, *query;
} tables[] = {
    {"form", "PRAGMA user_version"},
    {"agents",
	"SELECT uid, name, version, capabilities, healthy, last_error, status, config_status,"
	" config_hash, config_error, due, due_since<>0, components_hash, settings_status,"
	" settings_hash, settings_error, parts, search FROM agents ORDER BY uid"},
    /* the agent says when it was started */
    {"parts",
	"SELECT uid, part, CASE part WHEN 2 THEN '' ELSE body END FROM parts ORDER BY uid, part"},
    {"attributes", "SELECT uid, name, value FROM attributes ORDER BY uid, name, value"},
    {"configurations", "SELECT id, name, deleted FROM configurations ORDER BY id"},
    {"versions", "SELECT id, configuration, number, author, comment, hash, files FROM versions"
		 " ORDER BY id"},
    {"assignments", "SELECT id, version, uid, selector, author FROM assignments ORDER BY id"},
    {"events", "SELECT uid, kind, text FROM events WHERE kind IN ('applied', 'applying', 'failed')"
	       " ORDER BY id"},
    {"settings", "SELECT id, selector, body, hash, author FROM settings ORDER BY id"},
};

struct look {
	struct store *store;
	EVP_MD_CTX *hash;
	int aloud;
};

static void
put_row(struct look *l, sqlite3_stmt *st)
{
	struct bytes b;
	size_t i;
	int c;

	for (c = 0; c < sqlite3_column_count(st); c++) {
		b = sql_bytes(st, c);
		(void)EVP_DigestUpdate(l->hash, &b.len, sizeof(b.len));
		(void)EVP_DigestUpdate(l->hash, b.data, b.len);
		for (i = 0; l->aloud && i < b.len; i++)
			printf(b.data[i] >= ' ' && b.data[i] < 127 ? "%c" : "\\%02x",
			    (unsigned char)b.data[i]);
		if (l->aloud)
			printf("%c", c + 1 < sqlite3_column_count(st) ? '|' : '\n');
	}
}

/* 0, or -1: it cannot be read. */
static int
look_at(struct look *l, const struct table *t)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	sqlite3_stmt *st;
	unsigned i;
	int r;

	if (sqlite3_prepare_v2(l->store->db, t->query, -1, &st, NULL) != SQLITE_OK)
		return -1;
	(void)EVP_DigestInit_ex(l->hash, EVP_sha256(), NULL);
	if (l->aloud)
		printf("-- %s\n", t->name);
	while ((r = sqlite3_step(st)) == SQLITE_ROW)
		put_row(l, st);
	(void)sqlite3_finalize(st);
	(void)EVP_DigestFinal_ex(l->hash, digest, NULL);
	if (r == SQLITE_DONE && !l->aloud) {
		printf(" %s=", t->name);
		for (i = 0; i < 8; i++)
			printf("%02x", digest[i]);
	}
	return r == SQLITE_DONE ? 0 : -1;
}

/* What SQLite itself finds wrong in all of its pages, indexes and references. */
static int
is_sound(struct store *s)
{
	sqlite3_stmt *st;
	int sound = 0;

	if (sqlite3_prepare_v2(s->db, "PRAGMA integrity_check", -1, &st, NULL) == SQLITE_OK)
		sound = sqlite3_step(st) == SQLITE_ROW && sql_bytes(st, 0).len == 2;
	(void)sqlite3_finalize(st);
	if (sqlite3_prepare_v2(s->db, "PRAGMA foreign_key_check", -1, &st, NULL) == SQLITE_OK)
		sound &= sqlite3_step(st) == SQLITE_DONE;
	(void)sqlite3_finalize(st);
	return sound;
}

static void
look(const char *directory, int aloud)
{
	struct look l = {.aloud = aloud, .hash = EVP_MD_CTX_new()};
	struct error error;
	size_t i;

	l.store = hub_store_open(directory, &error);
	if (l.store == NULL) {
		printf("broken %s\n", error.text);
	} else if (!is_sound(l.store)) {
		printf("broken SQLite finds it damaged\n");
	} else {
		printf("whole");
		for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
			if (look_at(&l, &tables[i]) == -1)
				printf(" %s=%s", tables[i].name, sqlite3_errmsg(l.store->db));
		printf("\n");
	}
	hub_store_close(l.store);
	(void)fflush(stdout);
	EVP_MD_CTX_free(l.hash);
}

int
main(int argc, char **argv)
{
	char line[4096];

	(void)umask(077);
	if (argc == 2) {
		look(argv[1], 1);
		return 0;
	}
	if (argc != 1)
		errx(2, "usage: hublook < directories | hublook DIRECTORY");
	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		look(line, 0);
	}
	return 0;
}
