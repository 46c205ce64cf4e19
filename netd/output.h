/*
 * output.h: the agent's output: from its pipes into agent.log, bounded, and its last words to
 * confd.  link.  Knows nothing of OpAMP: every kind of agent has it.
 */
#ifndef NETD_OUTPUT_H
#define NETD_OUTPUT_H

#include <stdint.h>

#include "wire/pace.h"
#include "privsep/child.h"

struct output;

/* max_size: agent.log is to be rotated beyond it.  passthrough: lines go to our log as well. */
struct output *output_new(struct child *child, uint64_t max_size, int passthrough);
void output_free(struct output *o);

/* What the output costs is limited by p, which outlives it. */
void output_pace(struct output *o, struct pace *p);

/* A new agent.log, open for appending; fd is taken. */
void output_log(struct output *o, int fd);

/* One stream of a start; fd is taken.  -1: more streams or starts than there can be. */
int output_stream(struct output *o, const struct msg_output *m, int fd);

/*
 * That start's process is gone: what its pipes hold is read, then AGENT_OUTPUT_END goes out, also
 * if something it started keeps them open.
 */
void output_ended(struct output *o, uint32_t start);

/* confd is there anew: the last words of the last run again. */
void output_confd_up(struct output *o);

/* Before we leave: reads what is there; starts that live are not ended by it. */
void output_drain(struct output *o);

#endif
