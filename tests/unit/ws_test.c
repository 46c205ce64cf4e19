/*
 * ws_test.c: the frame cases of RFC 6455 in both roles, whole and byte by byte.
 */
#include "ws_talk.h"

/* ---- the table of cases */

struct step {
	uint8_t first; /* 0 with len 0 after the first step: the end */
	size_t len;
	const char *text; /* NULL: len times 'x' */
};

struct frame_case {
	const char *name;
	struct step steps[8];
	enum ws_state state;
	int code;        /* of the Close frame we sent; 0: one without a code */
	const char *all; /* the messages joined; NULL: not looked at */
	unsigned count;  /* messages */
	unsigned pongs;  /* frames of ours that are pongs */
};

#define CLOSE(text)                                                                                \
	{                                                                                          \
		0x88, sizeof(text) - 1, text                                                       \
	}
#define BIN(text)                                                                                  \
	{                                                                                          \
		0x82, sizeof(text) - 1, text                                                       \
	}
#define PING(text)                                                                                 \
	{                                                                                          \
		0x89, sizeof(text) - 1, text                                                       \
	}

/* clang-format off: a table */
static const struct frame_case cases[] = {
    /* framing */
    {"empty message", {{0x82, 0, ""}}, WS_OPEN, NOT_SENT, "", 1, 0},
    {"one byte", {BIN("a")}, WS_OPEN, NOT_SENT, "a", 1, 0},
    {"125 bytes", {{0x82, 125, NULL}}, WS_OPEN, NOT_SENT, NULL, 1, 0},
    {"126 bytes", {{0x82, 126, NULL}}, WS_OPEN, NOT_SENT, NULL, 1, 0},
    {"127 bytes", {{0x82, 127, NULL}}, WS_OPEN, NOT_SENT, NULL, 1, 0},
    {"128 bytes", {{0x82, 128, NULL}}, WS_OPEN, NOT_SENT, NULL, 1, 0},
    {"65535 bytes", {{0x82, 65535, NULL}}, WS_OPEN, NOT_SENT, NULL, 1, 0},
    {"65536 bytes", {{0x82, 65536, NULL}}, WS_OPEN, NOT_SENT, NULL, 1, 0},
    {"two messages", {BIN("a"), BIN("b")}, WS_OPEN, NOT_SENT, "ab", 2, 0},
    /* pings and pongs */
    {"empty ping", {PING("")}, WS_OPEN, NOT_SENT, "", 0, 1},
    {"ping of any bytes", {{0x89, 8, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"}}, WS_OPEN, NOT_SENT, "", 0,
	1},
    {"longest ping", {{0x89, 125, NULL}}, WS_OPEN, NOT_SENT, "", 0, 1},
    {"ping too long", {{0x89, 126, NULL}}, WS_BROKEN, 1002, "", 0, 0},
    {"pong not asked for, then ping", {{0x8a, 3, "abc"}, PING("q")}, WS_OPEN, NOT_SENT, "", 0, 1},
    {"pong too long", {{0x8a, 126, NULL}}, WS_BROKEN, 1002, "", 0, 0},
    {"pings in a row", {PING("1"), PING("2"), PING("3"), PING("4")}, WS_OPEN, NOT_SENT, "", 0, 4},
    /* fragments */
    {"two fragments", {{0x02, 3, "abc"}, {0x80, 3, "def"}}, WS_OPEN, NOT_SENT, "abcdef", 1, 0},
    {"empty fragments", {{0x02, 0, ""}, {0x00, 1, "a"}, {0x80, 0, ""}, BIN("b")}, WS_OPEN, NOT_SENT,
	"ab", 2, 0},
    {"all fragments empty", {{0x02, 0, ""}, {0x80, 0, ""}}, WS_OPEN, NOT_SENT, "", 1, 0},
    {"ping between", {{0x02, 1, "a"}, PING("p"), {0x80, 1, "b"}}, WS_OPEN, NOT_SENT, "ab", 1, 1},
    {"pings and pongs between",
	{{0x02, 1, "a"}, PING("p"), {0x8a, 1, "q"}, {0x00, 70, NULL}, PING(""), {0x80, 1, "b"}},
	WS_OPEN, NOT_SENT, NULL, 1, 2},
    {"close between", {{0x02, 1, "a"}, CLOSE("\x03\xe8")}, WS_CLOSED, 1000, "", 0, 0},
    {"fragmented ping", {{0x09, 1, "a"}, {0x80, 1, "b"}}, WS_BROKEN, 1002, "", 0, 0},
    {"fragmented pong", {{0x0a, 1, "a"}, {0x80, 1, "b"}}, WS_BROKEN, 1002, "", 0, 0},
    {"fragmented close", {{0x08, 2, "\x03\xe8"}}, WS_BROKEN, 1002, "", 0, 0},
    {"continuation first, last", {{0x80, 1, "a"}}, WS_BROKEN, 1002, "", 0, 0},
    {"continuation first, not last", {{0x00, 1, "a"}, {0x80, 1, "a"}}, WS_BROKEN, 1002, "", 0, 0},
    {"continuation after the end", {BIN("a"), {0x80, 1, "b"}}, WS_BROKEN, 1002, "a", 1, 0},
    {"message within a message", {{0x02, 1, "a"}, BIN("b")}, WS_BROKEN, 1002, "", 0, 0},
    {"text within a message", {{0x02, 1, "a"}, {0x81, 1, "b"}}, WS_BROKEN, 1002, "", 0, 0},
    {"over the limit by the sum", {{0x02, 40000, NULL}, {0x00, 30000, NULL}, {0x80, 1, "x"}},
	WS_BROKEN, 1009, "", 0, 0},
    {"the limit by the sum", {{0x02, 40000, NULL}, {0x80, 30000, NULL}}, WS_OPEN, NOT_SENT, NULL, 1,
	0},
    /* closing */
    {"close without a code", {CLOSE("")}, WS_CLOSED, 0, "", 0, 0},
    {"close of one byte", {CLOSE("\x03")}, WS_BROKEN, 1002, "", 0, 0},
    {"close 1000", {CLOSE("\x03\xe8")}, WS_CLOSED, 1000, "", 0, 0},
    {"close with words", {CLOSE("\x03\xe9going away")}, WS_CLOSED, 1001, "", 0, 0},
    {"close with the longest reason",
	{{0x88, 125,
	    "\x03\xe8"
	    "12345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
	    "78901234567890123456789012345678901234567890"}},
	WS_CLOSED, 1000, "", 0, 0},
    {"close too long", {{0x88, 126, NULL}}, WS_BROKEN, 1002, "", 0, 0},
    {"close with umlauts", {CLOSE("\x03\xe8gr\xc3\xbc\xc3\x9f dich \xf0\x9f\x92\xa5")}, WS_CLOSED,
	1000, "", 0, 0},
    {"close with NUL",
	{CLOSE("\x03\xe8"
	       "a\0b")},
	WS_CLOSED, 1000, "", 0, 0},
    {"close, reason cut in a character", {CLOSE("\x03\xe8gr\xc3")}, WS_BROKEN, 1007, "", 0, 0},
    {"close, surrogate", {CLOSE("\x03\xe8\xed\xa0\x80")}, WS_BROKEN, 1007, "", 0, 0},
    {"close, overlong",
	{CLOSE("\x03\xe8"
	       "a\0\xc0\xaf")},
	WS_BROKEN, 1007, "", 0, 0},
    {"close, beyond Unicode", {CLOSE("\x03\xe8\xf4\x90\x80\x80")}, WS_BROKEN, 1007, "", 0, 0},
    {"what comes after close",
	{CLOSE("\x03\xe8"), PING("p"), BIN("a"), {0x83, 1, "b"}, CLOSE("\x03\xe9")}, WS_CLOSED,
	1000, "", 0, 0},
    {"message, close", {BIN("a"), CLOSE("\x03\xe8")}, WS_CLOSED, 1000, "a", 1, 0},
    /* text */
    {"text", {{0x81, 5, "hello"}}, WS_BROKEN, 1003, "", 0, 0},
    {"empty text", {{0x81, 0, ""}}, WS_BROKEN, 1003, "", 0, 0},
    {"text fragment", {{0x01, 5, "hello"}}, WS_BROKEN, 1003, "", 0, 0},
    {"text after binary", {BIN("a"), {0x81, 5, "hello"}}, WS_BROKEN, 1003, "a", 1, 0},
    {"text over the limit", {{0x81, MAX_MESSAGE + 1, NULL}}, WS_BROKEN, 1003, "", 0, 0},
    /* the limit */
    {"the limit", {{0x82, MAX_MESSAGE, NULL}}, WS_OPEN, NOT_SENT, NULL, 1, 0},
    {"over the limit", {{0x82, MAX_MESSAGE + 1, NULL}}, WS_BROKEN, 1009, "", 0, 0},
};
/* clang-format on */

static unsigned
count_pongs(struct talk *t, const struct frame_case *c)
{
	struct frame f;
	unsigned n = 0, at = 0;

	while (n < c->pongs && sent_frame(t, &f)) {
		while (c->steps[at].first != 0x89)
			at++;
		assert_int_equal(f.first, 0x8a);
		assert_int_equal(f.len, c->steps[at].len);
		if (c->steps[at].text != NULL)
			assert_memory_equal(f.payload, c->steps[at].text, f.len);
		at++;
		n++;
	}
	return n;
}

static void
run_case(const struct frame_case *c, enum ws_role role, size_t step)
{
	static uint8_t filler[MAX_MESSAGE + 1];
	struct evbuffer *b = evbuffer_new();
	enum ws_state got;
	struct talk t;
	size_t i;

	memset(filler, 'x', sizeof(filler));
	talk_begin(&t, role, MAX_MESSAGE);
	for (i = 0; i < 8 && (i == 0 || c->steps[i].first != 0 || c->steps[i].len != 0); i++)
		add_frame(b, role, c->steps[i].first,
		    c->steps[i].text == NULL ? (const char *)filler : c->steps[i].text,
		    c->steps[i].len);
	got = feed(&t, b, step);
	if (got != c->state || t.count != c->count)
		print_error("%s: %s, %zu bytes at a time\n", c->name,
		    role == WS_SERVER ? "server" : "client", step);
	assert_int_equal(got, c->state);
	assert_int_equal(evbuffer_get_length(t.in), 0);
	assert_int_equal(t.count, c->count);
	if (c->all != NULL) {
		assert_int_equal(evbuffer_get_length(t.messages), strlen(c->all));
		if (*c->all != '\0')
			assert_memory_equal(
			    evbuffer_pullup(t.messages, -1), c->all, strlen(c->all));
	}
	assert_int_equal(count_pongs(&t, c), c->pongs);
	assert_int_equal(sent_close(&t), c->code);
	if (c->state != WS_OPEN) {
		assert_true(strlen(t.err.text) > 10);
		assert_int_equal(ws_send(t.w, NULL, 0, "a", 1), -1);
		assert_int_equal(ws_ping(t.w), -1);
		ws_close(t.w, 1000, "again");
		assert_int_equal(evbuffer_get_length(t.out), 0);
	}
	evbuffer_free(b);
	talk_end(&t);
}

static void
test_FR_05_FR_06_SZ_01_frames_in_both_roles(void **state)
{
	static const size_t steps[] = {1, 3, 4096, MAX_MESSAGE * 8};
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (k = 0; k < sizeof(steps) / sizeof(steps[0]); k++) {
			run_case(&cases[i], WS_CLIENT, steps[k]);
			run_case(&cases[i], WS_SERVER, steps[k]);
		}
}

/* One frame header alone, no mask and no payload: what is made of it? */
static void
check_header(enum ws_role role, uint8_t first, uint64_t len, int form, int flip_mask, int code)
{
	struct evbuffer *b = evbuffer_new();
	struct talk t;
	uint8_t *p;

	talk_begin(&t, role, MAX_MESSAGE);
	add_header(b, role, first, len, form);
	if (flip_mask) {
		p = evbuffer_pullup(b, 2);
		p[1] ^= 0x80;
	}
	assert_int_equal(feed(&t, b, 1), code == NOT_SENT ? WS_OPEN : WS_BROKEN);
	assert_int_equal(sent_close(&t), code);
	evbuffer_free(b);
	talk_end(&t);
}

static void
test_FR_06_reserved_bits_and_opcodes(void **state)
{
	enum ws_role role;
	int bits, op;

	(void)state;
	for (role = WS_CLIENT; role <= WS_SERVER; role++) {
		for (bits = 1; bits < 8; bits++)
			for (op = 0; op < 16; op++)
				check_header(role, (uint8_t)(0x80 | bits << 4 | op), 1, 0, 0, 1002);
		for (op = 0; op < 16; op++)
			if ((op & 7) > 2) {
				check_header(role, (uint8_t)(0x80 | op), 0, 0, 0, 1002);
				check_header(role, (uint8_t)op, 5, 0, 0, 1002);
			}
	}
}

static void
test_FR_06_masking_by_role(void **state)
{
	static const uint8_t firsts[] = {0x82, 0x02, 0x81, 0x88, 0x89, 0x8a};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(firsts); i++) {
		check_header(WS_CLIENT, firsts[i], 0, 0, 1, 1002);
		check_header(WS_SERVER, firsts[i], 0, 0, 1, 1002);
		check_header(WS_CLIENT, firsts[i], 2, 0, 1, 1002);
		check_header(WS_SERVER, firsts[i], 2, 0, 1, 1002);
	}
}

static void
test_SZ_02_the_header_is_enough(void **state)
{
	enum ws_role role;

	(void)state;
	for (role = WS_CLIENT; role <= WS_SERVER; role++) {
		check_header(role, 0x82, UINT64_C(1) << 63, 8, 0, 1009);
		check_header(role, 0x82, UINT64_MAX, 8, 0, 1009);
		check_header(role, 0x82, INT64_MAX, 8, 0, 1009);
		check_header(role, 0x02, UINT32_MAX, 8, 0, 1009);
		check_header(role, 0x82, MAX_MESSAGE + 1, 8, 0, 1009);
		check_header(role, 0x82, MAX_MESSAGE, 8, 0, NOT_SENT);
		check_header(role, 0x81, UINT64_MAX, 8, 0, 1003);
		check_header(role, 0x89, 126, 2, 0, 1002);
		check_header(role, 0x89, UINT64_MAX, 8, 0, 1002);
	}
}

static void
test_FR_06_lengths_in_their_shortest_form(void **state)
{
	enum ws_role role;

	(void)state;
	for (role = WS_CLIENT; role <= WS_SERVER; role++) {
		check_header(role, 0x82, 0, 2, 0, 1002);
		check_header(role, 0x82, 125, 2, 0, 1002);
		check_header(role, 0x82, 126, 2, 0, NOT_SENT);
		check_header(role, 0x82, 5, 8, 0, 1002);
		check_header(role, 0x82, 65535, 8, 0, 1002);
		check_header(role, 0x82, 65536, 8, 0, NOT_SENT);
	}
}

static void
test_FR_06_close_codes(void **state)
{
	unsigned code;
	enum ws_role role;
	int good;

	(void)state;
	for (role = WS_CLIENT; role <= WS_SERVER; role++)
		for (code = 0; code < 65536; code++) {
			struct evbuffer *b = evbuffer_new();
			uint8_t bytes[2] = {(uint8_t)(code >> 8), (uint8_t)code};
			struct talk t;

			if (code > 5100)
				code += 997;
			talk_begin(&t, role, MAX_MESSAGE);
			bytes[0] = (uint8_t)(code >> 8);
			bytes[1] = (uint8_t)code;
			add_frame(b, role, 0x88, bytes, 2);
			good = (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 &&
				   code != 1006) ||
			       (code >= 3000 && code < 5000);
			assert_int_equal(feed(&t, b, 100), good ? WS_CLOSED : WS_BROKEN);
			assert_int_equal(sent_close(&t), good ? (int)code : 1002);
			assert_int_equal(ws_peer_code(t.w), good ? code : 0);
			evbuffer_free(b);
			talk_end(&t);
		}
}

static void
test_FR_06_we_close_first(void **state)
{
	struct evbuffer *b = evbuffer_new();
	struct talk t;
	enum ws_role role;

	(void)state;
	for (role = WS_CLIENT; role <= WS_SERVER; role++) {
		talk_begin(&t, role, MAX_MESSAGE);
		ws_close(t.w, 1001, "bye");
		ws_close(t.w, 1000, "twice");
		assert_int_equal(sent_close(&t), 1001);
		/* what was under way still comes, and is dropped; pings get no answer */
		add_frame(b, role, 0x02, "abc", 3);
		add_frame(b, role, 0x89, "p", 1);
		add_frame(b, role, 0x80, "def", 3);
		assert_int_equal(feed(&t, b, 1), WS_CLOSING);
		assert_int_equal(t.count, 0);
		add_frame(b, role, 0x88, "\x03\xe9right", 7);
		assert_int_equal(feed(&t, b, 1), WS_CLOSED);
		assert_int_equal(evbuffer_get_length(t.out), 0);
		assert_int_equal(ws_peer_code(t.w), 1001);
		assert_non_null(strstr(t.err.text, "right"));
		talk_end(&t);

		/* a peer that breaks the rules while we wait gets no second Close frame */
		talk_begin(&t, role, MAX_MESSAGE);
		ws_close(t.w, 1000, NULL);
		assert_int_equal(sent_close(&t), 1000);
		add_frame(b, role, 0x83, "", 0);
		assert_int_equal(feed(&t, b, 1), WS_BROKEN);
		assert_int_equal(evbuffer_get_length(t.out), 0);
		talk_end(&t);
	}
	evbuffer_free(b);
}

static void
test_FR_06_our_reasons_are_cut_at_a_character(void **state)
{
	char words[200];
	struct frame f;
	struct talk t;

	(void)state;
	memset(words, 'a', sizeof(words));
	memcpy(words + 121, "\xe2\x82\xac", 4); /* the euro sign would end at 124 */
	talk_begin(&t, WS_SERVER, MAX_MESSAGE);
	ws_close(t.w, 1011, words);
	assert_true(sent_frame(&t, &f));
	assert_int_equal(f.first, 0x88);
	assert_int_equal(f.len, 2 + 121);
	talk_end(&t);

	talk_begin(&t, WS_CLIENT, MAX_MESSAGE);
	ws_close(t.w, 1005, "codes that may not be sent are left away");
	assert_true(sent_frame(&t, &f));
	assert_int_equal(f.len, 0);
	talk_end(&t);
}

static void
test_FR_06_the_owner_refuses_a_message(void **state)
{
	struct evbuffer *b = evbuffer_new();
	struct talk t;

	(void)state;
	talk_begin(&t, WS_CLIENT, MAX_MESSAGE);
	t.answer = -1;
	add_frame(b, WS_CLIENT, 0x82, "a", 1);
	add_frame(b, WS_CLIENT, 0x82, "b", 1);
	assert_int_equal(feed(&t, b, 1000), WS_BROKEN);
	assert_int_equal(t.count, 1);
	assert_int_equal(sent_close(&t), 1008);
	talk_end(&t);

	talk_begin(&t, WS_CLIENT, MAX_MESSAGE);
	t.answer = -1;
	t.close = 1002;
	add_frame(b, WS_CLIENT, 0x82, "a", 1);
	assert_int_equal(feed(&t, b, 1000), WS_BROKEN);
	assert_int_equal(sent_close(&t), 1002);
	talk_end(&t);

	talk_begin(&t, WS_CLIENT, MAX_MESSAGE);
	t.close = 1001;
	add_frame(b, WS_CLIENT, 0x82, "a", 1);
	add_frame(b, WS_CLIENT, 0x82, "b", 1);
	assert_int_equal(feed(&t, b, 1000), WS_CLOSING);
	assert_int_equal(t.count, 1);
	assert_int_equal(sent_close(&t), 1001);
	talk_end(&t);
	evbuffer_free(b);
}

static void
test_FR_06_pings_of_ours(void **state)
{
	struct evbuffer *b = evbuffer_new();
	struct frame f;
	struct talk t;

	(void)state;
	talk_begin(&t, WS_CLIENT, MAX_MESSAGE);
	assert_int_equal(ws_ping(t.w), 0);
	assert_true(sent_frame(&t, &f));
	assert_int_equal(f.first, 0x89);
	add_frame(b, WS_CLIENT, 0x8a, f.payload, f.len);
	assert_int_equal(feed(&t, b, 1), WS_OPEN);
	assert_int_equal(t.pongs, 1);
	evbuffer_free(b);
	talk_end(&t);
}

static void
test_FR_06_masks_differ(void **state)
{
	uint8_t bytes[2][16];
	struct talk t;
	int i;

	(void)state;
	talk_begin(&t, WS_CLIENT, MAX_MESSAGE);
	for (i = 0; i < 2; i++) {
		assert_int_equal(ws_send(t.w, NULL, 0, "0123456789", 10), 0);
		assert_int_equal(evbuffer_remove(t.out, bytes[i], 16), 16);
		assert_int_equal(bytes[i][1], 0x80 | 10);
	}
	assert_memory_not_equal(bytes[0] + 2, bytes[1] + 2, 4);
	talk_end(&t);
}

static void
test_FR_06_accept_key(void **state)
{
	/* the first is RFC 6455's example; the others were computed with hashlib */
	static const char *pairs[][2] = {
	    {"dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
	    {"AAAAAAAAAAAAAAAAAAAAAA==", "ICX+Yqv66kxgM0FcWaLWlFLwTAI="},
	    {"/////////////////////w==", "XXpj4jYzLM2yUE0C7TIgMwTQh2g="},
	    {"x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="},
	};
	static const char *bad[] = {"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ",
	    "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZQ==\n",
	    " GhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQA=", "dGhlIHNhbXBsZSBub25j====",
	    "dGhlIHNhbXBs-SBub25jZQ==", "dGhlIHNhbXBsZSBub25jZSBub25jZQ=="};
	char accept[WSKEY_ACCEPT_SIZE], key[WSKEY_SIZE], other[WSKEY_SIZE];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		assert_int_equal(wskey_accept(pairs[i][0], accept), 0);
		assert_string_equal(accept, pairs[i][1]);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(wskey_accept(bad[i], accept), -1);
	assert_int_equal(wskey_new(key), 0);
	assert_int_equal(wskey_new(other), 0);
	assert_string_not_equal(key, other);
	assert_int_equal(strlen(key), WSKEY_SIZE - 1);
	assert_int_equal(wskey_accept(key, accept), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_FR_05_FR_06_SZ_01_frames_in_both_roles),
	    cmocka_unit_test(test_FR_06_reserved_bits_and_opcodes),
	    cmocka_unit_test(test_FR_06_masking_by_role),
	    cmocka_unit_test(test_SZ_02_the_header_is_enough),
	    cmocka_unit_test(test_FR_06_lengths_in_their_shortest_form),
	    cmocka_unit_test(test_FR_06_close_codes),
	    cmocka_unit_test(test_FR_06_we_close_first),
	    cmocka_unit_test(test_FR_06_our_reasons_are_cut_at_a_character),
	    cmocka_unit_test(test_FR_06_the_owner_refuses_a_message),
	    cmocka_unit_test(test_FR_06_pings_of_ours),
	    cmocka_unit_test(test_FR_06_masks_differ),
	    cmocka_unit_test(test_FR_06_accept_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
