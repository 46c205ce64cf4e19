/*
 * client_confd.c: what confd says and what goes to it (see client.h).  netd.
 */
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "privsep/log.h"

#define UID_MS 10000 /* for confd to store a new uid */

static void
drop_offer(struct client *c)
{
	free(c->offer);
	c->offer = NULL;
	c->offer_sent = 0;
}

static void
give_offer(struct client *c)
{
	if (c->offer == NULL || !c->offer_credit)
		return;
	c->offer_credit = 0;
	c->offer_sent++;
	if (c->ops->offer(c->ctx, &c->offer_head, c->offer, c->offer_len) == 0)
		return;
	c->offer_credit = 1; /* no memory now; the server offers it again with its next answer */
	drop_offer(c);
}

void
client_offer(struct client *c, const struct msg_offer *m, char *data, size_t len)
{
	drop_offer(c);
	c->offer = data;
	c->offer_len = len;
	c->offer_head = *m;
	give_offer(c);
}

void
client_credit(struct client *c)
{
	c->offer_credit = 1;
	if (c->offer_sent > 0)
		drop_offer(c); /* that one is confd's now */
	give_offer(c);
}

void
client_confd_up(struct client *c)
{
	c->synced = 0; /* what changed while it was away goes out in one report, at NET_SYNCED */
	c->offer_credit = 1;
	if (c->offer_sent > 1)
		drop_offer(c);
	give_offer(c);
	if (c->have_next_uid)
		c->ops->new_uid(c->ctx, c->next_uid);
	c->told.for_ms = c->ops->now_ms(c->ctx) - c->since_ms;
	if (c->told.event != SERVER_NONE)
		c->ops->state(c->ctx, &c->told, c->told_why);
	/* while confd looks after its disk: the first report waits for NET_SYNCED, the connection need not */
	if (c->state == CLIENT_WAITING && !c->ending)
		client_attempt(c);
}

void
client_confd_down(struct client *c)
{
	c->offer_credit = 0;
}

void
client_assign_uid(struct client *c, const uint8_t uid[16])
{
	int asked = c->have_next_uid;

	memmove(c->next_uid, uid, sizeof(c->next_uid));
	c->have_next_uid = 1;
	if (asked)
		return; /* the newest goes to confd when it has stored the one before */
	client_later(c, CLIENT_TIMER_UID, UID_MS);
	c->ops->new_uid(c->ctx, uid);
}

int
client_identity(struct client *c, const uint8_t uid[16], struct error *err)
{
	uint8_t before[16];
	int had = c->report->have_uid, changed;

	memcpy(before, c->report->uid, sizeof(before));
	changed = report_identity(c->report, uid, err);
	if (changed == -1)
		return -1;
	if (changed && had) {
		memcpy(c->last_uid, before, sizeof(before));
		c->have_last_uid = 1;
		log_info("the server gave this agent a new instance uid");
	}
	if (c->have_next_uid) {
		c->have_next_uid = 0;
		client_never(c, CLIENT_TIMER_UID);
		if (memcmp(uid, c->next_uid, sizeof(c->next_uid)) != 0)
			client_assign_uid(c, c->next_uid);
	}
	client_report(c);
	return 0;
}

void
client_synced(struct client *c)
{
	c->synced = 1;
	report_complete(c->report);
	c->complete = c->report->have_uid;
	client_report(c);
}

void
client_changed(struct client *c)
{
	client_report(c);
}
