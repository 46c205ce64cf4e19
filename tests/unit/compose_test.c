/*
 * compose_test.c: the merge: its order, what is refused and where.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compose_setup.h"

static void
test_CF_08_order_of_files(void **state)
{
	struct setup s;
	struct yaml_tree t;

	(void)state;
	init(&s);
	remote(&s, "", "a: {x: unnamed, last: 1}\n"); /* the one without a name comes last */
	remote(&s, "b", "a: {x: b, y: b}\n");
	remote(&s, "a", "a: {x: a, y: a, z: a}\n");
	local(&s, "l.yaml", "a: {x: local, y: local, z: local, w: local}\nlist: [1, 2]\n");
	t = composed(&s);
	assert_true(tree_is(at(&t, "a", "x", NULL), "unnamed"));
	assert_true(tree_is(at(&t, "a", "y", NULL), "b"));
	assert_true(tree_is(at(&t, "a", "z", NULL), "a"));
	assert_true(tree_is(at(&t, "a", "w", NULL), "local"));
	tree_free(&t);
	/* the placeholder earlier in the list lets local files win */
	init(&s);
	remote(&s, "", "a: {x: remote}\n");
	s.order[s.in.order_count++] = "$REMOTE_CONFIG";
	local(&s, "l.yaml", "a: {x: local}\n");
	t = composed(&s);
	assert_true(tree_is(at(&t, "a", "x", NULL), "local"));
	tree_free(&t);
}

static void
test_lists_replace_but_extensions_join(void **state)
{
	struct setup s;
	struct yaml_tree t;

	(void)state;
	init(&s);
	local(&s, "l", "service: {extensions: [health_check, zpages]}\nlist: [1, 2, 3]\n");
	remote(&s, "", "service: {extensions: [zpages, pprof]}\nlist: [9]\n");
	t = composed(&s);
	assert_int_equal(at(&t, "list", NULL, NULL)->count, 1);
	assert_int_equal(at(&t, "service", "extensions", NULL)->count, 4);
	assert_true(tree_is(at(&t, "service", "extensions", NULL)->items[0], "health_check"));
	assert_true(tree_is(at(&t, "service", "extensions", NULL)->items[3], "opamp"));
	tree_free(&t);
}

static void
test_plain_scalars_are_never_retyped(void **state)
{
	static const char *const plain[] = {
	    "yes", "0x1F", "~", "1e3", "012", "null", "NO", "1_000", ".inf", "2024-01-01", "1.0"};
	char text[256];
	struct setup s;
	struct yaml_tree t;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		init(&s);
		(void)snprintf(text, sizeof(text), "p: %s\nq: \"%s\"\nr: '%s'\nt: !!str %s\n",
		    plain[i], plain[i], plain[i], plain[i]);
		remote(&s, "", text);
		t = composed(&s);
		assert_true(tree_is(at(&t, "p", NULL, NULL), plain[i]));
		assert_int_equal(at(&t, "p", NULL, NULL)->style, 1);
		assert_int_not_equal(at(&t, "q", NULL, NULL)->style, 1);
		assert_int_not_equal(at(&t, "r", NULL, NULL)->style, 1);
		assert_string_equal(at(&t, "t", NULL, NULL)->tag, "tag:yaml.org,2002:str");
		tree_free(&t);
	}
}

static void
test_SE_05_expansions_in_remote_files(void **state)
{
	static const char *const refused[] = {"${file:/etc/shadow}", "${env:HOME}", "${HOME}",
	    "${http://evil/}", "${yaml:x}", "x${env:A}y", "$$${env:A}", "${env:${file:/x}}",
	    "${env:A:-b}"};
	static const char *const fine[] = {
	    "$${env:A}", "$HOME", "$$", "a$$b", "$$$${file:x}", "{env:A}"};
	char text[128];
	struct setup s;
	struct yaml_tree t;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		init(&s);
		(void)snprintf(text, sizeof(text), "a: 1\nb: \"%s\"\n", refused[i]);
		remote(&s, "r.yaml", text);
		expect_refused(&s, "r.yaml:2:4: the expansion ${");
		init(&s); /* as a key as well */
		(void)snprintf(text, sizeof(text), "\"%s\": 1\n", refused[i]);
		remote(&s, "r.yaml", text);
		expect_refused(&s, "r.yaml:1:1: the expansion ${");
	}
	for (i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
		init(&s);
		(void)snprintf(text, sizeof(text), "b: \"%s\"\n", fine[i]);
		remote(&s, "r.yaml", text);
		t = composed(&s);
		tree_free(&t);
	}
	init(&s);
	remote(&s, "r.yaml", "b: \"${env:\"\n");
	expect_refused(&s, "without its \"}\"");
}

