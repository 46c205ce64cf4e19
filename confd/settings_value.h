/*
 * settings_value.h: single values of opampd.yaml: texts into numbers, in words when they are not.
 * merge only.
 */
#ifndef CONFD_SETTINGS_VALUE_H
#define CONFD_SETTINGS_VALUE_H

#include <stdint.h>

#include "privsep/error.h"
#include "privsep/settings.h"

/* BOOL, INT, SIZE, DURATION, ENUM: 0, or -1 and why not ("\"10\" is not a duration: ..."). */
int settings_number(
    const struct setting_rule *rule, const char *text, uint64_t *value, struct error *err);

/*
 * Expands ${NAME}, ${env:NAME}, ${env:NAME:-default} and $$ as opampsupervisor does.  The result is
 * malloc'd; *whole is 1 when the text was one expansion and nothing else.  missing gets the name of
 * an unset variable, or is left alone.
 */
char *settings_expand(const char *text, const char *environment, int *whole, char *missing,
    size_t missing_size, struct error *err);

/* The known key or section nearest to name: 1 and its name, or 0 when none is near. */
int settings_nearest(const char *name, char *near, size_t size);

/*
 * settings_check.c: what is wrong with a value beyond its type, and what belongs there; NULL when it
 * is good.  The text is constant, or err's.  Of a pair only the name may be shown: values are secrets.
 */
const char *settings_text_fault(
    const struct setting_rule *rule, const char *text, struct error *err);
const char *settings_item_fault(
    const struct setting_rule *rule, const char *text, struct error *err);
const char *settings_pair_fault(const struct setting_rule *rule, const char *name, size_t name_len,
    const char *value, struct error *err);

#endif
