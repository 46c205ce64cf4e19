/*
 * link_health.h: the agent's health, from the tree of ComponentHealth it sends to one verdict.
 * link.  Which components were well at the baseline decides whether a passing fault (an exporter's
 * backend is away) is the new configuration's or an old acquaintance.
 */
#ifndef NETD_LINK_HEALTH_H
#define NETD_LINK_HEALTH_H

#include <stddef.h>
#include <stdint.h>

#include "opamp/v1/opamp.pb-c.h"
#include "privsep/error.h"
#include "privsep/messages.h"

struct link_component { /* one that has no parts, or is worse than its parts */
	uint64_t path;  /* hash of the keys from the root */
	uint32_t level; /* as the agent says */
};

struct link_baseline {  /* zero-initialise; no baseline until set */
	uint64_t *well; /* sorted paths */
	size_t count;
	int set;
};

struct link_health { /* zero-initialise; release with link_health_clear */
	int known;
	int healthy;
	uint32_t worst; /* enum worst */
	uint32_t count; /* of the agent's components, those not judged included */
	uint64_t status_time_ns;
	char text[TEXT_TAIL]; /* last_error, NUL, status */
	size_t text_len;
	char *packed; /* ComponentHealth as it goes on */
	size_t packed_len;
	char *timeless; /* the same with every time 0: what a change is measured by */
	size_t timeless_len;
	struct link_component *components;
	size_t component_count;
};

/*
 * Takes over what tree says.  tree is put in order (its maps sorted by key) and loses its times; it
 * stays the caller's.  1: changed, status times alone are no change (HL-04); 0: as before; -1: no
 * memory, h as before.
 */
int link_health_take(struct link_health *h, Opamp__Proto__V1__ComponentHealth *tree,
    const struct link_baseline *b, struct error *err);

/* The worst component once more, by another baseline.  1 if it is another worst than before. */
int link_health_judge(struct link_health *h, const struct link_baseline *b);

/* The components that are well in h are the baseline.  -1: no memory, b as before. */
int link_baseline_take(struct link_baseline *b, const struct link_health *h, struct error *err);

void link_health_clear(struct link_health *h);
void link_baseline_clear(struct link_baseline *b);

#endif
