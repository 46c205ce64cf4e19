/*
 * probe.h: the agent's health endpoint, asked now and then while it runs.  link.
 * Has the connections made by the parent: link has no socket of its own.
 */
#ifndef NETD_PROBE_H
#define NETD_PROBE_H

#include <stdint.h>

#include "privsep/child.h"

struct probe;

/* NULL with err empty: the settings name no endpoint.  NULL with a text: an error. */
struct probe *probe_new(struct child *child, struct error *err);
void probe_free(struct probe *p); /* NULL is fine for all of these */

/* That start runs: ask at once, then at each interval.  Ended: no more. */
void probe_begin(struct probe *p, uint32_t start);
void probe_end(struct probe *p, uint32_t start);

/* CONNECT_DONE (fd is taken) and CONNECT_FAILED. */
void probe_connected(struct probe *p, const struct msg_connect *m, int fd);
void probe_failed(struct probe *p, const struct msg_connect_failed *m);

/* confd is there anew: the last answer again. */
void probe_confd_up(struct probe *p);

#endif
