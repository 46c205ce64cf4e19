/*
 * fuzz_confd_messages.c: every message that confd can be sent, in any order, with a store in memory whose
 * writes fail when the input says so, procd and merge answering what was asked or anything else, timers
 * firing at any time, confd itself dying and coming back.  What must hold whatever happens: numbers of
 * generations are used once (the store in memory aborts otherwise), and when nothing is under way the
 * agent runs on what is committed.
 *
 * Input: one byte says what happens, one or more say how; see steps[].
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "confd/apply_internal.h"
#include "confd/confd.h"
#include "confd/merge_params.h"
#include "privsep/log.h"
#include "privsep/memfd.h"
#include "privsep/offer.h"
#include "tests/unit/fake_store.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

static struct store disk;
static struct confd confd;
static int faulty; /* a write was made to fail: then less holds */

struct store *
store_open(int dir, const char *config_name, const struct msg_environment *env, char told[1024],
    struct error *err)
{
	close(dir);
	(void)config_name;
	(void)env;
	(void)err;
	told[0] = '\0';
	return &disk;
}

void
store_close(struct store *s)
{
	(void)s;
}

static uint8_t
byte(struct input *in)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->data++;
}

static size_t
bytes(struct input *in, void *to, size_t want)
{
	size_t n = want < in->size ? want : in->size;

	memset(to, 0, want);
	if (n > 0)
		memcpy(to, in->data, n);
	in->data += n;
	in->size -= n;
	return n;
}

static int
deliver(uint32_t type, enum proc peer, const void *payload, const char *tail, size_t tail_len,
    const void *blob, size_t blob_len)
{
	int r;
	struct message m = {.type = type,
	    .peer = peer,
	    .payload = payload,
	    .tail = tail,
	    .tail_len = tail_len,
	    .fd = -1};

	if (message_rules[type].fd == FD_MEMFD)
		m.fd = memfd_seal("fuzz", blob, blob_len, NULL);
	else if (message_rules[type].fd == FD_DIR)
		m.fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	else if (message_rules[type].fd == FD_LISTENER)
		m.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	r = confd_message(&confd, &m);
	count_message(type, peer, PROC_CONFD, r == 0);
	if (m.fd >= 0)
		close(m.fd);
	return r;
}

/* Whoever offered has the credit to offer again: the turn of the loop in between. */
static void
give_credit(void)
{
	(void)event_del(confd.credit);
	if (!confd.offer_credit)
		confd_give_credit(&confd);
}

/* ---- what happens */

/* The number'th message that confd's own handlers get; the frame sees to CHILD_*. */
static uint32_t
message_number(uint8_t number)
{
	static uint32_t types[MSG_COUNT], count;
	uint32_t type;

	if (count == 0)
		for (type = MSG_CHILD_END + 1; type < MSG_COUNT; type++)
			if ((message_rules[type].to & P(CONFD)) != 0)
				types[count++] = type;
	return types[number % count];
}

/* Any message, from any peer that may send it. */
static void
step_message(struct input *in)
{
	uint64_t payload[64];
	char tail[256 + 1], blob[256];
	uint32_t type = message_number(byte(in));
	const struct message_rule *r = &message_rules[type];
	size_t tail_len, blob_len, i;
	uint32_t peer;

	if (r->size > sizeof(payload))
		abort();
	memset(payload, 0, sizeof(payload));
	if ((byte(in) & 1) != 0)
		(void)bytes(in, payload, r->size);
	else /* fields are mostly small numbers: one byte of input for each */
		for (i = 0; i + 4 <= r->size; i += 4)
			put_field((char *)payload + i, byte(in));
	tail_len = bytes(in, tail, r->tail == 0 ? 0 : byte(in));
	tail[tail_len] = '\0';
	blob_len = r->fd == FD_MEMFD ? bytes(in, blob, byte(in)) : 0;
	for (peer = PROC_PARENT; peer < PROC_COUNT; peer++)
		if ((r->from & 1u << peer) != 0)
			(void)deliver(
			    type, (enum proc)peer, payload, tail, tail_len, blob, blob_len);
}

