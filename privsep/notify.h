/*
 * notify.h: a word to the service manager (sd_notify's datagram).  The parent only.
 */
#ifndef PRIVSEP_NOTIFY_H
#define PRIVSEP_NOTIFY_H

void notify_init(const char *socket_path); /* $NOTIFY_SOCKET or NULL */
void notify(const char *state);            /* such as "READY=1"; nothing without a socket */

#endif
