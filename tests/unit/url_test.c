/*
 * url_test.c: URLs of the settings, as they are taken apart and as they are refused.
 */
#include "test.h"

#include <string.h>

#include "privsep/url.h"

static void
test_FR_09_urls_taken_apart(void **state)
{
	static const struct {
		const char *text;
		enum url_scheme scheme;
		const char *host, *port, *host_header, *target;
	} good[] = {
	    {"ws://server.example", URL_WS, "server.example", "4320", "server.example:4320",
		"/v1/opamp"},
	    {"wss://server.example/", URL_WSS, "server.example", "4320", "server.example:4320",
		"/"},
	    {"wss://server.example:443/a/b?c=d/e", URL_WSS, "server.example", "443",
		"server.example", "/a/b?c=d/e"},
	    {"ws://server:443?x=1", URL_WS, "server", "443", "server:443", "/v1/opamp?x=1"},
	    {"ws://server:80", URL_WS, "server", "80", "server", "/v1/opamp"},
	    {"WSS://Server_1.:65535", URL_WSS, "Server_1.", "65535", "Server_1.:65535",
		"/v1/opamp"},
	    {"ws://[::1]", URL_WS, "::1", "4320", "[::1]:4320", "/v1/opamp"},
	    {"ws://[2001:db8::1]:80/x", URL_WS, "2001:db8::1", "80", "[2001:db8::1]", "/x"},
	    {"ws://[::ffff:192.0.2.1]:1", URL_WS, "::ffff:192.0.2.1", "1", "[::ffff:192.0.2.1]:1",
		"/v1/opamp"},
	    {"http://127.0.0.1:13133", URL_HTTP, "127.0.0.1", "13133", "127.0.0.1:13133", "/"},
	    {"http://localhost/health", URL_HTTP, "localhost", "80", "localhost", "/health"},
	    {"http://localhost?verbose", URL_HTTP, "localhost", "80", "localhost", "/?verbose"},
	    {"ws://h:04320/@:", URL_WS, "h", "4320", "h:4320", "/@:"},
	};
	struct url u;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(url_split(&u, good[i].scheme, good[i].text, NULL), 0);
		assert_int_equal(u.scheme, good[i].scheme);
		assert_string_equal(u.host, good[i].host);
		assert_string_equal(u.port_text, good[i].port);
		assert_string_equal(u.host_header, good[i].host_header);
		assert_string_equal(u.target, good[i].target);
	}
}

static void
test_FR_09_urls_refused(void **state)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
	    {"", "is not a URL"},
	    {"server.example", "is not a URL"},
	    {"https://server.example", "is not a URL"},
	    {"ws:/server", "is not a URL"},
	    {"xws://server", "is not a URL"},
	    {"http://server", "begins with ws:// or wss://"},
	    {"ws://", "names no host"},
	    {"ws:///path", "names no host"},
	    {"ws://:4320", "names no host"},
	    {"ws://[]", "names no host"},
	    {"ws://[::1", "without"},
	    {"ws://[::1/]", "without"},
	    {"ws://[fe80::1%25eth0]", "IPv6"},
	    {"ws://[127.0.0.1]", "IPv6"},
	    {"ws://::1", "brackets"},
	    {"ws://2001:db8::1:4320", "brackets"},
	    {"ws://[::1]4320", "port"},
	    {"ws://server:", "port"},
	    {"ws://server:0", "port"},
	    {"ws://server:65536", "port"},
	    {"ws://server:4294967376", "port"},
	    {"ws://server:+80", "port"},
	    {"ws://server:80a", "port"},
	    {"ws://user:secret@server", "server.headers"},
	    {"ws://server/#x", "fragment"},
	    {"ws://server?#", "fragment"},
	    {"ws://ser ver", "blanks"},
	    {"ws://server/a\r\nX: y", "blanks"},
	    {"ws://server/\x7f", "blanks"},
	    {"ws://s\xc3\xa4rver", "ASCII"},
	    {"ws://server/\xc3\xa4", "ASCII"},
	    {"ws://ser%76er", "neither"},
	    {"ws://server\\x", "neither"},
	};
	struct error err;
	struct url u;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(url_split(&u, URL_OF_SERVER, bad[i].text, &err), -1);
		if (strstr(err.text, bad[i].words) == NULL)
			fail_msg("%s: %s", bad[i].text, err.text);
	}
}

static void
test_FR_09_the_longest_urls(void **state)
{
	char text[URL_TEXT + 2];
	struct url u;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "wss://", 6);
	text[6 + URL_HOST] = '\0';
	assert_int_equal(url_split(&u, URL_OF_SERVER, text, NULL), 0);
	assert_int_equal(strlen(u.host_header), URL_HOST + 5);
	text[6 + URL_HOST] = 'a';
	text[7 + URL_HOST] = '\0';
	assert_int_equal(url_split(&u, URL_OF_SERVER, text, NULL), -1);
	memset(text, 'a', sizeof(text));
	memcpy(text, "wss://a?", 8);
	text[URL_TEXT] = '\0';
	assert_int_equal(url_split(&u, URL_OF_SERVER, text, NULL), 0);
	assert_int_equal(strlen(u.target), URL_TEXT - 7 + 9);
	text[URL_TEXT] = 'a';
	text[URL_TEXT + 1] = '\0';
	assert_int_equal(url_split(&u, URL_OF_SERVER, text, NULL), -1);
}

static void
test_loopback(void **state)
{
	static const char *yes[] = {"http://localhost", "http://LOCALHOST:1/x", "http://127.0.0.1",
	    "http://127.255.0.1", "http://[::1]:80"};
	static const char *no[] = {"http://127.example.com", "http://localhost.example.com",
	    "http://[::2]", "http://[::ffff:127.0.0.1]", "http://0.0.0.0", "http://128.0.0.1"};
	struct url u;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		assert_int_equal(url_split(&u, URL_OF_PROBE, yes[i], NULL), 0);
		assert_true(url_is_loopback(&u));
	}
	for (i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		assert_int_equal(url_split(&u, URL_OF_PROBE, no[i], NULL), 0);
		assert_false(url_is_loopback(&u));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_FR_09_urls_taken_apart),
	    cmocka_unit_test(test_FR_09_urls_refused),
	    cmocka_unit_test(test_FR_09_the_longest_urls),
	    cmocka_unit_test(test_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
