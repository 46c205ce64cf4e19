/*
 * compose_inject_test.c: what opampd injects, that nothing overrides it, and the second look.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compose_setup.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_is_injected_cannot_be_overridden),
	    cmocka_unit_test(test_attribute_lists_and_dollars),
	    cmocka_unit_test(test_noop_pipeline_only_where_nothing_runs),
	    cmocka_unit_test(test_second_look_does_not_trust_the_first),
	    cmocka_unit_test(test_injection_from_every_side),
	    cmocka_unit_test(test_what_gives_way_is_told),
	    cmocka_unit_test(test_attributes_follow_the_form_in_use),
	    cmocka_unit_test(test_noop_only_when_nothing_else_makes_a_pipeline),
	    cmocka_unit_test(test_SE_05_the_second_look),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
