/*
 * msan.c: part of every test program of a MemorySanitizer build (SAN=memory), and of nothing else: says what the libraries
 * wrote, which are not instrumented.  Not instrumented itself.
 *
 * What a library allocates counts as written, what we allocate does not.  What a library writes into memory of ours (an
 * out parameter, a buffer) is said to be written once the call is over: one WRAP for each such function that we call; the
 * Makefile has the linker's --wrap from the names.  A function that is forgotten here is a false report, not a silent one.
 * Data go through memcpy, which is the sanitizer's own: bytes of ours that were never written stay so inside a library.
 */
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sanitizer/allocator_interface.h>
#include <sanitizer/msan_interface.h>

#include <dirent.h>
#include <jansson.h>
#include <linux/capability.h>
#include <malloc.h>
#include <protobuf-c/protobuf-c.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>
#include <zlib.h>

void __sanitizer_malloc_hook(const volatile void *p, size_t size);

/* called for each allocation, whoever's it is; ours are unset once more by the wrapped malloc and realloc */
void
__sanitizer_malloc_hook(const volatile void *p, size_t size)
{
	__msan_unpoison(p, size);
}

static void
written(const void *p, size_t len)
{
	if (p != NULL)
		__msan_unpoison(p, len);
}

/*
 * A library's frames come to lie where ours have been: what ours left unset there is not of theirs.
 */
static __attribute__((noinline)) void
fresh_stack(void)
{
	char below[32768];

	__msan_unpoison(below, sizeof(below));
}

/* The function `name` as our objects call it: the real one's result is `r` to what follows the call, and what it gives. */
#define WRAP(type, name, params, args, then)                                                       \
	type __real_##name params;                                                                 \
	type __wrap_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		type r = (fresh_stack(), __real_##name args);                                      \
                                                                                                   \
		then;                                                                              \
		return r;                                                                          \
	}
#define ONE(p) written(p, sizeof(*(p)))

/* libc, what the sanitizer does not know */
WRAP(ssize_t, getdents64, (int fd, void *buf, size_t len), (fd, buf, len),
    if (r > 0) written(buf, (size_t)r))
WRAP(
    int, statx, (int d, const char *p, int f, unsigned m, struct statx *s), (d, p, f, m, s), ONE(s))
WRAP(char *, strtok_r, (char *s, const char *by, char **rest), (s, by, rest), ONE(rest))
WRAP(struct mallinfo2, mallinfo2, (void), (), ONE(&r))

/* libevent */
WRAP(
    int, evbuffer_read, (struct evbuffer * b, evutil_socket_t fd, int most), (b, fd, most), (void)0)
WRAP(int, evbuffer_write, (struct evbuffer * b, evutil_socket_t fd), (b, fd), (void)0)
WRAP(int, evbuffer_reserve_space,
    (struct evbuffer * b, ev_ssize_t n, struct evbuffer_iovec *v, int most), (b, n, v, most),
    if (r > 0) written(v, (size_t)r * sizeof(*v)))
WRAP(int, event_pending, (const struct event *e, short what, struct timeval *at), (e, what, at),
    written(at, at == NULL ? 0 : sizeof(*at)))

/* libyaml, protobuf-c, jansson, zlib */
WRAP(int, yaml_parser_initialize, (yaml_parser_t * p), (p), ONE(p))
WRAP(int, yaml_parser_parse, (yaml_parser_t * p, yaml_event_t *e), (p, e), ONE(e); ONE(p))
WRAP(int, yaml_emitter_emit, (yaml_emitter_t * m, yaml_event_t *e), (m, e), (void)0)
WRAP(size_t, protobuf_c_message_pack, (const ProtobufCMessage *m, uint8_t *out), (m, out),
    written(out, r))
WRAP(json_t *, json_loadb, (const char *s, size_t n, size_t f, json_error_t *e), (s, n, f, e),
    ONE(e))
WRAP(int, deflateInit2_, (z_stream * z, int a, int b, int c, int d, int e, const char *v, int n),
    (z, a, b, c, d, e, v, n), ONE(z))
WRAP(int, inflateInit2_, (z_stream * z, int bits, const char *v, int n), (z, bits, v, n), ONE(z))

/* SQLite */
WRAP(int, sqlite3_open_v2, (const char *f, sqlite3 **db, int flags, const char *vfs),
    (f, db, flags, vfs), ONE(db))
WRAP(int, sqlite3_prepare_v2,
     (sqlite3 * db, const char *q, int n, sqlite3_stmt **s, const char **t), (db, q, n, s, t),
     ONE(s);
     ONE(t))
WRAP(int, sqlite3_prepare_v3,
     (sqlite3 * db, const char *q, int n, unsigned f, sqlite3_stmt **s, const char **t),
     (db, q, n, f, s, t), ONE(s);
     ONE(t))
WRAP(int, sqlite3_exec,
    (sqlite3 * db, const char *q, int (*f)(void *, int, char **, char **), void *c, char **e),
    (db, q, f, c, e), ONE(e))

WRAP(int, sqlite3_step, (sqlite3_stmt * s), (s), (void)0)
WRAP(int, sqlite3_close, (sqlite3 * db), (db), (void)0)

/* OpenSSL; SHA-256 is all that we hash with */
WRAP(int, EVP_Digest,
     (const void *p, size_t n, unsigned char *md, unsigned *len, const EVP_MD *t, ENGINE *e),
     (p, n, md, len, t, e), written(md, 32);
     ONE(len))
WRAP(int, EVP_DigestFinal_ex, (EVP_MD_CTX * c, unsigned char *md, unsigned *len), (c, md, len),
     written(md, 32);
     ONE(len))
