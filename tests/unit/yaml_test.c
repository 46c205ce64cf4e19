/*
 * yaml_test.c: the bounded tree: what is read, what is refused and where, what is written.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "confd/yaml_output.h"
#include "privsep/limits.h"

static int
read_text(struct yaml_tree *t, const char *text, enum yaml_trust trust, struct error *err)
{
	memset(t, 0, sizeof(*t));
	if (tree_check_text("f", text, strlen(text), err) == -1)
		return -1;
	return tree_load(t, "f", text, strlen(text), trust, err);
}

static void
refused(const char *text, enum yaml_trust trust, const char *words)
{
	struct yaml_tree t;
	struct error err;

	assert_int_equal(read_text(&t, text, trust, &err), -1);
	if (strncmp(err.text, words, strlen(words)) != 0)
		fail_msg("\"%s\": got \"%s\", not \"%s\"", text, err.text, words);
	tree_free(&t);
}

/* text, read and written, is `want` */
static void
written(const char *text, const char *want)
{
	struct yaml_tree t, again;
	struct error err;
	char *data;
	size_t len;

	if (read_text(&t, text, YAML_REMOTE, &err) == -1)
		fail_msg("%s", err.text);
	assert_int_equal(tree_emit(t.root, NULL, &data, &len, &err), 0);
	data = realloc(data, len + 1);
	data[len] = '\0';
	assert_string_equal(data, want);
	assert_int_equal(read_text(&again, data, YAML_REMOTE, &err), 0);
	assert_true(tree_equal(t.root, again.root, 0));
	free(data);
	tree_free(&t);
	tree_free(&again);
}

static void
test_CF_12_plain_scalars_stay_verbatim(void **state)
{
	static const char *const plain[] = {"yes", "No", "on", "0x1F", "0o17", "012", "1e3", "~",
	    "null", ".inf", "1_000", "12:30:45", "2001-12-14", "true", "=", "-1", "+1", "1.0", "y"};
	char text[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		(void)snprintf(text, sizeof(text), "a: %s\n", plain[i]);
		written(text, text);
		(void)snprintf(text, sizeof(text), "a: \"%s\"\n", plain[i]);
		written(text, text);
		(void)snprintf(text, sizeof(text), "a: '%s'\n", plain[i]);
		written(text, text);
		(void)snprintf(text, sizeof(text), "- %s\n", plain[i]);
		written(text, text);
	}
	written("a:\n", "a:\n");
	written("a: !!str 123\n", "a: !!str 123\n");
	written("a: !!int \"3\"\n", "a: !!int \"3\"\n");
	written("a: {b: [], c: {}}\n", "a:\n  b: []\n  c: {}\n");
	written("yes: 1\n\"no\": 2\n", "yes: 1\n\"no\": 2\n");
}

static void
test_CF_12_blocks_and_unicode_survive(void **state)
{
	(void)state;
	written("a: |-\n  one\n    two\n", "a: |-\n  one\n    two\n");
	written("a: |+\n  keep\n\n\nb: 1\n",
	    "a: |+\n  keep\n\n\nb: 1\n...\n"); /* libyaml closes what keeps breaks */
	written("a: |2\n    lead\n  x\n", "a: |2\n    lead\n  x\n");
	written("a: é ü\n", "a: é ü\n");
	/* libyaml cannot write these plain; they are strings in any case */
	written("a: \xf0\x9f\x98\x80 x\n", "a: \"\\U0001F600 x\"\n");
	written("a: b\tc\n", "a: \"b\\tc\"\n");
}

