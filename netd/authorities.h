/*
 * authorities.h: the host's certificate authorities, some 140, of which one is needed: each is taken apart only
 * when a server's certificate names it.  That saves netd 15 ms at its start and 0.8 MB of memory.  netd.
 */
#ifndef NETD_AUTHORITIES_H
#define NETD_AUTHORITIES_H

#include <openssl/x509_vfy.h>

#include "privsep/error.h"

struct authorities;

/*
 * The certificates of a PEM text (name: where it came from, for messages); at least one must be there.  They are
 * found by the store from now on, which must have no others.  *made is to be freed in any case.
 */
int authorities_add(X509_STORE *store, const char *text, const char *name,
    struct authorities **made, struct error *err);

/* After the store; NULL is fine. */
void authorities_free(struct authorities *a);

#endif