static void
test_SE_05_the_operator_may_allow_an_expansion(void **state)
{
	struct setup s;
	struct yaml_tree t;

	(void)state;
	init(&s);
	remote(&s, "", "b: ${env:API_KEY}\nc: ${API_KEY}\nd: ${env:API_KEY:-none}\n");
	expansion_add(&s.in.allowed, "env:API_KEY", 11);
	t = composed(&s);
	tree_free(&t);
	expansion_list_free(&s.in.allowed);
	init(&s);
	remote(&s, "", "b: ${env:API_KEY2}\n");
	expansion_add(&s.in.allowed, "env:API_KEY", 11);
	expect_refused(&s, "remote_expansion: [\"env:API_KEY2\"]");
	expansion_list_free(&s.in.allowed);
	/* local files are the operator's own */
	init(&s);
	local(&s, "l", "b: ${file:/etc/hostname}\n");
	t = composed(&s);
	tree_free(&t);
}

static void
test_CF_12_yaml_faults_have_their_place(void **state)
{
	static const struct {
		const char *body, *want;
	} faults[] = {{"a: 1\nb: 2\na: 3\n",
			  "r:3:1: key \"a\" is here a second time; the first is in line 1"},
	    {"a: &x 1\nb: 2\n", "r:1:4: anchors"}, {"a: *x\n", "r:1:4: aliases"},
	    {"<<: {a: 1}\n", "r:1:1: merge keys"}, {"a: [\n", "r:2:1: not YAML"},
	    {"- 1\n", "r:1:1: a configuration is a map of sections, not a list"},
	    {"text\n", "not a single value"}, {"a: \"\\0\"\n", "NUL"},
	    {"a: 1\n---\nb: 2\n", "second document"}, {"? [a]\n: b\n", "a key must be"},
	    {"a: \xff\n", "must be UTF-8"}};
	struct setup s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		init(&s);
		remote(&s, "r", faults[i].body);
		expect_refused(&s, faults[i].want);
	}
}