static struct yaml_node *
random_tree(struct yaml_tree *t, int depth, unsigned *dice)
{
	static const char characters[] =
	    "abcXYZ0189_./+=@%^(),;<>~-${}*!?&|'[]:: : #\"\\`\t\xc3\xa9";
	unsigned kind = depth > 4 ? 0 : (unsigned)rand_r(dice) % 4, i, n;
	struct yaml_node *node;
	char text[160];

	if (kind < 2) {
		n = (unsigned)rand_r(dice) % (rand_r(dice) % 20 == 0 ? 150 : 9);
		for (i = 0; i < n; i++)
			text[i] = characters[(unsigned)rand_r(dice) %
					     (rand_r(dice) % 4 ? 10 : sizeof(characters) - 3)];
		text[n] = '\0';
		node = tree_new_plain(t, text);
		node->style = rand_r(dice) % 3 == 0 ? 3 : 1;
		return node;
	}
	node = kind == 2 ? tree_new_map(t) : tree_new_seq(t);
	n = (unsigned)rand_r(dice) % 4;
	for (i = 0; i < n && kind == 3; i++)
		assert_int_equal(tree_append(t, node, random_tree(t, depth + 1, dice)), 0);
	for (i = 0; i < n && kind == 2; i++)
		assert_int_equal(tree_set_node(t, node, random_tree(t, 9, dice),
				     random_tree(t, depth + 1, dice)),
		    0);
	return node;
}

/* What is written without libyaml is what libyaml writes, to the byte. */
static void
test_both_writers_write_the_same(void **state)
{
	unsigned dice = 1, i, usual = 0;

	(void)state;
	for (i = 0; i < 200000; i++) {
		struct output a = {0}, b = {0};
		struct yaml_tree t = {0};
		struct yaml_node *root = random_tree(&t, 0, &dice);

		if (root->kind != YAML_SCALAR && root->count > 0 && tree_is_usual(root, 0)) {
			usual++;
			assert_true(tree_write_usual(&a, root));
			assert_true(tree_write_any(&b, root));
			if (a.len != b.len || memcmp(a.data, b.data, a.len) != 0)
				fail_msg("ours:\n%.*slibyaml's:\n%.*s", (int)a.len, a.data,
				    (int)b.len, b.data);
		}
		free(a.data);
		free(b.data);
		tree_free(&t);
	}
	assert_true(usual > 10000);
}

/* Trees that are equal have one sum, and a text says what its tree has, or where it does not. */
static void
test_sums_and_matches(void **state)
{
	static const struct {
		const char *a, *b;
		int same;
		unsigned line; /* of what b does not say */
	} cases[] = {
	    {"x: 1\ny: [a, {b: c}]\n", "x: 1\ny:\n- a\n- b: c\n", 1, 0},
	    {"x: a\tb\n", "x: \"a\\tb\"\n", 1, 0},
	    {"x: 1\ny: 123\n", "x: 1\ny: \"123\"\n", 0, 2},
	    {"x: 1\ny: 123\n", "x: 1\ny: 124\n", 0, 2},
	    {"x: 1\ny: 123\n", "x: 1\ny: !!str 123\n", 0, 2},
	    {"x: 1\ny: 123\n", "x: 1\n", 0, 1},
	    {"x: 1\n", "x: 1\ny: 123\n", 0, 1},
	    {"x: 1\ny: 2\n", "y: 2\nx: 1\n", 0, 1},
	    {"x:\n- [a]\n- b\n", "x:\n- [a, b]\n", 0, 2},
	    {"x:\n- a\n- b\n", "x:\n- a\n- b\n- c\n", 0, 2},
	    {"x: {a: b}\n", "x: [a, b]\n", 0, 1},
	    {"x: [[]]\n", "x: [[], []]\n", 0, 1},
	    {"x: ab\ny: c\n", "x: a\ny: bc\n", 0, 1},
	};
	const struct yaml_node *at;
	struct yaml_tree a, b;
	struct error err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(read_text(&a, cases[i].a, YAML_LOCAL, &err), 0);
		assert_int_equal(read_text(&b, cases[i].b, YAML_LOCAL, &err), 0);
		assert_int_equal(tree_equal(a.root, b.root, 0), cases[i].same);
		assert_int_equal(tree_sum(a.root) == tree_sum(b.root), cases[i].same);
		assert_int_equal(
		    tree_matches(a.root, cases[i].b, strlen(cases[i].b), &at, &err) == 0,
		    cases[i].same);
		if (!cases[i].same)
			assert_int_equal(at->line, cases[i].line);
		tree_free(&a);
		tree_free(&b);
	}
	assert_int_equal(read_text(&a, "x: 1\n", YAML_LOCAL, &err), 0);
	assert_int_equal(tree_matches(a.root, "x: 1\n\"", 6, &at, &err), -1);
	assert_null(at);
	assert_int_equal(tree_matches(a.root, "", 0, &at, &err), -1);
	assert_ptr_equal(at, a.root);
	assert_int_equal(tree_matches(a.root, "x: &a 1\ny: *a\n", 14, &at, &err), -1);
	tree_free(&a);
}

