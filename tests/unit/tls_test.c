/*
 * tls_test.c: whom netd believes to be the server, and what it says when it does not.
 */
#include "transport_fake.h"

#define URL  "wss://opamp.example.com/v1/opamp"
#define NAME "DNS:opamp.example.com"

static struct authority ours, other;
static EVP_PKEY *server_key, *client_key;
static char *our_pem, *other_pem;

static void
greet(struct server_end *s)
{
	server_upgrade(s);
	server_write(s, "\x82\x02\x00!", 4);
	server_drain(s);
}

static int
set_up(void **state)
{
	struct error err;

	(void)state;
	assert_int_equal(tls_library(&err), 0);
	ours = make_authority("our authority");
	other = make_authority("another authority");
	our_pem = pem_of(ours.cert, NULL);
	other_pem = pem_of(other.cert, NULL);
	server_key = EVP_EC_gen("P-256");
	client_key = EVP_EC_gen("P-256");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	EVP_PKEY_free(ours.key);
	X509_free(ours.cert);
	EVP_PKEY_free(other.key);
	X509_free(other.cert);
	EVP_PKEY_free(server_key);
	EVP_PKEY_free(client_key);
	free(our_pem);
	free(other_pem);
	return 0;
}

static struct tls_settings
usual(void)
{
	return (struct tls_settings){.ca[0] = {our_pem, "ca_file"},
	    .min_version = TLS1_2_VERSION,
	    .max_version = TLS1_3_VERSION};
}

/* One attempt.  want: NULL = the greeting must arrive; otherwise a part of the reason it did not. */
static void
try_it(struct tls_settings *s, X509 *cert, const struct server_plan *more, const char *url,
    const char *want)
{
	struct server_plan plan = *more;
	struct error err = {""};
	struct fake f;

	plan.serve = plan.serve == NULL ? greet : plan.serve;
	plan.key = server_key;
	plan.cert = cert;
	fake_init(&f, url);
	f.set.tls = tls_new(s, &err);
	assert_string_equal(err.text, "");
	fake_connect(&f, &plan);
	while (!f.ended && !f.messages)
		assert_true(fake_run(&f, 10000));
	if (want == NULL && f.ended)
		fail_msg("%s", f.why);
	if (want != NULL && (f.messages || strstr(f.why, want) == NULL))
		fail_msg("\"%s\" where \"%s\" was wanted", f.why, want);
	fake_clear(&f);
	if (want == NULL)
		assert_int_equal(f.server_status, 0);
	tls_free(f.set.tls);
	X509_free(cert);
}

static X509 *
good_cert(void)
{
	return make_cert(server_key, "server", NAME, -10, 3600, &ours, 0);
}

static void
test_a_good_server(void **state)
{
	struct server_plan plan = {.want_sni = "opamp.example.com"};
	struct tls_settings s = usual();

	(void)state;
	try_it(&s, good_cert(), &plan, URL, NULL);
	plan.max_version = TLS1_2_VERSION;
	try_it(&s, good_cert(), &plan, URL, NULL);
	/* one authority of several */
	s.ca[1] = s.ca[0];
	s.ca[0].data = other_pem;
	try_it(&s, good_cert(), &plan, URL, NULL);
}

static void
test_names(void **state)
{
	const struct server_plan plan = {0};
	struct tls_settings s = usual();

	(void)state;
	try_it(&s, good_cert(), &plan, "wss://other.example.com", "is not for other.example.com");
	try_it(&s, make_cert(server_key, "server", "DNS:*.example.com", -10, 3600, &ours, 0), &plan,
	    URL, NULL);
	try_it(&s, make_cert(server_key, "server", "DNS:o*.example.com", -10, 3600, &ours, 0),
	    &plan, URL, "is not for opamp.example.com");
	try_it(&s, make_cert(server_key, "server", "DNS:127.0.0.1", -10, 3600, &ours, 0), &plan,
	    "wss://127.0.0.1", "is not for 127.0.0.1");
	try_it(&s, make_cert(server_key, "server", "IP:127.0.0.1", -10, 3600, &ours, 0), &plan,
	    "wss://127.0.0.1", NULL);
	try_it(&s, make_cert(server_key, "server", "IP:::1", -10, 3600, &ours, 0), &plan,
	    "wss://[::1]:443", NULL);
	try_it(&s, make_cert(server_key, "opamp.example.com", NULL, -10, 3600, &ours, 0), &plan,
	    URL, "is not for opamp.example.com"); /* the subject is no name of a host */
	s.server_name = "opamp.example.com";
	try_it(&s, good_cert(), &plan, "wss://10.0.0.1", NULL);
	s.server_name = "something.else";
	try_it(&s, good_cert(), &plan, URL, "is not for something.else");
}

static void
test_times_and_authorities(void **state)
{
	const struct server_plan plan = {0};
	struct tls_settings s = usual();

	(void)state;
	try_it(&s, make_cert(server_key, "server", NAME, -7200, -3600, &ours, 0), &plan, URL,
	    "has expired");
	try_it(&s, make_cert(server_key, "server", NAME, 3600, 7200, &ours, 0), &plan, URL,
	    "not valid yet");
	try_it(&s, make_cert(server_key, "server", NAME, -10, 3600, &other, 0), &plan, URL,
	    "unknown authority");
	try_it(&s, make_cert(server_key, "server", NAME, -10, 3600, NULL, 0), &plan, URL,
	    "unknown authority");
	s.ca[0].data = NULL; /* nobody to believe */
	try_it(&s, good_cert(), &plan, URL, "unknown authority");
	s.skip_verify = 1;
	try_it(&s, make_cert(server_key, "server", "DNS:wrong", -7200, -3600, NULL, 0), &plan, URL,
	    NULL);
}

