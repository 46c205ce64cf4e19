/*
 * tree.h: the agent's component tree (ComponentHealth of OpAMP) as rows.  opampctl only.  The bytes are the
 * agent's own: a strict, bounded reader of the few fields that are shown; it keeps nothing.
 */
#ifndef CTL_TREE_H
#define CTL_TREE_H

#include <stddef.h>

#include "privsep/error.h"
#include "writer.h"

/*
 * One row for each component below the root, a component's own after it: columns "component", "healthy",
 * "status", "since", "error".  -1 when it is not ComponentHealth, or deeper or larger than
 * LIMIT_HEALTH_DEPTH and LIMIT_HEALTH_COMPONENTS; rows written so far stay.
 */
int tree_rows(struct writer *w, const void *data, size_t len, struct error *err);

#endif