static void
test_equal_sees_a_change_of_type(void **state)
{
	struct yaml_tree a, b;
	struct error err;
	const struct yaml_node *at;

	(void)state;
	assert_int_equal(read_text(&a, "x: 1\ny: 123\n", YAML_LOCAL, &err), 0);
	assert_int_equal(read_text(&b, "x: 1\ny: \"123\"\n", YAML_LOCAL, &err), 0);
	assert_false(tree_equal(a.root, b.root, 0));
	at = tree_difference(a.root, b.root, 0);
	assert_int_equal(at->line, 2);
	assert_int_equal(at->column, 4);
	tree_free(&b);
	assert_int_equal(read_text(&b, "x: 1\ny: !!str 123\n", YAML_LOCAL, &err), 0);
	assert_false(tree_equal(a.root, b.root, 0));
	tree_free(&b);
	assert_int_equal(read_text(&b, "x: 1\n", YAML_LOCAL, &err), 0);
	assert_ptr_equal(tree_difference(a.root, b.root, 0), a.root);
	assert_false(tree_equal(a.root, NULL, 0));
	tree_free(&a);
	tree_free(&b);
}

static void
test_literal_is_quoted_and_its_dollars_doubled(void **state)
{
	struct yaml_tree t = {0};
	struct error err;
	char *data;
	size_t len;

	(void)state;
	t.root = tree_new_map(&t);
	assert_int_equal(tree_set(&t, t.root, "a", tree_new_literal(&t, "x\n${env:Y}\": z")), 0);
	assert_int_equal(tree_set(&t, t.root, "b", tree_new_literal(&t, "true")), 0);
	assert_int_equal(tree_emit(t.root, "# head\n", &data, &len, &err), 0);
	data = realloc(data, len + 1);
	data[len] = '\0';
	assert_string_equal(data, "# head\na: \"x\\n$${env:Y}\\\": z\"\nb: \"true\"\n");
	free(data);
	tree_free(&t);
}

static void
test_SE_05_refusals_name_the_place(void **state)
{
	(void)state;
	refused("a: 1\nb: &x 1\n", YAML_REMOTE, "f:2:4: anchors (&name) are not taken");
	refused("a: *x\n", YAML_REMOTE, "f:1:4: aliases (*name) are not taken");
	refused("a:\n  <<: {b: 1}\n", YAML_REMOTE, "f:2:3: merge keys (<<)");
	refused("a:\n  <<: {b: 1}\n", YAML_LOCAL, "f:2:3: merge keys (<<)");
	refused("a: 1\nb: 2\na: 3\n", YAML_LOCAL,
	    "f:3:1: key \"a\" is here a second time; the first is in line 1");
	refused("a: {b: 1,\n  \"b\": 2}\n", YAML_REMOTE, "f:2:3: key \"b\" is here a second time");
	refused("? [1]\n: x\n", YAML_LOCAL, "f:1:3: a key must be");
	refused("? {a: b}\n: x\n", YAML_LOCAL, "f:1:3: a key must be");
	refused("a: 1\n---\nb: 2\n", YAML_LOCAL, "f:2:1: a second document");
	refused("a: [1\n", YAML_LOCAL, "f:2:1: not YAML: ");
	refused("a: *x\n", YAML_LOCAL, "f:1:4: an alias without an anchor");
	refused("a: &x [*x]\n", YAML_LOCAL, "f:1:8: an alias inside what it stands for");
	refused("a: \"b\\0c\"\n", YAML_LOCAL, "f:1:4: a value with a NUL byte");
}

static void
bad_text(const char *text, size_t len, const char *words)
{
	struct error err;

	assert_int_equal(tree_check_text("f", text, len, &err), -1);
	if (strncmp(err.text, words, strlen(words)) != 0)
		fail_msg("got \"%s\", not \"%s\"", err.text, words);
}

