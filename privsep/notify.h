/*
 * notify.h: a word to the service manager (sd_notify's datagram).  The parent only.
 */
#ifndef PRIVSEP_NOTIFY_H
#define PRIVSEP_NOTIFY_H

#include <stdint.h>

#define NOTIFY_TEXT 512 /* bytes of one word; what is longer is cut */

void notify_init(const char *socket_path); /* $NOTIFY_SOCKET or NULL */
/* How often WATCHDOG=1 is due: half of what the manager wants; 0 = never. */
uint64_t notify_watchdog_ms(void);
void notify(const char *state); /* such as "READY=1"; nothing without a socket */

#endif
