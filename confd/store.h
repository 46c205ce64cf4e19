/*
 * store.h: everything confd has on disk, below the one directory it was handed (design: "On disk").
 * confd only.  Each change is whole or not there, whatever moment the host loses power (I8); what is
 * read back is foreign bytes: bounded, checksummed, never trusted.
 *
 *	identity             instance uid
 *	state                the one record: two slots written in place by turns, each with sequence
 *	                     number and checksum; the newest whole one counts
 *	generations/NNNNNN/  meta (source, time, and the offer itself; none for a local-only one),
 *	                     effective (the file the agent runs on), outcome.  Made whole under another
 *	                     name, then renamed
 *	agent/NAME           what the agent runs: a hard link to a generation's file
 *	agent/candidate/NAME what its own check is to see
 *	cache                what is known of the agent's binary, by the binary's identity
 *	current, committed   symbolic links for people, not synced, never read
 *
 * The name of the agent's file is agent.config_name.  Files below generations/ that the agent is to read
 * have its group and mode 0640; the directories keep others out.
 */
#ifndef CONFD_STORE_H
#define CONFD_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "privsep/error.h"
#include "privsep/messages.h"

enum store_phase {
	PHASE_IDLE,  /* the committed one is what is to run */
	PHASE_TRIAL, /* `trial` was put in the agent's place and has not proved itself yet */
};

enum store_source {
	SOURCE_NONE,
	SOURCE_LOCAL,  /* nothing was ever sent, or the map was empty: local files only */
	SOURCE_REMOTE, /* an offer */
	SOURCE_IDENTITY, /* composed anew for a new instance uid, or for changed settings or local files */
};

enum store_outcome {
	OUTCOME_NONE, /* on trial, or interrupted */
	OUTCOME_COMMITTED,
	OUTCOME_FAILED,
};

#define STORE_MESSAGE (8 * KIB) /* of an error message that is kept */

struct store_state {        /* the record.  Zeroes: nothing was ever there. */
	uint64_t committed; /* generation; 0 = none yet */
	uint64_t trial;     /* with PHASE_TRIAL */
	uint32_t phase;     /* enum store_phase */
	uint32_t
	    stopped;   /* 1: an empty map left nothing to run, so the agent is stopped on purpose */
	uint64_t next; /* number of the next generation; numbers are never used twice */
	/* the remote configuration status last told to the server */
	uint32_t status;  /* enum config_status */
	uint32_t passing; /* 1: FAILED for a passing reason, so the same hash may be tried again */
	uint64_t failed_at_ns; /* CLOCK_REALTIME */
	uint32_t hash_len;     /* at most LIMIT_CONFIG_HASH */
	uint32_t message_len;  /* at most STORE_MESSAGE */
	uint64_t sum;          /* of the settings by which it was so; 0: not known */
	char hash[LIMIT_CONFIG_HASH];
	char message[STORE_MESSAGE];
};

struct store_meta {
	uint64_t generation;
	uint32_t source;   /* enum store_source */
	uint32_t outcome;  /* enum store_outcome */
	uint64_t made_ns;  /* CLOCK_REALTIME */
	uint64_t ended_ns; /* of the outcome, 0 */
	uint32_t hash_len;
	char hash[LIMIT_CONFIG_HASH];
	char message[STORE_MESSAGE]; /* terminated; why it failed */
};

struct store_cache {       /* zero-initialise; store_cache_free */
	int gate;          /* -1 not known, 0 no, 1: the Collector knows service.AllowNoPipelines */
	char *description; /* AgentDescription, opaque; NULL = not known */
	size_t description_len;
};

struct store;

/*
 * Takes dir (the storage directory; closed when it fails, too).  Makes what is missing, removes half-made leftovers.  A damaged
 * record is no error: the other slot, or what generations/ says, takes its place; *told gets text for
 * the log ("" = nothing to tell).  NULL: the directory cannot be used at all; err says why.
 */
struct store *store_open(int dir, const char *config_name, const struct msg_environment *env,
    char told[1024], struct error *err);
void store_close(struct store *s); /* NULL is fine */

/* 1: uid is filled; 0: none stored yet; -1: it is damaged (err), and a new one has to be made;
 * -2: it cannot be read just now (err), but may well be there. */
int store_identity(struct store *s, uint8_t uid[16], struct error *err);
int store_identity_set(struct store *s, const uint8_t uid[16], struct error *err); /* durable */

/* The record as it stands; borrowed, valid until the next store_state_set. */
const struct store_state *store_state(const struct store *s);
/*
 * Durable when it returns 0; on -1 the old one stands, on disk and in memory (should the disk fail in
 * undoing it, too, then the next start finds the old one or the new one).  next->next must not be
 * lower than it was, and higher than committed and trial.
 */
int store_state_set(struct store *s, const struct store_state *next, struct error *err);

/*
 * A new generation, durable when it returns 0: remote may be NULL (none).  meta->generation must not
 * exist.  On -1 nothing of it is left.
 */
int store_generation_make(struct store *s, const struct store_meta *meta, const void *remote,
    size_t remote_len, const void *effective, size_t effective_len, struct error *err);
/* Outcome, time and message of its meta, for the history; not synced, a failure is only told. */
int store_generation_outcome(struct store *s, uint64_t generation, enum store_outcome outcome,
    const char *message, struct error *err);
int store_generation_meta(
    struct store *s, uint64_t generation, struct store_meta *meta, struct error *err);
/* malloc'd; *data NULL with 0: it has no remote part. */
int store_generation_remote(
    struct store *s, uint64_t generation, char **data, size_t *len, struct error *err);
int store_generation_effective(
    struct store *s, uint64_t generation, char **data, size_t *len, struct error *err);
/* Numbers of all generations, ascending; malloc'd. */
int store_generations(struct store *s, uint64_t **numbers, size_t *count, struct error *err);
/*
 * Removes the oldest beyond keep, never committed, trial, what is in the agent's place, or `spare`; last of
 * all the newest other one that proved itself, which takes the committed one's place if that is damaged.
 */
void store_prune(struct store *s, uint64_t keep, uint64_t spare);

/* agent/candidate/NAME for the agent's own check; and away again. */
int store_candidate(struct store *s, const void *data, size_t len, struct error *err);
void store_candidate_remove(struct store *s);

/*
 * agent/NAME becomes the generation's file, atomically and durably.  Going back takes no new space: the link
 * is made beforehand by store_keep_ready, so that a rollback works on a full disk.
 */
int store_switch(struct store *s, uint64_t generation, struct error *err);
int store_keep_ready(struct store *s, uint64_t generation, struct error *err);
/* Which generation's file agent/NAME is now; 0: none, or not one of ours. */
uint64_t store_running(struct store *s);

/* What is cached for the binary of env; gate -1 and no description when nothing is, or for another. */
void store_cache(struct store *s, struct store_cache *c);
int store_cache_set(struct store *s, const struct store_cache *c, struct error *err);
void store_cache_free(struct store_cache *c);

#endif