static void
step_merged(struct input *in)
{
	struct apply *a = &confd.apply;
	struct msg_merge m = {.job = a->job,
	    .kind = a->phase == APPLY_CHECK ? MERGE_CHECK : MERGE_COMPOSE,
	    .status = byte(in) % 4};
	struct record_writer w = {0};
	char text[8], *data;
	size_t len;

	(void)snprintf(text, sizeof(text), "t%u", byte(in) % 4);
	record_put(&w, RESULT_EFFECTIVE, 0, 0, text, strlen(text));
	if (record_finish(&w, &data, &len, NULL) == -1)
		abort();
	(void)deliver(MSG_MERGE_RESULT, PROC_PARENT, &m, "", 0, data, len);
	free(data);
}

static void
step_state(struct input *in)
{
	static uint32_t start;
	struct apply *a = &confd.apply;
	uint8_t how = byte(in);
	struct msg_state m = {.state = 1 + how % 6,
	    .token = how & 0x40 ? 0 : a->token,
	    .generation = how & 0x80 ? byte(in) % 8 : a->run_generation,
	    .exit = how & 0x20 ? EXIT_CODE : EXIT_NONE,
	    .exit_start = start};

	if (m.state == AGENT_RUNNING) {
		m.start = how & 0x10 ? start : ++start;
		m.pid = 1;
		m.started_ns = 1;
	}
	(void)deliver(MSG_PROC_STATE, PROC_PROCD, &m, "", 0, NULL, 0);
}

static void
step_job(struct input *in)
{
	uint8_t how = byte(in);
	struct msg_job_done m = {.token = confd.apply.job_token,
	    .start = 1,
	    .kind = AGENT_VALIDATE,
	    .exit = 1 + how % 5,
	    .value = how >> 7};

	(void)deliver(MSG_PROC_JOB_DONE, PROC_PROCD, &m, "", 0, NULL, 0);
}

static void
step_agent(struct input *in)
{
	uint8_t how = byte(in);
	uint32_t start = confd.apply.agent.proc.start;
	struct msg_link_agent m = {start, 1 + (how & 1)};
	struct msg_agent_health h = {
	    .start = start, .healthy = how >> 7, .worst = (how >> 1) % (WORST_STOPPED + 1)};
	struct msg_output_end o = {start, AGENT_RUN};

	if (how & 0x40)
		(void)deliver(MSG_LINK_AGENT, PROC_LINK, &m, "", 0, NULL, 0);
	else if (how & 0x20)
		(void)deliver(MSG_AGENT_OUTPUT_END, PROC_LINK, &o, "Error: x", 8, NULL, 0);
	else
		(void)deliver(MSG_AGENT_HEALTH, PROC_LINK, &h, "e\0s", 3, "tree", 4);
}

static void
step_offer(struct input *in)
{
	uint8_t how = byte(in);
	char hash[1] = {(char)('a' + how % 4)};
	struct offer_file f = {{"", 0}, {"", 0}, {hash, how & 8 ? 0 : 1}};
	struct offer o = {.hash = {hash, how & 4 ? 0 : 1},
	    .empty_map = (how >> 4) & 1,
	    .count = (how >> 4) & 1 ? 0 : 1,
	    .files = &f};
	struct msg_offer m = {o.empty_map, o.count};
	char *data;
	size_t len;
	int had;

	if (offer_pack(&o, LIMIT_CONFIG_BYTES, &data, &len, NULL) == -1)
		abort();
	if ((how & 0x60) != 0x60) /* else: without credit, and refused */
		give_credit();
	had = confd.offer_credit;
	if (deliver(MSG_OFFER, PROC_NETD, &m, "", 0, data, len) != (had ? 0 : -1) ||
	    confd.offer_credit)
		abort();
	free(data);
}

static void
step_timer(struct input *in)
{
	apply_timeout(&confd.apply, (enum apply_timer)(byte(in) % APPLY_TIMERS));
	confd_settle(&confd);
}

static void
step_peer(struct input *in)
{
	static const enum proc peers[] = {PROC_NETD, PROC_LINK, PROC_PROCD};
	uint8_t how = byte(in);

	confd_peer_down(&confd, peers[how % 3]);
	if (how & 0x80)
		confd_peer_up(&confd, peers[how % 3]);
}

