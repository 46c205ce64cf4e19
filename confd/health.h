/*
 * health.h: the agent's health as it is reported (HL-01 to HL-04): out of its process, what it says over
 * its link, and its health endpoint.  confd only.
 */
#ifndef CONFD_HEALTH_H
#define CONFD_HEALTH_H

#include "apply.h"

#define HEALTH_HOLD_MS 3000 /* a restart that is over within this is not reported as a fault */

struct health_report {
	int healthy;
	uint32_t settled; /* enum settled */
	int passing;      /* between two states: worth a report only if it lasts */
	uint64_t started_ns, status_time_ns;
	char error[LIMIT_AGENT_TEXT + 1], status[256];
	const char *component; /* borrowed */
	size_t component_len;
};

/* What is to be said of the agent now. */
void health_compose(const struct apply *a, struct health_report *r);

/* Worth a report?  Its time alone is no change. */
int health_changed(const struct health_report *now, const struct health_report *told);

#endif
