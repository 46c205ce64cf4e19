/*
 * setup.h: what the hub's parent hands to the two processes it starts: descriptors at fixed numbers,
 * and one sealed record.  opamphub, opamphub-front, opamphub-store.
 */
#ifndef HUB_SETUP_H
#define HUB_SETUP_H

#include "privsep/error.h"
#include "privsep/record.h"

#define SETUP_FD_FRAMES   3 /* the conversation between front and store */
#define SETUP_FD_LISTENER 4 /* front: agents; store: page and API */
#define SETUP_FD_RECORD   5 /* a sealed memfd with the keys below */
#define SETUP_FD_ALIVE                                                                             \
	6 /* a pipe: it ends when the parent does; "r" is written when we are ready */
#define SETUP_FD_STORE 7 /* store: its directory; front: nothing */
#define SETUP_FD_COUNT 5

enum setup_key {
	SETUP_NOTHING,
	SETUP_LOG_LEVEL,
	SETUP_UID, /* ids to become; absent: keep */
	SETUP_GID,
	SETUP_TLS_CERT, /* PEM; absent: no TLS */
	SETUP_TLS_KEY,
	SETUP_CLIENT_CA, /* PEM: client certificates are demanded */
	SETUP_TOKEN,     /* many: "name token"; none: nobody has to show one */
	SETUP_MESSAGE_LIMIT,
	SETUP_MAX_AGENTS,
	SETUP_SILENCE, /* seconds without a word, after which an agent is gone */
	SETUP_CUSTOM,  /* many: custom capabilities that the hub announces */
	SETUP_STORE,   /* store: its directory */
	SETUP_LISTEN,  /* store: the address and port of the page, as it was given */
	SETUP_HOST,    /* store, many: names by which the page may be asked for */
};

struct setup {
	struct record record;
	char *data;
};

/*
 * The beginning of either process, before its sandbox: its log, what libraries would open files for
 * later, and SETUP_FD_RECORD, checked, which lives as long as the setup.  Fatal on any error.
 */
void setup_begin(struct setup *s, const char *name);

/* The word to the parent: the sandbox is in force, and we serve. */
void setup_ready(void);

/* The name of the token (not terminated, borrowed) that is shown, or -1: none of them.  Constant time. */
int setup_token(const struct setup *s, const char *shown, const char **name, size_t *name_len);
int setup_has_tokens(const struct setup *s);

/* "Bearer x" of an Authorization header: x, or NULL. */
const char *setup_bearer(const char *authorization);

#endif
