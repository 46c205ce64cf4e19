/*
 * fuzz_merge.c: opampd-merge's own reading of what confd, which may be taken over, hands it: the
 * parameters, the offer, local files in the wrong number.  What must hold: one answer, and a refusal says
 * why.  Input: u8 how (2: check, not compose; 4: the parameters are given raw; 8: so is the offer; 16:
 * there is no offer; 32: two of them; 64: the result to judge is given raw; 128: its
 * sum is wrong), then parts: u16 length (little end first) and bytes: the parameters (entries of u8 key, u8
 * length, bytes, unless raw), the offer (one file's body, unless raw), for check the result, then local
 * files.
 */
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "privsep/child.h"
#include "privsep/memfd.h"
#include "privsep/offer.h"
#include "privsep/record.h"
#include "confd/compose.h"

int merge_main(void);
static void *fuzz_own(void *p);
static int fuzz_add(struct expansion_list *l, const char *text, size_t len);
static int fuzz_offer(
    struct offer *o, const void *data, size_t len, size_t limit, struct error *err);
static int fuzz_finish(struct record_writer *w, char **data, size_t *len, struct error *err);
static void fuzz_answer(uint32_t status, size_t len);
static void fuzz_end(void) __attribute__((noreturn));

/* What a one-shot leaves to its end is freed by us after each input. */
#define main                               merge_main
#define calloc(n, size)                    fuzz_own(calloc(n, size))
#define strndup(text, n)                   fuzz_own(strndup(text, n))
#define record_string(r, key)              fuzz_own(record_string(r, key))
#define expansion_add(l, text, n)          fuzz_add(l, text, n)
#define offer_open(o, data, n, limit, err) fuzz_offer(o, data, n, limit, err)
#define record_finish(w, data, n, err)     fuzz_finish(w, data, n, err)
#define child_send_blob(c, to, type, a, tail, tail_len, data, len)                                 \
	((void)(data), fuzz_answer((a)->status, len))
#define child_exit(c, status) fuzz_end()
#include "confd/merge.c"
#undef main
#undef calloc
#undef strndup
#undef record_string
#undef expansion_add
#undef offer_open
#undef record_finish

#define OWNED 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	void *all[OWNED];
	size_t count;
	struct expansion_list *list;
	struct offer *offer;
} owned;
static jmp_buf end;
static int answers;

static void *
fuzz_own(void *p)
{
	if (owned.count == OWNED)
		abort();
	owned.all[owned.count++] = p;
	return p;
}

static int
fuzz_add(struct expansion_list *l, const char *text, size_t len)
{
	owned.list = l;
	return expansion_add(l, text, len);
}

static int
fuzz_offer(struct offer *o, const void *data, size_t len, size_t limit, struct error *err)
{
	int r = offer_open(o, data, len, limit, err);

	owned.offer = r == 0 ? o : NULL;
	return r;
}

static int
fuzz_finish(struct record_writer *w, char **data, size_t *len, struct error *err)
{
	int r = record_finish(w, data, len, err);

	if (r == -1)
		abort(); /* what merge makes fits */
	(void)fuzz_own(*data);
	return r;
}

static void
fuzz_answer(uint32_t status, size_t len)
{
	if (answers++ > 0 || (status != MERGE_DONE_OK && status != MERGE_REFUSED) ||
	    (status == MERGE_REFUSED && len == 0))
		abort();
}

/* The end of the one-shot, in its innermost function: what lies on its stack is still there. */
static void
fuzz_end(void)
{
	if (owned.list != NULL)
		expansion_list_free(owned.list);
	if (owned.offer != NULL)
		offer_close(owned.offer);
	owned.list = NULL;
	owned.offer = NULL;
	longjmp(end, 1);
}

struct bytes {
	const uint8_t *p;
	size_t left;
};

static size_t
part(struct bytes *in, const uint8_t **p)
{
	size_t n;

	*p = in->p;
	if (in->left < 2)
		return 0;
	n = (size_t)in->p[0] | (size_t)in->p[1] << 8;
	n = n < in->left - 2 ? n : in->left - 2;
	*p = in->p + 2;
	in->p += n + 2;
	in->left -= n + 2;
	return n;
}