static void
test_I11_bombs(void **state)
{
	struct timespec a, b;
	struct setup s;
	struct yaml_tree t;
	char *text = malloc(4000000), *p = text;
	int i;

	(void)state;
	init(&s);
	memset(text, '[', 10000);
	text[10000] = '\0';
	remote(&s, "r", text);
	expect_refused(&s, "nested more than 64 deep");
	/* a billion laughs, from a local file, where aliases are allowed */
	p += sprintf(p, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
	for (i = 1; i < 10; i++)
		p += sprintf(p, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n",
		    i, i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	init(&s);
	local(&s, "l", text);
	expect_refused(&s, "too large");
	/* 150,000 keys: not quadratic */
	p = text;
	for (i = 0; i < 150000; i++)
		p += sprintf(p, "key%d: v\n", i);
	init(&s);
	remote(&s, "r", text);
	clock_gettime(CLOCK_MONOTONIC, &a);
	t = composed(&s);
	clock_gettime(CLOCK_MONOTONIC, &b);
	tree_free(&t);
	assert_true(b.tv_sec - a.tv_sec < 20);
	free(text);
}

static void
test_an_empty_body_adds_nothing(void **state)
{
	struct setup s, none;
	struct yaml_tree a, b;

	(void)state;
	init(&s);
	init(&none);
	remote(&s, "", "");
	a = composed(&s);
	b = composed(&none);
	assert_true(tree_equal(a.root, b.root, 0));
	tree_free(&a);
	tree_free(&b);
}

/* ---- the same from other sides: every place, every form, every refusal */

static void
test_CF_08_places_of_the_placeholders(void **state)
{
	static const char *const last[] = {"two", "two", "remote"};
	struct setup s, *f;
	struct yaml_tree t;
	int where;

	(void)state;
	for (where = 0; where < 3; where++) {
		f = begin(&s, 0);
		remote(f, "r", "k: remote");
		place(f, "$OWN_TELEMETRY_CONFIG");
		if (where == 0)
			place(f, "$REMOTE_CONFIG");
		local(f, "one", "k: one");
		place(f, "$OPAMP_EXTENSION_CONFIG");
		if (where == 1)
			place(f, "$REMOTE_CONFIG");
		local(f, "two", "k: two");
		if (where == 2)
			place(f, "$REMOTE_CONFIG");
		t = composed(f);
		is(&t, "k", last[where]);
		tree_free(&t);
	}
}

static void
test_CF_08_maps_merge_scalars_and_lists_replace(void **state)
{
	struct yaml_tree t;
	struct setup s, *f = begin(&s, 0);

	(void)state;
	local(f, "l",
	    "a: {b: {c: 1, d: 2}}\nl: [1, 2]\ns: x\nm: {x: 1}\nn: 1\no: {k: v}\nq: {z: {y: 1}}");
	remote(f, "r", "a: {b: {c: 3, e: \"4\"}}\nl: [3]\ns: {y: 1}\nm: z\nn: [1]\no:\nq: {z: {}}");
	t = composed(f);
	is(&t, "a/b/c", "3");
	is(&t, "a/b/d", "2");
	is(&t, "a/b/e", "4");
	assert_int_equal(node_at(&t, "a/b/e")->style, 3);
	assert_int_equal(node_at(&t, "l")->count, 1);
	is(&t, "s/y", "1");
	is(&t, "m", "z");
	assert_int_equal(node_at(&t, "n")->kind, YAML_SEQ);
	assert_true(tree_is_null(node_at(&t, "o"))); /* as the Collector does with two --config */
	is(&t, "q/z/y", "1");
	tree_free(&t);
}

static void
test_CF_08_extension_lists_join(void **state)
{
	static const char *const want[] = {"b", "a", "c", "d", "opamp"};
	struct yaml_tree t;
	struct setup s, *f = begin(&s, 1);
	size_t i;

	(void)state;
	local(f, "l",
	    "service: {extensions: [b, a]}\nx: {extensions: [1, 2]}\nextensions: {b: {extensions: "
	    "[1]}}");
	remote(f, "1", "service: {extensions: [a, c]}\nx: {extensions: [3]}");
	remote(f, "2", "service: {extensions: [b, d, c]}\nextensions: {b: {extensions: [2]}}");
	t = composed(f);
	assert_int_equal(node_at(&t, "service/extensions")->count, 5);
	for (i = 0; i < 5; i++)
		assert_true(tree_is(node_at(&t, "service/extensions")->items[i], want[i]));
	assert_int_equal(node_at(&t, "x/extensions")->count, 1); /* only the service's */
	assert_int_equal(node_at(&t, "extensions/b/extensions")->count, 1);
	tree_free(&t);

	/* a key that looks like the path is not the path */
	f = begin(&s, 0);
	local(f, "l", "service.extensions: [1, 2]");
	remote(f, "r", "service.extensions: [3]");
	t = composed(f);
	assert_int_equal(node_at(&t, "service.extensions")->count, 1);
	tree_free(&t);
}

static void
test_SE_05_remote_refusals_name_the_place(void **state)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
	    {"a: 1\nextensions:\n  opamp: {}\n", "r:3:10: extensions.opamp is opampd's"},
	    {"extensions: {opamp: }", "r:1:21: extensions.opamp is opampd's"},
	    {"a: 1\n\"extensions::opamp::server::ws::endpoint\": ws://evil\n",
		"r:2:1: the key \"extensions::opamp::server::ws::endpoint\": the Collector splits"},
	    {"extensions: {\"opamp::server::ws::endpoint\": x}", "r:1:14: the key"},
	    {"service::extensions: []", "r:1:1: the key"},
	    {"service: {\"telemetry::resource::service.instance.id\": x}", "r:1:11: the key"},
	    {"\"service:\": {}", "r:1:1: the key"},
	    {"!!binary c2VydmljZQ==: {}", "r:1:1: a key with the tag tag:yaml.org,2002:binary"},
	    {"!!merge \"<<\": {}", "r:1:1: a key with the tag"},
	    {"a: !!binary JHtlbnY6U30=", "r:1:4: the tag tag:yaml.org,2002:binary"},
	    {"a: [\"${env:S}\"]", "r:1:5: the expansion ${env:S} is not allowed"},
	    {"- a", "r:1:1: a configuration is a map of sections, not a list"},
	    {"text", "r:1:1: a configuration is a map of sections, not a single value"},
	    {"a: \"\x01\"", "r:1:5: character U+0001"},
	    {"a: b\n c: d", "r:2:3: not YAML"},
	    {"a: &x 1", "r:1:4: anchors"},
	    {"a: 1\na: 2", "r:2:1: key \"a\" is here a second time; the first is in line 1"},
	    {"? \n: 1", "r:"},
	};
	struct setup s, *f;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f = begin(&s, 1);
		assert_int_equal(
		    expansion_add(&f->in.allowed, "env:OTHER", strlen("env:OTHER")), 0);
		remote(f, "r", cases[i].text);
		refused(f, cases[i].words);
	}
}

static void
test_CF_12_bytes_of_a_remote_body(void **state)
{
	struct setup s, *f = begin(&s, 1);

	(void)state;
	remote(f, "r", "");
	f->files[0].body = (struct offer_part){"a: b\nc: \0", 9};
	refused(f, "r:2:4: character U+0000 (a NUL byte)");
	f = begin(&s, 0);
	remote(f, "", "a: \xff");
	refused(f, "remote configuration:1:4: byte 0xff is not UTF-8");
}

