/*
 * link_secret.h: the secrets by which a connection shows which start of the agent it belongs to,
 * and the table of the starts that live.  link.
 * A secret leaves this process in one way: as the sealed file that becomes part of the agent's
 * configuration (I12).
 */
#ifndef NETD_LINK_SECRET_H
#define NETD_LINK_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "privsep/error.h"
#include "privsep/link_file.h"

#define LINK_SECRET_BYTES  32
#define LINK_SECRET_LEN    (2 * LINK_SECRET_BYTES) /* hexadecimal digits */
#define LINK_SECRET_HEADER LINK_FILE_HEADER
#define LINK_STARTS        16 /* that may live at once, or have a secret and be about to */

struct link_start {
	uint32_t start; /* 0 = free */
	uint32_t kind;  /* enum agent_kind */
	uint32_t uid;
	int begun;                        /* LINK_BEGUN came */
	char secret[LINK_SECRET_LEN + 1]; /* "" = it has none */
};

struct link_secrets {                   /* zero-initialise */
	char next[LINK_SECRET_LEN + 1]; /* given to the parent for the next start; "" = none */
	struct link_start starts[LINK_STARTS];
};

/*
 * Makes the next secret if there is none.  Gives the sealed memfd for the parent, -1 on an error,
 * or -2 when one is outstanding.
 */
int link_secrets_next(struct link_secrets *s, struct error *err);

/* LINK_SECRET: what a predecessor made; start 0 = the one outstanding. */
int link_secrets_given(struct link_secrets *s, uint32_t start, int fd, struct error *err);

/*
 * LINK_BEGUN.  A start of kind AGENT_RUN takes the outstanding secret, unless LINK_SECRET gave it
 * one.  NULL: too many, or a number that was there before.
 */
struct link_start *link_secrets_begun(
    struct link_secrets *s, uint32_t start, uint32_t kind, uint32_t uid, struct error *err);

/* LINK_ENDED: its secret is worth nothing any more. */
void link_secrets_ended(struct link_secrets *s, uint32_t start);

struct link_start *link_secrets_start(struct link_secrets *s, uint32_t start);

/*
 * The living start that presented is the secret of, if uid is its user; NULL otherwise.  Takes the
 * same time whatever is wrong with it.
 */
struct link_start *link_secrets_find(
    struct link_secrets *s, const char *presented, size_t len, uint32_t uid);

/* Is there a living start of this user? */
int link_secrets_expects(const struct link_secrets *s, uint32_t uid);

/* Is there a living start of this kind? */
int link_secrets_lives(const struct link_secrets *s, uint32_t kind);

#endif