static int
hand_over(const void *data, size_t len)
{
	int fd = memfd_seal("fuzz", data, len, NULL);

	if (fd == -1)
		abort();
	return fd;
}

static int
make_parameters(const uint8_t *p, size_t len)
{
	struct record_writer w = {0};
	size_t n;
	int fd;

	while (len >= 2) {
		n = p[1] < len - 2 ? p[1] : len - 2;
		record_put(&w, p[0] % (PARAM_CONFIG_LIMIT + 2), 0, 0, p + 2, n);
		p += 2 + n;
		len -= 2 + n;
	}
	fd = record_finish_memfd(&w, "parameters", NULL);
	if (fd == -1)
		abort();
	return fd;
}

/* The bytes as the first merge hands them on. */
static int
make_result(const uint8_t *p, size_t len, int with_sum)
{
	struct record_writer w = {0};
	int fd;

	record_put(&w, RESULT_EFFECTIVE, 0, 0, p, len);
	if (with_sum)
		record_put_u64(&w, RESULT_SUM, 4711); /* not its */
	fd = record_finish_memfd(&w, "result", NULL);
	if (fd == -1)
		abort();
	return fd;
}

static int
make_offer(const uint8_t *p, size_t len)
{
	struct offer_file f = {.name = {"a", 1}, .body = {(const char *)p, len}};
	struct offer o = {.hash = {"h", 1}, .count = 1, .files = &f};
	char *data;
	size_t n;
	int fd;

	if (offer_pack(&o, LIMIT_CONFIG_BYTES, &data, &n, NULL) == -1)
		abort();
	fd = hand_over(data, n);
	free(data);
	return fd;
}

/* As they come by the channel, through take_file. */
static void
give(struct merge *me, uint32_t kind, uint32_t index, int fd)
{
	struct msg_file f = {.kind = kind, .index = index};
	struct message m = {.type = MSG_CHILD_FILE, .payload = &f, .fd = fd};

	(void)take_file(me, &m);
	if (m.fd >= 0)
		close(m.fd);
}

static void
drop(struct input *in)
{
	memfd_view_end(&in->view);
	if (in->fd < 0)
		return; /* its data was the view's, or is calloc's: owned */
	free(in->data);
	close(in->fd);
}

static void
clean(struct merge *me)
{
	size_t i;

	drop(&me->parameters);
	drop(&me->remote);
	drop(&me->emitted);
	for (i = 0; i < LIMIT_CONFIG_FILES; i++)
		drop(&me->local[i]);
	while (owned.count > 0)
		free(owned.all[--owned.count]);
}

static void
hand_all(struct merge *me, uint8_t how, struct bytes *in)
{
	const uint8_t *p;
	size_t n = part(in, &p);
	uint32_t i;

	give(me, FILE_PARAMETERS, 0, how & 4 ? hand_over(p, n) : make_parameters(p, n));
	n = part(in, &p);
	if (!(how & 16))
		give(me, FILE_REMOTE, 0, how & 8 ? hand_over(p, n) : make_offer(p, n));
	if (how & 2) {
		n = part(in, &p);
		give(
		    me, FILE_EMITTED, 0, how & 64 ? hand_over(p, n) : make_result(p, n, how & 128));
	}
	for (i = 0; in->left > 2 && i < 8; i++) {
		n = part(in, &p);
		give(me, how & 32 && i == 1 ? FILE_REMOTE : FILE_LOCAL, i, hand_over(p, n));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct merge me;
	struct bytes in = {data + 1, size - 1};
	size_t i;

	if (size == 0)
		return 0;
	memset(&me, 0, sizeof(me));
	me.settings.fd = me.passwd.fd = me.group.fd = me.environment.fd = -1;
	me.remote.fd = me.parameters.fd = me.emitted.fd = -1;
	for (i = 0; i < LIMIT_CONFIG_FILES; i++)
		me.local[i].fd = -1;
	me.child.start.merge_kind = data[0] & 2 ? MERGE_CHECK : MERGE_COMPOSE;
	hand_all(&me, data[0], &in);
	answers = 0;
	if (setjmp(end) == 0)
		configuration(&me);
	if (answers != 1)
		abort();
	clean(&me);
	return 0;
}
