/*
 * fleet_settings.h: what can be offered as connection settings.  opamphub-store.
 */
#ifndef HUB_FLEET_SETTINGS_H
#define HUB_FLEET_SETTINGS_H

#include <jansson.h>

#include "privsep/error.h"

/* -1: err names the member at fault. */
int settings_offer_check(const json_t *body, struct error *err);

#endif