static void
test_local_files(void **state)
{
	struct yaml_tree t;
	struct setup s, *f = begin(&s, 1);

	(void)state;
	/* the operator's own: anchors, expansions and tags are theirs to use */
	local(f, "l",
	    "x: &x {a: \"${env:Z}$${env:Z}{y}\"}\ny: *x\nz: !!binary YQ==\nw: ${file:/etc/x}\n"
	    "v: [{\"a::b\": 1}]\n");
	t = composed(f);
	is(&t, "y/a", "${env:Z}$${env:Z}{y}");
	tree_free(&t);
	/* but split keys would undo the injection */
	f = begin(&s, 1);
	local(f, "l", "extensions::opamp::ppid: 1");
	refused(f, "l:1:1: the key");
	/* generic agents have no such reading */
	f = begin(&s, 0);
	remote(f, "r", "\"a::b\": {opamp: 1}\nextensions: {opamp: 1}\nservice: x");
	t = composed(f);
	is(&t, "a::b/opamp", "1");
	assert_int_equal(t.root->count, 3);
	tree_free(&t);
}

static void
test_what_cannot_be_written_is_named(void **state)
{
	struct setup s, *f = begin(&s, 0);

	(void)state;
	remote(f, "r", "a: {b: {? : 1}}");
	refused(f, "r:1:11: this cannot be written so that it reads as it was meant");
}

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
test_SE_05_many_keys_and_extensions_in_time(void **state)
{
	size_t size = 8 * MIB, n = 0, i;
	char *text = malloc(size);
	struct yaml_tree t;
	struct setup s, *f = begin(&s, 1);
	double start = seconds();

	(void)state;
	n += (size_t)snprintf(text, size, "processors:\n");
	for (i = 0; i < 150000; i++)
		n += (size_t)snprintf(text + n, size - n, "  batch/%zu: {}\n", i);
	n += (size_t)snprintf(text + n, size - n, "service:\n  extensions:\n");
	for (i = 0; i < 50000; i++)
		n += (size_t)snprintf(text + n, size - n, "  - e/%zu\n", i);
	remote(f, "a", text);
	remote(f, "b", text);
	t = composed(f);
	assert_int_equal(node_at(&t, "processors")->count, 150000);
	assert_int_equal(node_at(&t, "service/extensions")->count, 50001);
	tree_free(&t);
	free(text);
	assert_true(seconds() - start < 60); /* quadratic would be minutes */
}

/* A large one is compared by the second look, which knows what it should be. */
static void
test_a_large_one_is_as_it_was_meant(void **state)
{
	size_t size = 2 * MIB, n = 0, i;
	char *text = malloc(size), *at;
	struct compose_result out;
	struct error err;
	struct setup s;

	(void)state;
	for (i = 0; i < 60000; i++)
		n += (size_t)snprintf(text + n, size - n, "key%zu: a value, no %zu\n", i, i);
	init(&s);
	remote(&s, "r", text);
	assert_int_equal(compose_run(&s.in, &out, &err), 0);
	assert_true(out.len > COMPOSE_READ_BACK);
	s.in.sum = out.sum;
	assert_int_equal(compose_check(&s.in, out.data, out.len, &err), 0);
	at = strstr(out.data, "no 54321");
	assert_non_null(at);
	at[0] = 'N';
	assert_int_equal(compose_check(&s.in, out.data, out.len, &err), -1);
	assert_non_null(strstr(err.text, "cannot be written so that it reads as it was meant"));
	free(out.data);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_CF_08_order_of_files),
	    cmocka_unit_test(test_lists_replace_but_extensions_join),
	    cmocka_unit_test(test_plain_scalars_are_never_retyped),
	    cmocka_unit_test(test_SE_05_expansions_in_remote_files),
	    cmocka_unit_test(test_SE_05_the_operator_may_allow_an_expansion),
	    cmocka_unit_test(test_CF_12_yaml_faults_have_their_place),
	    cmocka_unit_test(test_I11_bombs),
	    cmocka_unit_test(test_an_empty_body_adds_nothing),
	    cmocka_unit_test(test_CF_08_places_of_the_placeholders),
	    cmocka_unit_test(test_CF_08_maps_merge_scalars_and_lists_replace),
	    cmocka_unit_test(test_CF_08_extension_lists_join),
	    cmocka_unit_test(test_SE_05_remote_refusals_name_the_place),
	    cmocka_unit_test(test_CF_12_bytes_of_a_remote_body),
	    cmocka_unit_test(test_local_files),
	    cmocka_unit_test(test_what_cannot_be_written_is_named),
	    cmocka_unit_test(test_a_large_one_is_as_it_was_meant),
	    cmocka_unit_test(test_SE_05_many_keys_and_extensions_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