/* Of the host's many one is looked up; nothing else differs from those that the settings name. */
static void
test_authorities_of_the_host(void **state)
{
	const struct server_plan plan = {0};
	struct tls_settings s = usual();
	char *many;
	int host;

	(void)state;
	assert_true(asprintf(&many, "# all\n%s\n%s", other_pem, our_pem) > 0);
	for (host = 0; host < 2; host++) {
		s.ca[0].data = host ? NULL : many;
		s.system_ca = (struct tls_text){host ? many : NULL, "bundle"};
		try_it(&s, good_cert(), &plan, URL, NULL);
		try_it(&s, make_cert(server_key, "server", NAME, -10, 3600, &other, 0), &plan, URL,
		    NULL);
		try_it(&s, good_cert(), &plan, "wss://other.example.com",
		    "is not for other.example.com");
		try_it(&s, make_cert(server_key, "server", NAME, -7200, -3600, &ours, 0), &plan,
		    URL, "has expired");
		try_it(&s, make_cert(server_key, "server", NAME, -10, 3600, NULL, 0), &plan, URL,
		    "unknown authority");
	}
	s.system_ca.data = other_pem;
	try_it(&s, good_cert(), &plan, URL, "unknown authority");
	/* beside those that the settings name */
	s.ca[0].data = our_pem;
	try_it(&s, good_cert(), &plan, URL, NULL);
	try_it(&s, make_cert(server_key, "server", NAME, -10, 3600, &other, 0), &plan, URL, NULL);
	free(many);
}

static void
test_versions(void **state)
{
	const struct server_plan old = {.max_version = TLS1_2_VERSION};
	struct tls_settings s = usual();

	(void)state;
	s.min_version = TLS1_3_VERSION;
	try_it(&s, good_cert(), &old, URL, "TLS: ");
	s = usual();
	s.max_version = TLS1_2_VERSION;
	try_it(&s, good_cert(), &old, URL, NULL);
}

static void
test_client_certificate(void **state)
{
	struct server_plan plan = {.client_ca = ours.cert};
	struct tls_settings s = usual();
	X509 *mine = make_cert(client_key, "client", NULL, -10, 3600, &ours, 0);
	char *cert = pem_of(mine, NULL), *key = pem_of(NULL, client_key);

	(void)state;
	try_it(&s, good_cert(), &plan, URL, "certificate required");
	s.cert = (struct tls_text){cert, "cert_file"};
	s.key = (struct tls_text){key, "key_file"};
	try_it(&s, good_cert(), &plan, URL, NULL);
	plan.max_version = TLS1_2_VERSION;
	try_it(&s, good_cert(), &plan, URL, NULL);
	X509_free(mine);
	free(cert);
	free(key);
}

static void
cut(struct server_end *s)
{
	server_upgrade(s);
	server_write(s, "\x82\x7e\xff\xff half a message", 18);
}

static void
half(struct server_end *s)
{
	server_request(s);
	server_text(s, "HTTP/1.1 403 Forbidden\r\nContent-Length: 500\r\n\r\nhalf a");
}

static void
test_a_connection_that_is_cut(void **state)
{
	struct server_plan plan = {.serve = cut};
	struct tls_settings s = usual();

	(void)state;
	try_it(&s, good_cert(), &plan, URL, "cut without a goodbye");
	plan.max_version = TLS1_2_VERSION;
	try_it(&s, good_cert(), &plan, URL, "cut without a goodbye");
	plan.serve = half;
	try_it(&s, good_cert(), &plan, URL, "(HTTP 403)");
}

static void
refuse(const struct tls_settings *s, const char *want)
{
	struct error err = {""};

	assert_null(tls_new(s, &err));
	if (strstr(err.text, want) == NULL)
		fail_msg("\"%s\" where \"%s\" was wanted", err.text, want);
}

static void
test_bad_files(void **state)
{
	struct tls_settings s = usual();
	char *cert = pem_of(ours.cert, NULL), *key = pem_of(NULL, client_key);
	char *cut_pem = strdup(our_pem), *both;

	(void)state;
	s.ca[0].data = "";
	refuse(&s, "ca_file: no certificate (PEM) in it");
	s.ca[0].data = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
	refuse(&s, "ca_file: ");
	cut_pem[strlen(cut_pem) / 2] = '\0';
	assert_true(asprintf(&both, "%s%s", our_pem, cut_pem) > 0);
	s.ca[0].data = both; /* the first is whole, the second is not */
	refuse(&s, "ca_file: ");
	s.ca[0].data = NULL;
	s.system_ca = (struct tls_text){both, "bundle"};
	refuse(&s, "bundle: ");
	s.system_ca.data = "";
	refuse(&s, "bundle: no certificate (PEM) in it");
	s.system_ca.data = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
	refuse(&s, "bundle: certificate 1 is none");
	s = usual();
	s.cert = (struct tls_text){cert, "cert_file"};
	s.key = (struct tls_text){key, "key_file"};
	refuse(&s, "key_file: not the key of the client certificate");
	s.key.data = "nonsense";
	refuse(&s, "key_file: private key (PEM)");
	s.cert.data = "nonsense";
	refuse(&s, "cert_file: client certificate (PEM)");
	free(cert);
	free(key);
	free(cut_pem);
	free(both);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_good_server),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_times_and_authorities),
	    cmocka_unit_test(test_authorities_of_the_host),
	    cmocka_unit_test(test_versions),
	    cmocka_unit_test(test_client_certificate),
	    cmocka_unit_test(test_a_connection_that_is_cut),
	    cmocka_unit_test(test_bad_files),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