static void
step_fault(struct input *in)
{
	uint8_t how = byte(in);

	disk.fail_state = how & 1;
	disk.fail_make = how >> 1 & 1;
	disk.fail_switch = how >> 2 & 1;
	disk.fail_ready = how >> 3 & 1;
	disk.fail_candidate = how >> 4 & 1;
	disk.fail_identity = how >> 5 & 1;
	faulty |= how != 0;
}

static void
born(uint8_t how)
{
	struct msg_environment env = {.link_port = 1};
	struct error err;

	confd.state_dir = confd.listener = -1;
	(void)deliver(MSG_CONFD_ENVIRONMENT, PROC_PARENT, &env, "", 0, NULL, 0);
	(void)deliver(MSG_CONFD_STATE_DIR, PROC_PARENT, NULL, "", 0, NULL, 0);
	(void)deliver(MSG_CONFD_CONTROL, PROC_PARENT, NULL, "", 0, NULL, 0);
	if (confd_open(&confd, &err) == -1)
		abort();
	confd.apply.set.raw = (how & 7) == 7;
	confd.apply.set.injects = (how & 1) && !confd.apply.set.raw;
	confd.apply.set.validates = how >> 1 & 1;
	confd.apply.set.hup = how >> 2 & 1;
	confd.apply.set.accepts = (how & 0x70) != 0x70;
	confd.apply.set.has_local = how >> 4 & 1;
	confd.apply.set.settling_ms = 0;
	confd.apply.set.offers_per_minute = confd.apply.offers.per_minute = 100000;
	confd.apply.offers.tokens = 100000;
	confd_peer_up(&confd, PROC_LINK);
	confd_peer_up(&confd, PROC_PROCD);
	confd_peer_up(&confd, PROC_NETD);
}

static void
died(void)
{
	struct event_base *base = confd.child.base;

	close(confd.listener);

	confd_close(&confd);
	memset(&confd, 0, sizeof(confd));
	confd.child.base = base;
	confd.child.self = PROC_CONFD;
}

static void
step_death(struct input *in)
{
	died();
	born(byte(in));
}

/* ---- what must hold */

static void
check(void)
{
	const struct apply *a = &confd.apply;
	uint64_t home = a->committed != 0 ? a->committed : a->base;

	if (a->phase > APPLY_STOPPING || (a->committed != 0 && disk.state.committed == 0))
		abort();
	if (a->committed != 0 && fake_find(&disk, a->committed) == NULL)
		abort(); /* pruned: there is nothing to go back to */
	if (a->run_generation != 0 && fake_find(&disk, a->run_generation) == NULL)
		abort(); /* procd was told to have the agent run on what is not there */
	if (a->phase != APPLY_IDLE || faulty)
		return;
	if (a->switched || disk.state.phase == PHASE_TRIAL)
		abort();
	if (a->told.status == CONFIG_APPLYING)
		abort(); /* stuck (CF-07) */
	if (home == 0 || a->stopped)
		return;
	if (a->run_generation == 0 || !apply_same_text(&confd.apply, a->run_generation, home) ||
	    !apply_same_text(&confd.apply, disk.running, home))
		abort();
}

static void (*const steps[])(struct input *) = {step_message, step_merged, step_state, step_job,
    step_agent, step_offer, step_timer, step_peer, step_fault, step_death};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct event_base *base;
	struct input in = {data, size};

	if (base == NULL) {
		log_init("fuzz", LOG_SINK_STDERR, LOG_LEVEL_ERROR);
		log_set_level(LOG_LEVEL_NOTHING);
		base = event_base_new();
	}
	input_begins();
	memset(&disk, 0, sizeof(disk));
	memset(&confd, 0, sizeof(confd));
	confd.child.base = base;
	confd.child.self = PROC_CONFD;
	faulty = 0;
	born(byte(&in));
	while (in.size > 0) {
		steps[byte(&in) % (sizeof(steps) / sizeof(steps[0]))](&in);
		check();
	}
	died();
	fake_store_clear(&disk);
	input_ends();
	return 0;
}