WRAP(unsigned char *, HMAC,
     (const EVP_MD *t, const void *k, int kn, const unsigned char *d, size_t n, unsigned char *md,
	 unsigned *len),
     (t, k, kn, d, n, md, len), written(md, 32);
     ONE(len))
WRAP(int, RAND_bytes, (unsigned char *p, int n), (p, n), written(p, (size_t)n))
WRAP(ASN1_TIME *, X509_gmtime_adj, (ASN1_TIME * t, long by), (t, by), (void)0)
WRAP(long, BIO_ctrl, (BIO * b, int what, long n, void *p), (b, what, n, p),
    if (what == BIO_CTRL_INFO) written(p, sizeof(void *)))
WRAP(int, SSL_read, (SSL * s, void *p, int n), (s, p, n), if (r > 0) written(p, (size_t)r))
WRAP(int, X509_NAME_get_text_by_NID, (const X509_NAME *x, int nid, char *p, int n), (x, nid, p, n),
    if (r >= 0) written(p, (size_t)r + 1))
WRAP(int, ASN1_get_object, (const unsigned char **p, long *n, int *tag, int *cls, long most),
     (p, n, tag, cls, most), ONE(n);
     ONE(tag); ONE(cls))
WRAP(int, PEM_read_bio, (BIO * b, char **name, char **head, unsigned char **d, long *n),
     (b, name, head, d, n), ONE(name);
     ONE(head); ONE(d); ONE(n))

/* ---- those that take more than a line */
#define DECLARE(type, name, params)                                                                \
	type __real_##name params;                                                                 \
	type __wrap_##name params;
DECLARE(void *, malloc, (size_t size))
void *__interceptor_realloc(void *old, size_t size);
DECLARE(void *, realloc, (void *old, size_t size))
DECLARE(void *, reallocarray, (void *old, size_t n, size_t size))
DECLARE(long, syscall, (long number, ...))
DECLARE(int, evbuffer_peek,
    (struct evbuffer * b, ev_ssize_t n, struct evbuffer_ptr *at, struct evbuffer_iovec *v,
	int most))
DECLARE(int, deflate, (z_stream * z, int flush))
DECLARE(int, inflate, (z_stream * z, int flush))
DECLARE(char *, sqlite3_snprintf, (int n, char *p, const char *format, ...))
DECLARE(void, json_set_alloc_funcs, (json_malloc_t take, json_free_t give))
void *
__wrap_malloc(size_t size)
{
	void *p = __real_malloc(size);

	if (p != NULL)
		__msan_allocated_memory(p, size);
	return p;
}

/* say: what is said of the bytes that it has more than before */
static void *
resized(void *old, size_t size, void (*say)(const volatile void *, size_t))
{
	size_t had = old == NULL ? 0 : __sanitizer_get_allocated_size(old);
	char *p = __interceptor_realloc(old, size);

	if (p != NULL && size > had)
		say(p + had, size - had);
	return p;
}

void *
__wrap_realloc(void *old, size_t size)
{
	return resized(old, size, __msan_allocated_memory);
}

void *
__wrap_reallocarray(void *old, size_t n, size_t size)
{
	size_t whole;

	return __builtin_mul_overflow(n, size, &whole) ? NULL : __wrap_realloc(old, whole);
}

long
__wrap_syscall(long number, ...)
{
	long a[6], r;
	va_list ap;
	size_t i;

	va_start(ap, number);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	r = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (r != -1 && number == SYS_socketpair)
		written((void *)a[3], 2 * sizeof(int));
	if (r != -1 && number == SYS_capget)
		written((void *)a[1], 2 * sizeof(struct __user_cap_data_struct));
	return r;
}

/* a library's: what grew in its place is written, too */
void *
realloc(void *old, size_t size)
{
	return resized(old, size, __msan_unpoison);
}

/* the vectors are libevent's, from an event's callback; what they point to is judged */
ssize_t __interceptor_readv(int fd, const struct iovec *v, int n);
ssize_t __interceptor_writev(int fd, const struct iovec *v, int n);

ssize_t
readv(int fd, const struct iovec *v, int n)
{
	written(v, (size_t)n * sizeof(*v));
	return __interceptor_readv(fd, v, n);
}

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	written(v, (size_t)n * sizeof(*v));
	return __interceptor_writev(fd, v, n);
}

int
__wrap_evbuffer_peek(
    struct evbuffer *b, ev_ssize_t n, struct evbuffer_ptr *at, struct evbuffer_iovec *v, int most)
{
	int r = __real_evbuffer_peek(b, n, at, v, most);

	if (r > 0)
		written(v, (size_t)(r < most ? r : most) * sizeof(*v));
	return r;
}

static int
through(int (*real)(z_stream *z, int flush), z_stream *z, int flush)
{
	unsigned char *out = z->next_out;
	int r = real(z, flush);

	written(out, (size_t)(z->next_out - out));
	return r;
}

int
__wrap_deflate(z_stream *z, int flush)
{
	return through(__real_deflate, z, flush);
}

int
__wrap_inflate(z_stream *z, int flush)
{
	return through(__real_inflate, z, flush);
}

char *
__wrap_sqlite3_snprintf(int n, char *p, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)sqlite3_vsnprintf(n, p, format, ap);
	va_end(ap);
	written(p, (size_t)n);
	return p;
}

/* what our allocator gives jansson is jansson's */
static json_malloc_t jansson_take;

static void *
take(size_t size)
{
	void *p = jansson_take(size);

	written(p, size);
	return p;
}

void
__wrap_json_set_alloc_funcs(json_malloc_t taking, json_free_t giving)
{
	jansson_take = taking;
	__real_json_set_alloc_funcs(take, giving);
}
