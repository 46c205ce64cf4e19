/*
 * expansion_test.c: what the Collector would put in the place of ${...}, and who may ask for it.
 * The refusals of joined expansions were tried with a real Collector (0.149.0): each read a variable
 * or file that no list named.
 */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "confd/expansion.h"

/* One remote text with the list; NULL or the error. */
static const char *
judge(const char *yaml, const char *const *list, struct error *err)
{
	struct expansion_list allowed = {0};
	struct yaml_tree t = {0};
	int r;

	for (; list != NULL && *list != NULL; list++)
		assert_int_equal(expansion_add(&allowed, *list, strlen(*list)), 0);
	if (tree_load(&t, "r", yaml, strlen(yaml), YAML_REMOTE, err) == -1)
		fail_msg("%s", err->text);
	r = expansion_check(t.root, &allowed, NULL, 0, err);
	tree_free(&t);
	expansion_list_free(&allowed);
	return r == 0 ? NULL : err->text;
}

static void
taken(const char *yaml, const char *const *list)
{
	struct error err;
	const char *text = judge(yaml, list, &err);

	if (text != NULL)
		fail_msg("%s: %s", yaml, text);
}

static void
refused(const char *yaml, const char *const *list, const char *words)
{
	struct error err;
	const char *text = judge(yaml, list, &err);

	if (text == NULL)
		fail_msg("%s: taken", yaml);
	if (strstr(text, words) == NULL)
		fail_msg("%s: got \"%s\", not \"%s\"", yaml, text, words);
}

static void
test_SE_02_no_expansion_without_a_list(void **state)
{
	(void)state;
	refused("a: ${env:X}", NULL,
	    "r:1:4: the expansion ${env:X} is not allowed in a remote configuration; an operator "
	    "who wants it adds to opampd.yaml: policy: {remote_expansion: [\"env:X\"]}, gives the "
	    "variable a value in agent.env (the agent gets nothing else of an environment), and "
	    "then runs opampctl reload");
	refused("a: ${file:/etc/shadow}", NULL,
	    "policy: {remote_expansion: [\"file:/etc/shadow\"]}, and then runs opampctl reload");
	refused("a: ${X}", NULL, "r:1:4: the expansion ${env:X} ");
	refused("a:\n- b: \"x ${file:/etc/shadow} y\"", NULL,
	    "r:2:6: the expansion ${file:/etc/shadow}");
	refused("a: ${http://x/y}", NULL, "${http://x/y}");
	refused("a: ${yaml:b}", NULL, "${yaml:b}");
	refused("\"${env:X}\": 1", NULL, "r:1:1: the expansion ${env:X}");
	refused("a: $$${env:X}", NULL, "${env:X}");
	refused("a: b}${env:X}", NULL, "${env:X}");
	refused("a: |\n  x\n  ${env:X}\n", NULL, "r:1:4: the expansion ${env:X}");
	refused("a: \"\\x24{env:X}\"", NULL, "${env:X}");
	refused("a: \"${env:X\"", NULL, "\"${\" without its \"}\"");
	refused("a: \"${env:${env:X}}\"", NULL, "begins inside another one");
}

static void
test_dollars_that_are_text(void **state)
{
	(void)state;
	taken("a: $${env:X}", NULL);
	taken("a: $$$${env:X}", NULL);
	taken("a: $X $1 $$ $", NULL);
	taken("a: \"x$\"", NULL);
	taken("a: \"{}}{ $ {\"", NULL);
	taken("a: \"\"", NULL);
}

static void
test_SE_02_listed_expansions(void **state)
{
	static const char *const list[] = {"env:X", "file:/etc/otel/*", "yaml:[\"a\"]", NULL};
	static const char *const any[] = {"env:*", NULL};

	(void)state;
	taken("a: ${env:X}", list);
	taken("a: ${X}", list);
	taken("a: \"${env:X} ${env:X} and ${X}\"", list);
	taken("a: '{\"token\": \"${env:X}\"}'", list);
	taken("a: ${file:/etc/otel/ca.pem}", list);
	taken("a: '${yaml:[\"a\"]}'", list);
	taken("a: ${env:ANY_NAME}", any);
	refused("a: ${env:XY}", list, "${env:XY}");
	refused("a: ${env:x}", list, "${env:x}");
	refused("a: ${file:/etc/otel/../shadow}", list, "${file:/etc/otel/../shadow}");
	refused("a: ${file:/etc/otel}", list, "${file:/etc/otel}");
	refused("a: ${env:X} ${env:Y}", list, "${env:Y}");
}

static void
test_SE_02_defaults(void **state)
{
	static const char *const list[] = {"env:X", "env:Y:-{}", NULL};
	static const char *const any[] = {"*", NULL};

	(void)state;
	taken("a: ${env:X:-http://localhost:4317}", list);
	taken("a: \"${env:X:-}\"", list);
	/* a default is read as YAML and expanded again: ["\x24{env:SECRET\x7d"] reads SECRET */
	refused("a: '${env:X:-[\"\\x24{env:SECRET\\x7d\"]}'", list, "begins inside another one");
	refused("a: '${env:X:-[\"\\x24\\x7benv:SECRET\\x7d\"]}'", list, "not allowed");
	refused("a: '${env:X:-[\"\\x24\\x7benv:SECRET\\x7d\"]}'", any, "not allowed");
	refused("a: '${env:X:-!!binary JHt9}'", list, "not allowed");
	refused("a: '${yaml:[\"\\x24\\x7benv:SECRET\\x7d\"]}'", any, "not allowed");
}

