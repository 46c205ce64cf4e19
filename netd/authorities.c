/*
 * authorities.c: certificates that are looked up by their subject (see authorities.h).  netd.
 * The host's own file is trusted; what is looked for is a name in a certificate that a server sent.
 */
#include "authorities.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

struct authority {
	unsigned char *der; /* owned; NULL once it is in the store */
	long len;
	const unsigned char *subject; /* within */
	long subject_len;
};

struct authorities {
	X509_LOOKUP_METHOD *method;
	X509_STORE *store; /* not owned */
	struct authority *list;
	size_t count, size;
};

/* Over one value of DER, or into it; -1: it is none. */
static int
step(const unsigned char **p, const unsigned char *end, int tag, int into)
{
	const unsigned char *at = *p;
	long len;
	int found, class;

	if (at >= end || (ASN1_get_object(&at, &len, &found, &class, end - at) & 0x80) != 0 ||
	    found != tag || class != V_ASN1_UNIVERSAL || len > end - at)
		return -1;
	*p = into ? at : at + len;
	return 0;
}

/* Certificate, TBSCertificate: [0] version, serial number, signature, issuer, validity, subject. */
static int
find_subject(struct authority *a)
{
	const unsigned char *p = a->der, *end = p + a->len;

	if (step(&p, end, V_ASN1_SEQUENCE, 1) == -1 || step(&p, end, V_ASN1_SEQUENCE, 1) == -1)
		return -1;
	if (p + 1 < end && p[0] == 0xa0)
		p += 2 + p[1]; /* a version takes three bytes */
	if (step(&p, end, V_ASN1_INTEGER, 0) == -1 || step(&p, end, V_ASN1_SEQUENCE, 0) == -1 ||
	    step(&p, end, V_ASN1_SEQUENCE, 0) == -1 || step(&p, end, V_ASN1_SEQUENCE, 0) == -1)
		return -1;
	a->subject = p;
	if (step(&p, end, V_ASN1_SEQUENCE, 0) == -1)
		return -1;
	a->subject_len = p - a->subject;
	return 0;
}

static int
is_of(const struct authority *a, const X509_NAME *name)
{
	const unsigned char *p = a->subject;
	X509_NAME *own = d2i_X509_NAME(NULL, &p, a->subject_len);
	int same = own != NULL && X509_NAME_cmp(own, name) == 0;

	X509_NAME_free(own);
	return same;
}

static void
into_store(struct authorities *all, struct authority *a)
{
	const unsigned char *p = a->der;
	X509 *cert = d2i_X509(NULL, &p, a->len);

	if (cert != NULL)
		(void)X509_STORE_add_cert(all->store, cert);
	X509_free(cert);
	free(a->der);
	a->der = NULL;
	ERR_clear_error();
}

/* OpenSSL did not find the name in the store: all of that name are put there. */
static int
by_subject(X509_LOOKUP *lookup, X509_LOOKUP_TYPE type, const X509_NAME *name, X509_OBJECT *found)
{
	struct authorities *all = X509_LOOKUP_get_method_data(lookup);
	X509_OBJECT *object;
	X509 *cert;
	size_t i;
	int r = 0;

	if (type != X509_LU_X509)
		return 0;
	for (i = 0; i < all->count; i++)
		if (all->list[i].der != NULL && is_of(&all->list[i], name))
			into_store(all, &all->list[i]);
	if (X509_STORE_lock(all->store) != 1)
		return 0;
	object = X509_OBJECT_retrieve_by_subject(
	    X509_STORE_get0_objects(all->store), X509_LU_X509, name);
	cert = object == NULL ? NULL : X509_OBJECT_get0_X509(object);
	if (cert != NULL && X509_OBJECT_set1_X509(found, cert) == 1) {
		X509_free(cert); /* the store has it: who asked takes a reference of his own */
		r = 1;
	}
	(void)X509_STORE_unlock(all->store);
	return r;
}

static int
keep(struct authorities *all, const unsigned char *der, long len)
{
	struct authority *a;

	if (all->count == all->size) {
		a = reallocarray(all->list, all->size * 2 + 64, sizeof(*a));
		if (a == NULL)
			return -1;
		all->list = a;
		all->size = all->size * 2 + 64;
	}
	a = &all->list[all->count];
	*a = (struct authority){.der = malloc((size_t)len + 1), .len = len};
	if (a->der == NULL)
		return -1;
	memcpy(a->der, der, (size_t)len);
	all->count++;
	return find_subject(a);
}

static int
read_all(struct authorities *all, const char *text, const char *name, struct error *err)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	char *kind, *header;
	unsigned char *der;
	unsigned long e;
	long len;
	int r = bio == NULL ? error_set(err, "no memory for %s", name) : 0;

	while (r == 0 && PEM_read_bio(bio, &kind, &header, &der, &len) == 1) {
		if ((strcmp(kind, PEM_STRING_X509) == 0 || strcmp(kind, PEM_STRING_X509_OLD) == 0 ||
			strcmp(kind, PEM_STRING_X509_TRUSTED) == 0) &&
		    keep(all, der, len) == -1)
			r = error_set(
			    err, "%s: certificate %zu is none, or no memory", name, all->count);
		OPENSSL_free(kind);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	e = ERR_peek_last_error();
	if (r == 0 && (all->count == 0 || ERR_GET_REASON(e) != PEM_R_NO_START_LINE))
		r = error_set(err, "%s: %s", name,
		    all->count == 0 ? "no certificate (PEM) in it" : ERR_reason_error_string(e));
	ERR_clear_error();
	BIO_free(bio);
	return r;
}

int
authorities_add(X509_STORE *store, const char *text, const char *name, struct authorities **made,
    struct error *err)
{
	struct authorities *all = calloc(1, sizeof(*all));
	X509_LOOKUP *lookup;

	*made = all;
	if (all == NULL)
		return error_set(err, "no memory for %s", name);
	all->store = store;
	if (read_all(all, text, name, err) == -1)
		return -1;
	all->method = X509_LOOKUP_meth_new("opampd");
	if (all->method != NULL && X509_LOOKUP_meth_set_get_by_subject(all->method, by_subject) &&
	    (lookup = X509_STORE_add_lookup(store, all->method)) != NULL &&
	    X509_LOOKUP_set_method_data(lookup, all) == 1)
		return 0;
	ERR_clear_error();
	return error_set(err, "%s: no memory for looking its certificates up", name);
}

void
authorities_free(struct authorities *a)
{
	size_t i;

	if (a == NULL)
		return;
	for (i = 0; i < a->count; i++)
		free(a->list[i].der);
	free(a->list);
	X509_LOOKUP_meth_free(a->method);
	free(a);
}