static void
test_CF_12_bytes_that_are_no_text_name_the_place(void **state)
{
	static const char good[] =
	    "a\t\r\nb: \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\xef\xbb\xbf\xc2\x85";
	char many[65 * 13]; /* directives, a next-line character after each */
	size_t i;

	(void)state;
	assert_int_equal(tree_check_text("f", good, sizeof(good) - 1, NULL), 0);
	assert_int_equal(tree_check_text("f", "", 0, NULL), 0);
	for (i = 0; i < 65; i++)
		memcpy(many + i * 13, "%TAG !a! b:\xc2\x85", 13);
	bad_text(many, sizeof(many), "f: more than 64 %TAG directives");
	assert_int_equal(tree_check_text("f", many, 64 * 13, NULL), 0);
	for (i = 0; i < 65; i++)
		memcpy(many + i * 13, "x: '%TAG !'\r\n", 13); /* in values: no directives */
	assert_int_equal(tree_check_text("f", many, sizeof(many), NULL), 0);
	bad_text("a: b\nc: \0d", 10, "f:2:4: character U+0000 (a NUL byte)");
	bad_text("a\r\nb\rc\x01", 7, "f:3:2: character U+0001");
	bad_text("\xc3\xa9\xff", 3, "f:1:2: byte 0xff is not UTF-8");
	bad_text("a\xc0\xaf", 3, "f:1:2: byte 0xc0");         /* overlong */
	bad_text("a\xe0\x80\xaf", 4, "f:1:2: byte 0xe0");     /* overlong */
	bad_text("a\xf0\x80\x80\xaf", 5, "f:1:2: byte 0xf0"); /* overlong */
	bad_text("a\xed\xa0\x80", 4, "f:1:2: byte 0xed");     /* a surrogate */
	bad_text("a\xf4\x90\x80\x80", 5, "f:1:2: byte 0xf4"); /* past U+10FFFF */
	bad_text("a\xf5\x80\x80\x80", 5, "f:1:2: byte 0xf5");
	bad_text("a\xe2\x82", 3, "f:1:2: byte 0xe2"); /* cut */
	bad_text("a\x80", 2, "f:1:2: byte 0x80");
	bad_text("\x7f", 1, "f:1:1: character U+007F");
	bad_text("\xc2\x81", 2, "f:1:1: character U+0081");
}

static char *
repeat(const char *unit, size_t times)
{
	size_t len = strlen(unit), i;
	char *text = malloc(len * times + 1);

	for (i = 0; i < times; i++)
		memcpy(text + i * len, unit, len);
	text[len * times] = '\0';
	return text;
}

static void
test_SE_05_depth_is_bounded(void **state)
{
	char *text = repeat("[", 10000);
	struct yaml_tree t;

	(void)state;
	refused(text, YAML_REMOTE, "f:1:65: nested more than 64 deep");
	free(text);
	text = repeat("- ", 10000);
	refused(text, YAML_REMOTE, "f:1:129: nested more than 64 deep");
	free(text);
	text = repeat("{a: ", 10000);
	refused(text, YAML_LOCAL, "f:1:257: nested more than 64 deep");
	free(text);
	text = repeat("- ", 64);
	assert_int_equal(read_text(&t, text, YAML_REMOTE, NULL), 0);
	tree_free(&t);
	free(text);
}