static void
test_SE_02_expansions_that_would_join(void **state)
{
	static const char *const list[] = {"env:A", NULL}, *const two[] = {"env:A", "env:B", NULL};

	(void)state;
	/* with A empty these read what stands in the last braces */
	refused("a: ${env:A}$${env:A}{file:/etc/shadow}", list, "a \"$\" beside an expansion");
	refused("a: $${env:A}{file:/etc/shadow} ${env:A}", list, "a \"$\" beside an expansion");
	refused("a: $$${env:A}{env:S}", list, "a \"$\" beside an expansion");
	refused("a: ${env:A}$", list, "a \"$\" beside an expansion");
	refused("a: $1 ${env:A}", list, "a \"$\" beside an expansion");
	/* with a value that ends in a dollar sign */
	refused("a: ${env:A}{env:S}", list, "a \"{\" right behind an expansion");
	refused("a: ${env:A} ${env:A}{env:S}", list, "a \"{\" right behind an expansion");
	refused("a: ${env:A}{", list, "a \"{\" right behind an expansion");
	/* with A a brace and what is in it, B a dollar sign: A is put in everywhere before B is */
	refused("a: ${env:A}-${env:B}${env:A}", two, "${env:A} is here a second time");
	refused("a: ${env:A}${env:A}", two, "${env:A} is here a second time");
	refused("a: ${env:A}${env:B} ${env:B}${env:A}", two, "${env:A} is here a second time");
	refused("a: ${env:B}${env:A}${env:B}${env:A}", two, "${env:B} is here a second time");
	taken("a: ${env:A}${env:B} ${env:A}-${env:B}\nb: ${env:B}${env:A}", two);
}

static void
test_SE_02_tags_that_hide_text(void **state)
{
	static const char *const list[] = {"*", NULL};

	(void)state;
	refused(
	    "a: !!binary JHtlbnY6U0VDUkVUfQ==", list, "r:1:4: the tag tag:yaml.org,2002:binary");
	refused("a: [!x b]", list, "r:1:5: the tag !x ");
	refused("a: !x {b: c}", list, "r:1:4: the tag !x ");
	refused("!!binary YQ==: 1", list, "r:1:1: the tag");
	taken("a: !!str 1\nb: !!int \"2\"\nc: !!map {}\nd: !!seq []\ne: !!null ''", list);
}

static void
test_remedy_cannot_carry_settings(void **state)
{
	struct error err;
	const char *text;

	(void)state;
	/* an operator who pastes the remedy must not paste what the server made up */
	text = judge("a: '${env:X\"], agent: [\"y}'", NULL, &err);
	assert_non_null(text);
	assert_null(strstr(text, "opampd.yaml"));
	assert_non_null(strstr(text, "write the value out"));
}

static void
test_SE_02_known_texts_are_taken_whole(void **state)
{
	static const char local[] = "a: ${env:L}$${env:L}{x}\nb: !t ${file:/x}\nc: {\"${K}\": 1}\n";
	struct expansion_list allowed = {0};
	struct expansion_known known = {0};
	struct yaml_tree t = {0}, r = {0};
	struct error err;
	static const char *const no[] = {"z: ${env:L}", "z: ${file:/x}", "z: !u ${file:/x}",
	    "z: x${env:L}$${env:L}{x}", "z: !t ${env:L}$${env:L}{x}"};
	size_t i;

	(void)state;
	assert_int_equal(tree_load(&t, "l", local, strlen(local), YAML_LOCAL, &err), 0);
	assert_int_equal(expansion_collect(t.root, &known, 0), 0);
	assert_int_equal(expansion_check(t.root, &allowed, &known, 0, &err), 0);
	assert_int_equal(expansion_check(t.root, &allowed, NULL, 0, &err), -1);
	for (i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		int got;

		assert_int_equal(tree_load(&r, "r", no[i], strlen(no[i]), YAML_REMOTE, &err), 0);
		got = expansion_check(r.root, &allowed, &known, 0, &err);
		if (got != -1)
			fail_msg("%s: taken", no[i]);
		tree_free(&r);
	}
	tree_free(&t);
	expansion_known_free(&known);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_SE_02_no_expansion_without_a_list),
	    cmocka_unit_test(test_dollars_that_are_text),
	    cmocka_unit_test(test_SE_02_listed_expansions),
	    cmocka_unit_test(test_SE_02_defaults),
	    cmocka_unit_test(test_SE_02_expansions_that_would_join),
	    cmocka_unit_test(test_SE_02_tags_that_hide_text),
	    cmocka_unit_test(test_remedy_cannot_carry_settings),
	    cmocka_unit_test(test_SE_02_known_texts_are_taken_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
