/*
 * store_state.c: the one record of what is committed and what is on trial (see store.h).  confd only.
 * Two slots in a file that has its full size from the start, written by turns: a write that is cut
 * off by a power loss hits the slot that does not count, and one that finds a full disk needs no
 * new block.
 */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS       2
#define STATE_MAGIC "OPAMPst1"
#define READ_TRIES  3                /* of a generation, before it counts as damaged */
#define MOST_NEXT   1000000000000ull /* numbers of generations have at most twelve digits */

_Static_assert(SLOTS *STORE_SLOT <= LIMIT_STATE_FILE, "the record's file");
_Static_assert(sizeof(struct store_state) + 256 < STORE_SLOT, "a slot holds a record");

static void __attribute__((format(printf, 3, 4)))
tell(char *told, size_t size, const char *fmt, ...)
{
	size_t used = strlen(told);
	va_list ap;

	if (used > 0 && used + 2 < size) {
		memcpy(told + used, "; ", 3);
		used += 2;
	}
	va_start(ap, fmt);
	(void)vsnprintf(told + used, size - used, fmt, ap);
	va_end(ap);
}

static int
is_valid(const struct store_state *st)
{
	return st->phase <= PHASE_TRIAL && (st->phase != PHASE_TRIAL || st->trial != 0) &&
	       st->stopped <= 1 && st->passing <= 1 && st->status <= CONFIG_FAILED &&
	       st->hash_len <= sizeof(st->hash) && st->message_len <= sizeof(st->message) &&
	       st->next > st->committed && st->next > st->trial && st->next <= MOST_NEXT;
}

static int
pack_state(struct pack *p, const struct store_state *st, uint64_t sequence)
{
	pack_begin(p, STATE_MAGIC);
	pack_u64(p, sequence);
	pack_u64(p, st->committed);
	pack_u64(p, st->phase == PHASE_TRIAL ? st->trial : 0);
	pack_u32(p, st->phase);
	pack_u32(p, st->stopped);
	pack_u64(p, st->next);
	pack_u32(p, st->status);
	pack_u32(p, st->passing);
	pack_u64(p, st->failed_at_ns);
	pack_bytes(p, st->hash, st->hash_len);
	pack_bytes(p, st->message, st->message_len);
	pack_u64(p, st->sum);
	return pack_finish(p);
}

int
store_state_parse(const void *data, size_t len, struct store_state *st, uint64_t *sequence)
{
	const void *hash, *message;
	size_t hash_len, message_len;
	struct unpack u;

	memset(st, 0, sizeof(*st));
	if (unpack_begin(&u, STATE_MAGIC, data, len) == -1)
		return 0;
	*sequence = unpack_u64(&u);
	st->committed = unpack_u64(&u);
	st->trial = unpack_u64(&u);
	st->phase = unpack_u32(&u);
	st->stopped = unpack_u32(&u);
	st->next = unpack_u64(&u);
	st->status = unpack_u32(&u);
	st->passing = unpack_u32(&u);
	st->failed_at_ns = unpack_u64(&u);
	hash = unpack_bytes(&u, sizeof(st->hash), &hash_len);
	message = unpack_bytes(&u, sizeof(st->message), &message_len);
	if (u.left > 0) /* earlier ones end here */
		st->sum = unpack_u64(&u);
	if (unpack_end(&u) == -1)
		return 0;
	st->hash_len = (uint32_t)hash_len;
	st->message_len = (uint32_t)message_len;
	memcpy(st->hash, hash, hash_len);
	memcpy(st->message, message, message_len);
	return *sequence != 0 && *sequence != UINT64_MAX && is_valid(st);
}

/* The whole file anew, with the record in its first slot. */
static int
make_file(struct store *s, const struct store_state *st, uint64_t sequence, struct error *err)
{
	struct store_file f = {.name = STORE_STATE, .mode = 0600, .sync = 1, .what = STORE_STATE};
	struct pack p;
	char *whole;
	int r, fd;

	if (pack_state(&p, st, sequence) == -1)
		return error_set(err, "no memory for the state record");
	whole = calloc(SLOTS, STORE_SLOT);
	if (whole == NULL) {
		free(p.data);
		return error_set(err, "no memory for the state record");
	}
	memcpy(whole, p.data, p.len);
	free(p.data);
	r = store_replace(s->dir, &f, whole, SLOTS * STORE_SLOT, err);
	free(whole);
	if (r == -1)
		return -1;
	fd = store_openat(s->dir, STORE_STATE, O_RDWR, 0);
	if (s->state_fd >= 0)
		close(s->state_fd);
	s->state_fd = fd; /* -1: the next write makes the file again */
	s->slot = 0;
	s->sequence = sequence;
	return 0;
}

