/*
 * fuzz_server_message.c: what a server may send as OpAMP, message after message, through netd's
 * client.  Input: u16 length (little end first), so many bytes of a WebSocket message, and again; the
 * last one may be shorter.  Length 0xffff: the connection breaks and comes back; 0xfffe: confd gives
 * its credit; 0xfffd: every timer that is set fires; 0xfffc: the next message has a configuration of 64 KiB
 * and more behind it, in which the last two thirds of its bytes are.  What must hold: what we send is what we
 * would accept; and an offer is what the message says, however it was taken from it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "netd/client.h"
#include "wire/wire.h"
#include "privsep/log.h"
#include "privsep/offer.h"

#define CONFIG_SIZE (128 * KIB)
#define BODY        (64 * KIB) /* of a large one */

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

static const uint8_t *message; /* that is being handled */
static size_t message_len;

static int
same(struct offer_part p, const void *data, size_t len)
{
	return p.len == len && (len == 0 || memcmp(p.data, data, len) == 0);
}

/* As protobuf-c decodes the whole. */
static void
compare(const struct offer *o)
{
	Opamp__Proto__V1__ServerToAgent *m;
	Opamp__Proto__V1__AgentConfigMap *map;
	Opamp__Proto__V1__AgentConfigFile *f;
	const uint8_t *body;
	size_t len, i;

	if (message == NULL || wire_frame(message, message_len, &body, &len, NULL) == -1)
		return;
	m = (Opamp__Proto__V1__ServerToAgent *)wire_unpack(
	    &opamp__proto__v1__server_to_agent__descriptor, body, len, NULL);
	if (m == NULL)
		return; /* other parts of it take more memory than it may */
	if (m->remote_config == NULL ||
	    !same(o->hash, m->remote_config->config_hash.data, m->remote_config->config_hash.len))
		abort();
	map = m->remote_config->config;
	if (o->count != (map == NULL ? 0 : map->n_config_map))
		abort();
	for (i = 0; i < o->count; i++) {
		f = map->config_map[i]->value;
		if (!same(o->files[i].name, map->config_map[i]->key,
			strlen(map->config_map[i]->key)) ||
		    !same(o->files[i].body, f == NULL ? NULL : f->body.data,
			f == NULL ? 0 : f->body.len) ||
		    !same(o->files[i].type, f == NULL ? "" : f->content_type,
			f == NULL ? 0 : strlen(f->content_type)))
			abort();
	}
	wire_free(&m->base);
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
	compare(&o);
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

static void
take(const uint8_t *data, size_t len)
{
	sent = 0;
	client_heard(&client);
	message = data;
	message_len = len;
	client_message(&client, data, len);
	message = NULL;
	if (sent > 1)
		abort(); /* one message causes one report, at most */
}

/* A field's head; its length in three bytes. */
static uint8_t *
put_head(uint8_t *p, unsigned field, size_t len)
{
	*p++ = (uint8_t)(field << 3 | 2);
	*p++ = (uint8_t)(0x80 | (len & 0x7f));
	*p++ = (uint8_t)(0x80 | (len >> 7 & 0x7f));
	*p++ = (uint8_t)(len >> 14);
	return p;
}

/* remote_config { BYTES config { BYTES config_map { key: "k" value { body } } } } behind other bytes. */
static void
take_large(const uint8_t *data, size_t len)
{
	const size_t a = len / 3, b = len / 3, c = len - a - b;
	const size_t value = 4 + BODY, entry = 3 + 4 + value, map = c + 4 + entry;
	uint8_t *text = malloc(len + BODY + 64), *p = text;

	if (text == NULL)
		abort();
	memcpy(p, data, a);
	p = put_head(p + a, 3, b + 4 + map);
	memcpy(p, data + a, b);
	p = put_head(p + b, 1, map);
	memcpy(p, data + a + b, c);
	p = put_head(p + c, 1, entry);
	memcpy(p, "\x0a\x01k", 3);
	p = put_head(p + 3, 2, value);
	p = put_head(p, 1, BODY);
	memset(p, 'x', BODY);
	take(text, (size_t)(p + BODY - text));
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct settings settings;
	struct record_writer w = {0};
	static struct describe describe;
	struct error err;
	size_t len;
	int large = 0;

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
		} else if (len == 0xfffc) {
			large = 1;
		} else {
			len = len > size ? size : len;
			if (large)
				take_large(data, len);
			else
				take(data, len);
			large = 0;
			data += len;
			size -= len;
		}
	}
	client_end(&client);
	client_clear(&client);
	report_clear(&report);
	return 0;
}
