/*
 * compose_test.c: the merge: its order, what is injected, what is refused and where.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "confd/compose.h"
#include "privsep/limits.h"

#define UID "0190d5c5-0000-7000-8000-000000000001"

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
	s->in.uid_text = UID;
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

/* ---- the same from other sides: every place, every form, every refusal */

/* A fresh setup; inject: a Collector. */
static struct setup *
begin(struct setup *s, int inject)
{
	init(s);
	s->in.inject = inject;
	return s;
}

static void
place(struct setup *s, const char *entry)
{
	s->order[s->in.order_count++] = entry;
}

/* composed(), and what the log would be told */
static void
compose_told(struct setup *s, struct yaml_tree *t, char warning[1024])
{
	struct compose_result out;
	struct error err;

	if (compose_run(&s->in, &out, &err) == -1)
		fail_msg("%s", err.text);
	memcpy(warning, out.warning, sizeof(out.warning));
	assert_memory_equal(out.data, "# Made by opampd", 16);
	free(out.data);
	*t = composed(s);
}

static void
refused(struct setup *f, const char *words)
{
	struct compose_result out;
	struct error err;

	if (compose_run(&f->in, &out, &err) == 0)
		fail_msg("taken, not refused: %s", words);
	assert_null(out.data);
	if (strncmp(err.text, words, strlen(words)) != 0)
		fail_msg("got \"%s\", not \"%s\"", err.text, words);
	expansion_list_free(&f->in.allowed);
}

/* "a/b/0": keys, and places in lists */
static const struct yaml_node *
node_at(const struct yaml_tree *t, const char *path)
{
	char *copy = strdup(path), *save = NULL, *key;
	const struct yaml_node *n = t->root;

	for (key = strtok_r(copy, "/", &save); key != NULL; key = strtok_r(NULL, "/", &save)) {
		size_t i = (size_t)strtoul(key, NULL, 10);

		if (n != NULL && n->kind == YAML_SEQ)
			n = i < n->count ? n->items[i] : NULL;
		else
			n = tree_get(n, key);
	}
	free(copy);
	return n;
}

static void
is(const struct yaml_tree *t, const char *path, const char *want)
{
	const struct yaml_node *n = node_at(t, path);

	if (!tree_is(n, want))
		fail_msg("%s: \"%s\", not \"%s\"", path, n == NULL ? "(none)" : n->value, want);
}