static int
write_slot(struct store *s, unsigned slot, const unsigned char *data, size_t len)
{
	off_t at = (off_t)slot * STORE_SLOT;
	ssize_t n;

	while (len > 0) {
		n = pwrite(s->state_fd, data, len, at);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = ENOSPC;
			return -1;
		}
		data += n;
		len -= (size_t)n;
		at += n;
	}
	return TEMP_FAILURE_RETRY(fdatasync(s->state_fd)) == -1 ? -1 : 0;
}

const struct store_state *
store_state(const struct store *s)
{
	return &s->state;
}

int
store_state_set(struct store *s, const struct store_state *next, struct error *err)
{
	static const unsigned char nothing[STORE_MAGIC * 2];
	uint64_t before = s->state.committed;
	unsigned slot = (s->slot + 1) % SLOTS;
	struct pack p;
	char place[STORE_NAME];

	if (!is_valid(next) || next->next < s->state.next)
		return error_set(err,
		    "a state record that makes no sense was refused: committed %llu, trial %llu, "
		    "phase %u, next %llu after %llu",
		    (unsigned long long)next->committed, (unsigned long long)next->trial,
		    next->phase, (unsigned long long)next->next, (unsigned long long)s->state.next);
	if (s->state_fd == -1) {
		if (make_file(s, next, s->sequence + 1, err) == -1)
			return -1;
	} else {
		if (pack_state(&p, next, s->sequence + 1) == -1)
			return error_set(err, "no memory for the state record");
		if (write_slot(s, slot, p.data, p.len) == -1) {
			store_fail(err, "writing", STORE_STATE);
			free(p.data);
			/* what came of it must not count at the next start */
			(void)write_slot(s, slot, nothing, sizeof(nothing));
			return -1;
		}
		free(p.data);
		s->slot = slot;
		s->sequence++;
	}
	s->state = *next;
	if (s->state.phase == PHASE_IDLE)
		s->state.trial = 0;
	if (s->state.committed != before) {
		generation_name(place, STORE_KEEP, before); /* nobody goes back to it */
		(void)store_unlink(s->agent, place, 0);
		generation_name(place, "generations/", s->state.committed);
		if (s->state.committed != 0)
			store_symlink(s->dir, place, "committed");
	}
	return 0;
}

/* ---- at the start */

/*
 * 1: whole, and its meta is in *meta; 0: damaged or gone; -1: that cannot be told (no descriptor, no memory).
 * One error of the disk may pass, several are damage.
 */
static int
is_whole(struct store *s, uint64_t generation, struct store_meta *meta, struct error *err)
{
	size_t len;
	char *data;
	int tries;

	for (tries = 0; tries < STORE_TRIES; tries++) {
		errno = 0;
		if (store_generation_meta(s, generation, meta, err) == 0 &&
		    store_generation_effective(s, generation, &data, &len, err) == 0) {
			free(data);
			return 1;
		}
		if (store_is_damage(errno))
			return 0;
	}
	return errno == EIO ? 0 : -1;
}

/* The newest generation that proved itself and is still whole; 0: none.  -1: that cannot be told. */
static int
newest_committed(struct store *s, uint64_t *found, uint64_t *highest, struct error *err)
{
	struct store_meta *meta = malloc(sizeof(*meta));
	uint64_t *numbers = NULL;
	size_t count = 0;
	int whole = 0;

	*found = *highest = 0;
	if (meta == NULL || store_generations(s, &numbers, &count, err) == -1) {
		whole = meta == NULL ? error_set(err, "no memory for a generation") : -1;
		count = 0;
	}
	if (count > 0)
		*highest = numbers[count - 1];
	for (; count > 0 && *found == 0 && whole != -1; count--) {
		whole = is_whole(s, numbers[count - 1], meta, err);
		if (whole == 1 && meta->outcome == OUTCOME_COMMITTED)
			*found = numbers[count - 1];
	}
	free(numbers);
	free(meta);
	return whole == -1 ? -1 : 0;
}

/* Both slots: 1 the newest counts, 0 none is whole.  *damaged: slots that hold something else. */
static int
read_slots(struct store *s, const char *data, size_t len, unsigned *damaged)
{
	static const char empty[STORE_MAGIC];
	struct store_state *st = malloc(sizeof(*st));
	uint64_t sequence;
	unsigned slot;
	size_t at;
	int found = 0;

	*damaged = 0;
	for (slot = 0; slot < SLOTS && st != NULL; slot++) {
		at = (size_t)slot * STORE_SLOT;
		if (at + STORE_MAGIC > len) {
			++*damaged;
		} else if (!store_state_parse(data + at,
			       len - at < STORE_SLOT ? len - at : STORE_SLOT, st, &sequence)) {
			*damaged += memcmp(data + at, empty, sizeof(empty)) != 0;
		} else if (!found || sequence > s->sequence) {
			s->state = *st;
			s->sequence = sequence;
			s->slot = slot;
			found = 1;
		}
	}
	free(st);
	return found;
}

