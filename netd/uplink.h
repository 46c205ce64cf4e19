/*
 * uplink.h: netd's ends tied together: messages of the parent and of confd, the client, the
 * connection.  netd.  netd.c is main; this is apart from it so that tests and the fuzzer can have
 * it.
 */
#ifndef NETD_UPLINK_H
#define NETD_UPLINK_H

#include "client.h"
#include "wire/pace.h"
#include "describe.h"
#include "privsep/child.h"
#include "report.h"
#include "transport.h"

#define UPLINK_FILES (FILE_MACHINE_ID + 1)

struct uplink {
	struct child child;
	struct describe describe;
	struct report report;
	struct client client;
	struct transport_settings set;
	struct transport *transport; /* NULL: no connection */
	struct pace pace;
	char *files[UPLINK_FILES]; /* what the parent handed over, by enum file_kind; terminated */
	int ready;                 /* uplink_init is done */
	struct event *timers[CLIENT_TIMER_COUNT];
	struct uplink_timer {
		struct uplink *uplink;
		enum client_timer timer;
	} timer_contexts[CLIENT_TIMER_COUNT];
	struct event *ending;
};

/* After child_begin, before the sandbox: everything that the settings and the files say. */
int uplink_init(struct uplink *u, struct error *err);
void uplink_clear(struct uplink *u);

extern const struct child_handlers uplink_handlers; /* ctx: the uplink */

/* Why the parent has no connection for us, in words. */
void uplink_connect_words(
    char *text, size_t size, const struct url *url, const struct msg_connect_failed *m);

/* uplink_settings.c: what the settings say. */
int uplink_read_client(const struct settings *s, struct client_settings *set, struct error *err);
int uplink_read_transport(struct uplink *u, struct error *err);

#endif