static void
check_injection(const struct yaml_tree *t)
{
	is(t, "extensions/opamp/instance_uid", UID);
	is(t, "extensions/opamp/server/ws/endpoint", "ws://127.0.0.1:4321/v1/opamp");
	is(t, "extensions/opamp/server/ws/tls/insecure", "true");
	is(t, "extensions/opamp/capabilities/reports_available_components", "false");
	assert_int_equal(node_at(t, "extensions/opamp")->count, 3);
	is(t, "service/telemetry/logs/encoding", "json");
	is(t, "service/telemetry/logs/output_paths/0", "stdout");
	is(t, "service/telemetry/logs/error_output_paths/0", "stderr");
}

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
test_injection_from_every_side(void **state)
{
	struct yaml_tree t;
	struct setup s, *f = begin(&s, 1);
	char warning[1024];

	(void)state;
	place(f, "$OPAMP_EXTENSION_CONFIG"); /* first: and nevertheless last */
	local(f, "l",
	    "extensions: {opamp: {ppid: 1, server: {http: {}}}, opamp/mine: {}}\n"
	    "service: {extensions: [opamp/mine], telemetry: {logs: {level: debug, encoding: "
	    "console, "
	    "output_paths: [/x]}, resource: {service.instance.id: mine, env: theirs}}}");
	remote(f, "r",
	    "service:\n  extensions: ~\n  telemetry: {resource: {service.instance.id: theirs, "
	    "x: y}, logs: {error_output_paths: []}}\n");
	compose_told(f, &t, warning);
	check_injection(&t);
	assert_string_equal(warning, "l:1:21: extensions.opamp is replaced by opampd's own");
	assert_non_null(tree_get(node_at(&t, "extensions"), "opamp/mine"));
	assert_int_equal(node_at(&t, "service/extensions")->count, 1);
	is(&t, "service/telemetry/logs/level", "debug");
	is(&t, "service/telemetry/resource/service.instance.id", UID);
	is(&t, "service/telemetry/resource/env", "theirs");
	is(&t, "service/telemetry/resource/x", "y");
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
test_what_gives_way_is_told(void **state)
{
	struct setup s, *f = begin(&s, 1);
	struct yaml_tree t;
	char warning[1024];

	(void)state;
	local(f, "l", "service: ${file:/etc/service.yaml}\nextensions: [a]\n");
	compose_told(f, &t, warning);
	check_injection(&t);
	assert_string_equal(warning,
	    "l:2:13: extensions is not a map and is replaced by opampd's own keys; "
	    "l:1:10: service is not a map and is replaced by opampd's own keys");
	tree_free(&t);
	f = begin(&s, 1);
	remote(f, "r", "service: {extensions: opamp, telemetry: {logs: 1}}");
	compose_told(f, &t, warning);
	check_injection(&t);
	assert_string_equal(warning,
	    "r:1:23: service.extensions is not a list and is replaced by opampd's own; "
	    "r:1:48: logs is not a map and is replaced by opampd's own keys");
	tree_free(&t);
}

static void
test_attributes_follow_the_form_in_use(void **state)
{
	struct yaml_tree t;
	struct setup s, *f = begin(&s, 1);
	const struct yaml_node *list;

	(void)state;
	local(f, "l",
	    "service: {telemetry: {resource: {attributes: [{name: x, value: y}, "
	    "{name: service.instance.id, value: 1, type: int}]}}}");
	t = composed(f);
	list = node_at(&t, "service/telemetry/resource/attributes");
	assert_int_equal(list->count, 3);
	assert_true(tree_is(tree_get(list->items[1], "value"), UID));
	assert_null(tree_get(list->items[1], "type"));
	assert_true(tree_is(tree_get(list->items[2], "name"), "env"));
	assert_int_equal(node_at(&t, "service/telemetry/resource")->count, 1);
	tree_free(&t);

	f = begin(&s, 1); /* both forms, and twice: forced everywhere */
	local(f, "l",
	    "service: {telemetry: {resource: {service.instance.id: a, attributes: [{name: "
	    "service.instance.id, value: b}, {name: service.instance.id, value: c}]}}}");
	t = composed(f);
	is(&t, "service/telemetry/resource/service.instance.id", UID);
	is(&t, "service/telemetry/resource/attributes/0/value", UID);
	is(&t, "service/telemetry/resource/attributes/1/value", UID);
	tree_free(&t);

	f = begin(&s, 1); /* null says "not this attribute" to the Collector: it stays */
	local(f, "l", "service: {telemetry: {resource: {env: }}}");
	t = composed(f);
	assert_true(tree_is_null(node_at(&t, "service/telemetry/resource/env")));
	tree_free(&t);
}

static void
test_noop_only_when_nothing_else_makes_a_pipeline(void **state)
{
	static const char *const none[] = {
	    "", "service: {pipelines: }", "service: {pipelines: {}}", "receivers: {nop: {a: 1}}"};
	struct yaml_tree t;
	struct setup s, *f;
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		f = begin(&s, 1);
		f->in.noop = NOOP_PIPELINE;
		local(f, "l", none[i]);
		t = composed(f);
		is(&t, "service/pipelines/traces/receivers/0", "nop");
		is(&t, "service/pipelines/traces/exporters/0", "nop");
		assert_non_null(node_at(&t, "exporters/nop"));
		if (i == 3)
			is(&t, "receivers/nop/a", "1");
		tree_free(&t);
	}
	f = begin(&s, 1);
	f->in.noop = NOOP_PIPELINE;
	remote(f, "r", "service: {pipelines: {logs: {}}}");
	t = composed(f);
	assert_null(node_at(&t, "receivers"));
	assert_int_equal(node_at(&t, "service/pipelines")->count, 1);
	tree_free(&t);
}