/* Numbers that were used are not used again. */
static void
pass_numbers(struct store *s)
{
	uint64_t *numbers;
	size_t count;

	if (store_generations(s, &numbers, &count, NULL) == -1)
		return;
	if (count > 0 && numbers[count - 1] >= s->state.next)
		s->state.next = numbers[count - 1] + 1;
	free(numbers);
}

static int
committed_is_whole(struct store *s, struct error *err)
{
	struct store_meta *meta;
	int whole;

	if (s->state.committed == 0)
		return 1;
	meta = malloc(sizeof(*meta));
	if (meta == NULL)
		return error_set(err, "no memory for a generation");
	whole = is_whole(s, s->state.committed, meta, err);
	free(meta);
	return whole;
}

/* The record names what must be there.  -1: whether it is there cannot be told. */
static int
compare_generations(struct store *s, int had, char *told, size_t told_size, struct error *err)
{
	struct store_state *st = &s->state;
	uint64_t found, highest, lost = st->committed;
	int whole = had ? committed_is_whole(s, err) : 0;

	if (whole != 0) {
		pass_numbers(s);
		return whole == 1 ? 0 : -1;
	}
	if (newest_committed(s, &found, &highest, err) == -1)
		return -1;
	if (highest >= st->next)
		st->next = highest + 1;
	if (!had && highest == 0)
		return 0;
	/* what the server was told no longer holds: it is to offer anew */
	st->committed = found;
	st->status = CONFIG_UNSET;
	st->passing = st->hash_len = st->message_len = 0;
	if (had)
		tell(told, told_size,
		    "generation %llu, which was committed, is damaged or gone; the newest one "
		    "before it that proved itself takes its place: %llu",
		    (unsigned long long)lost, (unsigned long long)found);
	else
		tell(told, told_size,
		    "the state record is lost; by the generations' own records %llu was the last "
		    "that proved itself",
		    (unsigned long long)found);
	return 0;
}

/* What there is of the file, however large: 1, 0 there is none, -1. */
static int
read_file(struct store *s, char *data, size_t *len, struct error *err)
{
	int fd = store_openat(s->dir, STORE_STATE, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;
	ssize_t n = 1;

	*len = 0;
	if (fd == -1 && (errno == ELOOP || errno == EACCES) &&
	    store_set_aside(s->dir, STORE_STATE, s->owner) == 0)
		errno = ENOENT;
	if (fd == -1)
		return errno == ENOENT ? 0 : store_fail(err, "opening", STORE_STATE);
	if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		errno = 0;
		if (store_set_aside(s->dir, STORE_STATE, s->owner) == 0) {
			close(fd);
			return 0;
		}
	}
	if (store_check(fd, s->owner, SIZE_MAX, STORE_STATE, err) == -1) {
		close(fd);
		return -1;
	}
	while (*len < SLOTS * STORE_SLOT && n != 0) {
		n = pread(fd, data + *len, SLOTS * STORE_SLOT - *len, (off_t)*len);
		if (n == -1 && errno != EINTR) {
			store_fail(err, "reading", STORE_STATE);
			close(fd);
			return -1;
		}
		*len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	return 1;
}

int
store_state_open(struct store *s, char *told, size_t told_size, struct error *err)
{
	struct error why;
	char *data = malloc(SLOTS * STORE_SLOT);
	size_t len;
	unsigned damaged = 0;
	int had = 0, there;

	if (data == NULL)
		return error_set(err, "no memory for the state record");
	there = read_file(s, data, &len, err);
	if (there == 1)
		had = read_slots(s, data, len, &damaged);
	free(data);
	if (there == -1)
		return -1;
	if (damaged > 0)
		tell(told, told_size, "%s in the file state is damaged%s",
		    damaged == 1 ? "one of the two records" : "each of the two records",
		    had ? ", as after a power loss; the other one counts" : "");
	if (!had && damaged > 0) { /* it may be a later opampd's */
		errno = 0;
		(void)store_set_aside(s->dir, STORE_STATE, s->owner);
	}
	if (!had) {
		memset(&s->state, 0, sizeof(s->state));
		s->state.next = 1;
	}
	if (compare_generations(s, had, told, told_size, err) == -1)
		return -1;
	s->state_fd = there && had && len == SLOTS * STORE_SLOT
			  ? store_openat(s->dir, STORE_STATE, O_RDWR, 0)
			  : -1;
	if (s->state_fd == -1 && make_file(s, &s->state, s->sequence + 1, &why) == -1)
		tell(told, told_size, "nothing can be kept: %s", why.text);
	return 0;
}
