/*
 * compose_test.c: the merge: its order, what is injected, what is refused and where.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "confd/compose.h"

struct setup {
	struct compose_input in;
	struct offer offer;
	struct offer_file files[8];
	struct compose_file local[8];
	const char *order[8];
	struct compose_attribute attributes[2];
};

static struct offer_part
part(const char *s)
{
	return (struct offer_part){s, strlen(s)};
}

static void
init(struct setup *s)
{
	memset(s, 0, sizeof(*s));
	s->in.inject = 1;
	s->in.uid_text = "0190d5c5-0000-7000-8000-000000000001";
	s->in.port = 4321;
	s->attributes[0] = (struct compose_attribute){"service.instance.id", s->in.uid_text};
	s->attributes[1] = (struct compose_attribute){"env", "a$b"};
	s->in.attributes = s->attributes;
	s->in.attribute_count = 2;
	s->in.order = s->order;
	s->in.local = s->local;
	s->offer.files = s->files;
}

static void
remote(struct setup *s, const char *name, const char *body)
{
	s->files[s->offer.count].name = part(name);
	s->files[s->offer.count++].body = part(body);
	s->in.remote = &s->offer;
}

static void
local(struct setup *s, const char *name, const char *body)
{
	s->local[s->in.local_count++] = (struct compose_file){name, body, strlen(body)};
	s->order[s->in.order_count++] = name;
}

/* The result as a tree; the emitted bytes also pass the second look. */
static struct yaml_tree
composed(struct setup *s)
{
	struct compose_result out;
	struct yaml_tree t = {0};
	struct error err = {""};

	if (compose_run(&s->in, &out, &err) == -1)
		fail_msg("%s", err.text);
	if (compose_check(&s->in, out.data, out.len, &err) == -1)
		fail_msg("%s", err.text);
	/* the copy of the text must outlive the tree's names only */
	assert_int_equal(tree_load(&t, "r", out.data, out.len, YAML_REMOTE, &err), 0);
	free(out.data);
	return t;
}

static void
expect_refused(struct setup *s, const char *want)
{
	struct compose_result out;
	struct error err = {""};

	assert_int_equal(compose_run(&s->in, &out, &err), -1);
	if (strstr(err.text, want) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", want, err.text);
}

static struct yaml_node *
at(const struct yaml_tree *t, const char *a, const char *b, const char *c)
{
	struct yaml_node *n = tree_get(t->root, a);

	if (b != NULL)
		n = tree_get(n, b);
	return c == NULL ? n : tree_get(n, c);
}

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
test_what_is_injected_cannot_be_overridden(void **state)
{
	struct setup s;
	struct yaml_tree t;

	(void)state;
	init(&s);
	remote(&s, "evil", "extensions:\n  opamp: {server: {ws: {endpoint: ws://evil/}}}\n");
	expect_refused(&s, "evil:2:10: extensions.opamp is opampd's");
	init(&s);
	local(&s, "l",
	    "extensions: {opamp: {server: {http: {endpoint: x}}}}\n"
	    "service: {telemetry: {resource: {service.instance.id: mine, env: user}}}\n");
	remote(&s, "",
	    "service: {telemetry: {resource: {service.instance.id: theirs}, "
	    "logs: {output_paths: [/tmp/x]}}}\n");
	t = composed(&s);
	assert_null(tree_get(at(&t, "extensions", "opamp", "server"), "http"));
	assert_true(
	    tree_is(tree_get(at(&t, "service", "telemetry", "resource"), "service.instance.id"),
		s.in.uid_text));
	assert_true(tree_is(tree_get(at(&t, "service", "telemetry", "resource"), "env"), "user"));
	assert_true(tree_is(
	    tree_get(at(&t, "service", "telemetry", "logs"), "output_paths")->items[0], "stdout"));
	tree_free(&t);
	/* an extensions section that is no map gives way */
	init(&s);
	remote(&s, "", "extensions: [opamp]\nservice: 7\n");
	t = composed(&s);
	assert_non_null(at(&t, "extensions", "opamp", "server"));
	tree_free(&t);
}

static void
test_attribute_lists_and_dollars(void **state)
{
	struct setup s;
	struct yaml_tree t;
	struct yaml_node *list;

	(void)state;
	init(&s);
	local(&s, "l",
	    "service: {telemetry: {resource: {attributes: [{name: env, value: user}, "
	    "{name: service.instance.id, value: x}]}}}\n");
	t = composed(&s);
	list = tree_get(at(&t, "service", "telemetry", "resource"), "attributes");
	assert_int_equal(list->count, 2);
	assert_true(tree_is(tree_get(list->items[1], "value"), s.in.uid_text));
	tree_free(&t);
	init(&s);
	t = composed(&s);
	/* the Collector turns $$ into $ */
	assert_true(tree_is(tree_get(at(&t, "service", "telemetry", "resource"), "env"), "a$$b"));
	tree_free(&t);
}

static void
test_noop_pipeline_only_where_nothing_runs(void **state)
{
	struct setup s;
	struct yaml_tree t;

	(void)state;
	init(&s);
	s.in.noop = NOOP_PIPELINE;
	t = composed(&s);
	assert_non_null(at(&t, "service", "pipelines", "traces"));
	assert_non_null(at(&t, "receivers", "nop", NULL));
	tree_free(&t);
	init(&s);
	s.in.noop = NOOP_PIPELINE;
	remote(&s, "", "service: {pipelines: {metrics: {receivers: [x]}}}\n");
	t = composed(&s);
	assert_null(at(&t, "service", "pipelines", "traces"));
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
test_second_look_does_not_trust_the_first(void **state)
{
	struct compose_result out;
	struct setup s;
	struct error err;
	char *evil;
	size_t len;

	(void)state;
	init(&s);
	assert_int_equal(compose_run(&s.in, &out, &err), 0);
	/* a first run that was taken over adds what no file had */
	len = (size_t)asprintf(&evil, "%.*sx: ${file:/etc/shadow}\n", (int)out.len, out.data);
	assert_int_equal(compose_check(&s.in, evil, len, &err), -1);
	free(evil);
	evil = strndup(out.data, out.len);
	memcpy(strstr(evil, "127.0.0.1"), "127.0.0.2", 9);
	assert_int_equal(compose_check(&s.in, evil, out.len, &err), -1);
	assert_non_null(strstr(err.text, "extensions.opamp is not as opampd made it"));
	free(evil);
	free(out.data);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_CF_08_order_of_files),
	    cmocka_unit_test(test_lists_replace_but_extensions_join),
	    cmocka_unit_test(test_what_is_injected_cannot_be_overridden),
	    cmocka_unit_test(test_attribute_lists_and_dollars),
	    cmocka_unit_test(test_noop_pipeline_only_where_nothing_runs),
	    cmocka_unit_test(test_plain_scalars_are_never_retyped),
	    cmocka_unit_test(test_SE_05_expansions_in_remote_files),
	    cmocka_unit_test(test_SE_05_the_operator_may_allow_an_expansion),
	    cmocka_unit_test(test_second_look_does_not_trust_the_first),
	    cmocka_unit_test(test_CF_12_yaml_faults_have_their_place),
	    cmocka_unit_test(test_I11_bombs),
	    cmocka_unit_test(test_an_empty_body_adds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
