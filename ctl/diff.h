/*
 * diff.h: two texts compared line by line.  opampctl only.
 */
#ifndef CTL_DIFF_H
#define CTL_DIFF_H

#include <stddef.h>

#include "privsep/error.h"

/*
 * The unified difference of a and b (three lines of context), malloc'd and terminated; "" when they are the
 * same.  Where they differ too much for a good answer in bounded work, the differing middle is
 * given as removed and added whole.  NULL: no memory, or more than DIFF_LINES lines.
 */
char *diff_unified(const char *a, size_t a_len, const char *a_name, const char *b, size_t b_len,
    const char *b_name, struct error *err);

#define DIFF_LINES 2000000u
#define DIFF_CELLS 16000000u /* of the table: lines of one times lines of the other */

#endif
