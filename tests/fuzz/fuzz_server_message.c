/*
 * fuzz_server_message.c: what a server may send as OpAMP, message after message, through netd's
 * client.  Input: u16 length (little end first), so many bytes of a WebSocket message, and again; the
 * last one may be shorter.  Length 0xffff: the connection breaks and comes back; 0xfffe: confd gives
 * its credit; 0xfffd: every timer that is set fires.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "netd/client.h"
#include "wire/wire.h"
#include "privsep/log.h"
#include "privsep/offer.h"

#define CONFIG_SIZE 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct client client;
static struct report report;
static uint64_t timers[CLIENT_TIMER_COUNT], now, sequence;
static int credit, sent;

static void
do_attempt(void *ctx, uint32_t attempt)
{
	(void)ctx;
	(void)attempt;
}

/* What we send is what we would accept, numbered one by one. */
static int
do_send(void *ctx, const void *body, size_t len)
{
	Opamp__Proto__V1__AgentToServer *r = (Opamp__Proto__V1__AgentToServer *)wire_unpack(
	    &opamp__proto__v1__agent_to_server__descriptor, body, len, NULL);

	(void)ctx;
	if (r == NULL || r->instance_uid.len != 16 || r->capabilities != report.capabilities ||
	    r->sequence_num != sequence++ || client.state != CLIENT_OPEN)
		abort();
	wire_free(&r->base);
	sent++;
	return 0;
}

static size_t
do_pending(void *ctx)
{
	(void)ctx;
	return 0;
}

static void
do_nothing(void *ctx)
{
	(void)ctx;
}

static void
do_close(void *ctx, uint16_t code, const char *reason)
{
	(void)ctx;
	if (code != 1000 || reason == NULL)
		abort();
}

static void
do_timer(void *ctx, enum client_timer t, uint64_t ms)
{
	(void)ctx;
	timers[t] = ms;
}

static int
do_offer(void *ctx, const struct msg_offer *m, const char *data, size_t len)
{
	struct offer o;
	struct error err;

	(void)ctx;
	if (!credit || offer_open(&o, data, len, CONFIG_SIZE, &err) == -1 || o.count != m->files ||
	    o.empty_map != (m->flags & OFFER_EMPTY_MAP))
		abort();
	offer_close(&o);
	credit = 0;
	return 0;
}

static void
do_new_uid(void *ctx, const uint8_t uid[16])
{
	static const uint8_t nobody[16];

	(void)ctx;
	if (memcmp(uid, nobody, sizeof(nobody)) == 0)
		abort();
}

static void
do_state(void *ctx, const struct msg_server *m, const char *why)
{
	(void)ctx;
	if (m->event == SERVER_NONE || m->event > SERVER_LOST || why == NULL ||
	    m->next_ms > LIMIT_RETRY_AFTER_MS)
		abort();
}

static uint64_t
do_now(void *ctx)
{
	(void)ctx;
	return now;
}

static uint64_t
do_random(void *ctx, uint64_t below)
{
	(void)ctx;
	return below / 2;
}

static const struct client_ops ops = {do_attempt, do_attempt, do_send, do_pending, do_nothing,
    do_close, do_nothing, do_timer, do_offer, do_nothing, do_new_uid, do_state, do_nothing, do_now,
    do_random};

static void
begin(const struct describe *d)
{
	static const struct client_settings set = {.capabilities = 0x3c07,
	    .heartbeat_ms = 30000,
	    .ping_ms = 60000,
	    .response_ms = 60000,
	    .connect_ms = 30000,
	    .delay_min_ms = 1000,
	    .delay_max_ms = 300000,
	    .stable_ms = 30000,
	    .config_size = CONFIG_SIZE};
	static const uint8_t uid[16] = {1, 2, 3};
	const struct msg_health health = {.healthy = 1};
	struct memfd_view effective;
	struct error err;

	memset(timers, 0, sizeof(timers));
	now = 1000000;
	effective = (struct memfd_view){.data = (char *)(uintptr_t) "a: 1", .len = 4};
	sequence = 0;
	credit = 1;
	sent = 0;
	report_init(&report, d, set.capabilities, 1 << 20);
	client_init(&client, &ops, NULL, &set, &report);
	client_confd_up(&client);
	if (client_identity(&client, uid, &err) == -1)
		abort();
	(void)report_health(&report, &health, "", 0, "", 0, &err);
	(void)report_effective(&report, EFFECTIVE_TEXT, &effective, &err);
	client_synced(&client);
	client_opened(&client);
}

static void
fire_all(void)
{
	enum client_timer t;
	uint64_t ms;

	for (t = 0; t < CLIENT_TIMER_COUNT; t++) {
		ms = timers[t];
		timers[t] = 0;
		now += ms;
		if (ms != 0)
			client_timeout(&client, t);
	}
}

static void
break_off(void)
{
	static const struct client_failure f = {"it broke", 0, -1};

	client_failed(&client, &f);
	while (client.state == CLIENT_BACKOFF)
		fire_all();
	client_opened(&client);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct settings settings;
	struct record_writer w = {0};
	static struct describe describe;
	struct error err;
	size_t len;

	if (describe.settings == NULL) {
		log_set_level(LOG_LEVEL_ERROR);
		record_put_u64(&w, SET_AGENT_TYPE, 1);
		record_put_string(&w, SET_EXECUTABLE, "/bin/agent");
		record_put(&w, SET_ID_ATTRIBUTES, 0, 0, "team\0x", 6);
		if (record_finish(&w, &settings.data, &len, &err) == -1 ||
		    record_open(&settings.record, settings.data, len, &err) == -1 ||
		    describe_init(&describe, &settings, &err) == -1)
			abort();
	}
	begin(&describe);
	while (size >= 2) {
		len = (size_t)data[0] | (size_t)data[1] << 8;
		data += 2;
		size -= 2;
		if (len == 0xffff) {
			break_off();
		} else if (len == 0xfffe) {
			credit = 1;
			client_credit(&client);
		} else if (len == 0xfffd) {
			fire_all();
		} else {
			len = len > size ? size : len;
			sent = 0;
			client_heard(&client);
			client_message(&client, data, len);
			if (sent > 1)
				abort(); /* one message causes one report, at most */
			data += len;
			size -= len;
		}
	}
	client_end(&client);
	client_clear(&client);
	report_clear(&report);
	return 0;
}