/* What a first process that was taken over might hand to the second. */
static void
judged(const char *emitted, const char *words)
{
	struct setup s, *f = begin(&s, 1);
	struct error err;
	int r;

	assert_int_equal(expansion_add(&f->in.allowed, "env:OK", strlen("env:OK")), 0);
	local(f, "l", "a: \"${env:LOCAL} $$\"");
	r = compose_check(&f->in, emitted, strlen(emitted), &err);
	if (words == NULL && r == -1)
		fail_msg("%s", err.text);
	if (words != NULL && r == 0)
		fail_msg("taken, not refused: %s", words);
	if (words != NULL && strstr(err.text, words) == NULL)
		fail_msg("got \"%s\", not \"%s\"", err.text, words);
	expansion_list_free(&f->in.allowed);
}

#define OPAMP                                                                                      \
	"extensions:\n  opamp:\n    server: {ws: {endpoint: \"ws://127.0.0.1:4321/v1/opamp\", "    \
	"tls: {insecure: true}}}\n    instance_uid: \"" UID "\"\n"                                 \
	"    capabilities: {reports_available_components: false}\n"
#define LOGS     "logs: {encoding: json, output_paths: [stdout], error_output_paths: [stderr]}"
#define RESOURCE "resource: {service.instance.id: \"" UID "\"}"
#define SERVICE  "service: {extensions: [opamp], telemetry: {" LOGS ", " RESOURCE "}}\n"

static void
test_SE_05_the_second_look(void **state)
{
	(void)state;
	judged(OPAMP SERVICE, NULL);
	judged(OPAMP SERVICE "a: ${env:OK}\nb: \"${env:LOCAL} $$\"\n", NULL);
	judged(OPAMP SERVICE "a: ${env:LOCAL}\n", "the expansion ${env:LOCAL}");
	judged(OPAMP SERVICE "a: ${env:OTHER}\n", "the expansion ${env:OTHER}");
	judged(OPAMP SERVICE "a: !!binary YQ==\n", "the tag");
	judged(OPAMP SERVICE "a: &x 1\nb: *x\n", "anchors");
	judged(OPAMP SERVICE "a: 1\na: 2\n", "a second time");
	judged(OPAMP SERVICE "\"extensions::opamp::ppid\": 2\n", "splits keys");
	judged(OPAMP SERVICE "---\na: 1\n", "a second document");
	judged("", "the result is empty");
	judged("[]", "not a list");
	judged(SERVICE, "extensions.opamp is not as opampd made it");
	judged("extensions: {opamp: {}}\n" SERVICE, "extensions.opamp is not as");
	judged(OPAMP "    ppid: 1\n" SERVICE, "extensions.opamp is not as");
	judged(OPAMP, "service.extensions does not start opamp");
	judged(OPAMP "service: {extensions: [x], telemetry: {" LOGS ", " RESOURCE "}}\n",
	    "service.extensions does not start opamp");
	judged(OPAMP "service: {extensions: [opamp], telemetry: {" RESOURCE "}}\n",
	    "service.telemetry.logs.encoding is not as");
	judged(OPAMP "service: {extensions: [opamp], telemetry: {" LOGS "}}\n",
	    "service.instance.id is not as");
	judged(OPAMP "service: {extensions: [opamp], telemetry: {" LOGS
		     ", resource: {service.instance.id: x}}}\n",
	    "service.instance.id is not as");
	judged(OPAMP "service: {extensions: [opamp], telemetry: {" LOGS
		     ", resource: {service.instance.id: \"" UID
		     "\", attributes: [{name: service.instance.id, value: x}]}}}\n",
	    "service.instance.id is not as");
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
	    cmocka_unit_test(test_CF_08_places_of_the_placeholders),
	    cmocka_unit_test(test_CF_08_maps_merge_scalars_and_lists_replace),
	    cmocka_unit_test(test_CF_08_extension_lists_join),
	    cmocka_unit_test(test_injection_from_every_side),
	    cmocka_unit_test(test_SE_05_remote_refusals_name_the_place),
	    cmocka_unit_test(test_CF_12_bytes_of_a_remote_body),
	    cmocka_unit_test(test_local_files),
	    cmocka_unit_test(test_what_gives_way_is_told),
	    cmocka_unit_test(test_attributes_follow_the_form_in_use),
	    cmocka_unit_test(test_noop_only_when_nothing_else_makes_a_pipeline),
	    cmocka_unit_test(test_SE_05_the_second_look),
	    cmocka_unit_test(test_what_cannot_be_written_is_named),
	    cmocka_unit_test(test_SE_05_many_keys_and_extensions_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
