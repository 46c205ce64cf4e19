/*
 * front_report.h: between OpAMP's messages and the frames for the store.  opamphub-front.
 */
#ifndef HUB_FRONT_REPORT_H
#define HUB_FRONT_REPORT_H

#include "frames.h"
#include "opamp/v1/opamp.pb-c.h"

/* Does it say anything but that the agent lives? */
int report_has_parts(const Opamp__Proto__V1__AgentToServer *m);

/* Is it one that the store takes?  -1: err says what is not. */
int report_check(const Opamp__Proto__V1__AgentToServer *m, struct error *err);

/* The parts that came, as entries of a REPORT.  -1: out of memory. */
int report_put(
    struct record_writer *w, const Opamp__Proto__V1__AgentToServer *m, struct error *err);

/*
 * A configuration as a CONFIG frame has it, packed as what stands in every ServerToAgent that offers
 * it: malloc'd.  -1: not as it must be.
 */
int config_pack(const struct record *r, uint8_t **data, size_t *len, struct error *err);

/* The same for SETTINGS. */
int settings_pack(const struct record *r, uint8_t **data, size_t *len, struct error *err);

#endif
