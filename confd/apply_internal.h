/*
 * apply_internal.h: what the files of the apply transaction share.  confd only.
 */
#ifndef CONFD_APPLY_INTERNAL_H
#define CONFD_APPLY_INTERNAL_H

#include "apply.h"

/* apply.c */
void apply_enter(struct apply *a, enum apply_phase phase);
void apply_next(struct apply *a); /* idle: the next thing to do, if any */
void apply_tell(struct apply *a, uint32_t status, const void *hash, size_t hash_len,
    const char *message, int passing);
void apply_run(struct apply *a, uint32_t how, uint64_t generation);
void apply_stop_agent(struct apply *a);
int apply_record(struct apply *a, struct error *err); /* scratch, with what is told, to disk */
void apply_pass_numbers(struct apply *a);             /* the next one is above all that are there */
struct store_state *apply_scratch(struct apply *a);   /* the record as it is, to be changed */
void apply_show(struct apply *a, uint64_t generation); /* agents without link: what runs */
uint32_t apply_flags(const struct apply *a);
int apply_same_text(struct apply *a, uint64_t generation, uint64_t other);
void text_trim(char *text); /* cut in the middle of a character: before it */
void bytes_free(struct apply_bytes *b);
void bytes_move(struct apply_bytes *to, struct apply_bytes *from);    /* from is then empty */
int bytes_copy(struct apply_bytes *to, const void *data, size_t len); /* -1: no memory */
int bytes_equal(const struct apply_bytes *b, const void *data, size_t len);

/* apply_start.c: the first word of procd, of this confd's life or of procd's */
void apply_first_state(struct apply *a);
void apply_probe_done(struct apply *a, const struct msg_job_done *m);
void apply_begin_base(struct apply *a);
void apply_restate(struct apply *a);

/* apply_offer.c */
void apply_take_pending(struct apply *a);
void apply_bucket_init(struct apply_bucket *b, uint64_t per_minute, uint64_t now_ms);
/* 0: taken; otherwise milliseconds until the next one is there. */
uint64_t apply_bucket_take(struct apply_bucket *b, uint64_t now_ms);

/* apply_attempt.c, apply_end.c */
void apply_drop(struct apply *a, const char *why); /* the attempt, if there is one */
void apply_attempt_begin(struct apply *a);         /* a->try is filled in */
void apply_attempt_identity(struct apply *a, int trusted);
void apply_fail(struct apply *a, int passing, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void apply_commit(struct apply *a);
void apply_hold(struct apply *a, uint64_t ms);
void apply_back_later(struct apply *a);
void apply_go_back(struct apply *a);
void apply_rollback_step(struct apply *a);  /* something changed: is the way back gone? */
void apply_rollback_done(struct apply *a);  /* whether or not */
void apply_rollback_close(struct apply *a); /* the same, with nothing begun after it */
void apply_in_force(struct apply *a, const struct error *err); /* though it cannot be written */
void apply_commit_base(struct apply *a);
void apply_attempt_again(struct apply *a); /* with another uid */
void apply_stop_for_empty(struct apply *a);
void apply_refuse(struct apply *a, const char *why); /* the offer in a->try, with nothing touched */
void apply_words_came(struct apply *a);
void apply_job_again(struct apply *a);

/* apply_gate.c */
void apply_gate_begin(struct apply *a);
void apply_judge(struct apply *a);
int apply_may_reload(const struct apply *a);
const char *apply_missing(const struct apply *a, char *text, size_t size);
const char *apply_words_of(const struct apply *a, uint32_t start);
/*
 * What of them is told: after an end by a signal they are whatever it happened to say, unless they are an
 * error, so only the last lines, cut.  text is used for them; gives it, or words.
 */
const char *apply_last_words(const char *words, uint32_t exit, char *text, size_t size);

#endif