static void
test_SE_05_laughs_are_counted(void **state)
{
	char text[4096] = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n", line[160], *many, *big;
	struct yaml_tree t;
	struct error err;
	int i;

	(void)state;
	for (i = 1; i < 10; i++) {
		(void)snprintf(line, sizeof(line),
		    "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1,
		    i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
		strcat(text, line);
	}
	assert_int_equal(read_text(&t, text, YAML_LOCAL, &err), -1);
	assert_non_null(strstr(err.text, "more than 1,000,000 nodes"));
	assert_memory_equal(err.text, "f:6:", 4);
	tree_free(&t);

	/* few nodes, many bytes */
	big = malloc(5 * MIB);
	many = repeat("- *a\n", 900);
	memcpy(big, "- &a ", 5);
	memset(big + 5, 'x', 2 * MIB);
	strcpy(big + 5 + 2 * MIB, "\n");
	strcat(big + 5 + 2 * MIB, many);
	assert_int_equal(read_text(&t, big, YAML_LOCAL, &err), -1);
	assert_non_null(strstr(err.text, "no memory"));
	assert_true(t.bytes <= LIMIT_MERGE_MEMORY / 2);
	tree_free(&t);
	free(big);
	free(many);

	many = repeat("- *a\n", 1001);
	big = malloc(strlen(many) + 16);
	strcpy(stpcpy(big, "- &a x\n"), many);
	refused(big, YAML_LOCAL, "f:1002:3: more than 1,000 aliases");
	free(big);
	free(many);
}

static void
test_aliases_of_local_files_are_copies(void **state)
{
	struct yaml_tree t;
	struct yaml_node *a, *b;

	(void)state;
	assert_int_equal(
	    read_text(&t, "a: &x {k: [1, \"2\"]}\nb: *x\nc: &k name\n*k : v\n", YAML_LOCAL, NULL),
	    0);
	a = tree_get(t.root, "a");
	b = tree_get(t.root, "b");
	assert_ptr_not_equal(a, b);
	assert_true(tree_equal(a, b, 0));
	assert_int_equal(b->line, 2);
	assert_true(tree_is(tree_get(t.root, "name"), "v"));
	tree_free(&t);
}

static void
test_empty_documents(void **state)
{
	struct yaml_tree t;

	(void)state;
	assert_int_equal(read_text(&t, "", YAML_REMOTE, NULL), 0);
	assert_null(t.root);
	assert_int_equal(read_text(&t, "# nothing\n", YAML_REMOTE, NULL), 0);
	assert_null(t.root);
	assert_int_equal(read_text(&t, "---\n...\n", YAML_REMOTE, NULL), 0);
	assert_true(tree_is_null(t.root));
	tree_free(&t);
	assert_int_equal(read_text(&t, "''\n", YAML_REMOTE, NULL), 0);
	assert_false(tree_is_null(t.root));
	tree_free(&t);
}

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
test_SE_05_150000_keys_in_time(void **state)
{
	size_t size = 150000 * 24, n = 0, i;
	char *text = malloc(size), key[32];
	double start = seconds();
	struct yaml_tree t;
	struct error err;

	(void)state;
	for (i = 0; i < 150000; i++)
		n += (size_t)snprintf(text + n, size - n, "batch/%zu: {}\n", i);
	assert_int_equal(read_text(&t, text, YAML_REMOTE, &err), 0);
	assert_int_equal(t.root->count, 150000);
	for (i = 0; i < 150000; i += 7) {
		(void)snprintf(key, sizeof(key), "batch/%zu", i);
		assert_ptr_equal(tree_get(t.root, key), t.root->pairs[i].value);
	}
	assert_null(tree_get(t.root, "batch/150000"));
	tree_free(&t);
	(void)snprintf(text + n, size - n, "batch/77: {}\n");
	refused(text, YAML_REMOTE,
	    "f:150001:1: key \"batch/77\" is here a second time; the first is "
	    "in line 78");
	/* quadratic would be minutes; a sanitized build on a busy machine still is far below */
	assert_true(seconds() - start < 20);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_CF_12_plain_scalars_stay_verbatim),
	    cmocka_unit_test(test_CF_12_blocks_and_unicode_survive),
	    cmocka_unit_test(test_both_writers_write_the_same),
	    cmocka_unit_test(test_sums_and_matches),
	    cmocka_unit_test(test_equal_sees_a_change_of_type),
	    cmocka_unit_test(test_literal_is_quoted_and_its_dollars_doubled),
	    cmocka_unit_test(test_SE_05_refusals_name_the_place),
	    cmocka_unit_test(test_CF_12_bytes_that_are_no_text_name_the_place),
	    cmocka_unit_test(test_SE_05_depth_is_bounded),
	    cmocka_unit_test(test_SE_05_laughs_are_counted),
	    cmocka_unit_test(test_aliases_of_local_files_are_copies),
	    cmocka_unit_test(test_empty_documents),
	    cmocka_unit_test(test_SE_05_150000_keys_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
