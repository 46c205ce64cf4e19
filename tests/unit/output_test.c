/*
 * output_test.c: the agent's output: nothing lost that should be kept, nothing kept without bound,
 * nothing that steers a terminal.
 */
#include "link_fake.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "netd/output.h"
#include "netd/output_line.h"

struct bench {
	struct fake *fake;
	struct output *output;
	int log, out, err; /* the log file; writing ends */
};

static int
append_file(void)
{
	char name[] = "/tmp/opampd-output-XXXXXX";
	int fd = mkostemp(name, O_APPEND | O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(name);
	return fd;
}

static int
stream(struct bench *b, uint32_t start, uint32_t kind, uint32_t number)
{
	struct msg_output m = {.start = start, .kind = kind, .stream = number};
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(output_stream(b->output, &m, fds[0]), 0);
	return fds[1];
}

static void
open_bench(struct bench *b, uint64_t max_size, int passthrough)
{
	b->fake = fake_new();
	b->output = output_new(&b->fake->child, max_size, passthrough);
	assert_non_null(b->output);
	b->log = append_file();
	output_log(b->output, dup(b->log));
	b->out = stream(b, 1, AGENT_RUN, 1);
	b->err = stream(b, 1, AGENT_RUN, 2);
}

static void
close_writers(struct bench *b)
{
	if (b->out >= 0)
		close(b->out);
	if (b->err >= 0)
		close(b->err);
	b->out = b->err = -1;
}

static void
close_bench(struct bench *b)
{
	close_writers(b);
	output_free(b->output);
	close(b->log);
	fake_free(b->fake);
}

static void
say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void
assert_log(struct bench *b, const char *want)
{
	char *got;
	size_t len;

	fake_settle(b->fake);
	assert_int_equal(file_read(b->log, 64 * MIB, &got, &len, NULL), 0);
	assert_string_equal(got, want);
	free(got);
}

static void
test_lines_reach_the_log(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b, MIB, 0);
	say(b.out, "one\ntw");
	say(b.err, "err\r\n");
	assert_log(&b, "one\nerr\n");
	say(b.out, "o\n\n");
	assert_log(&b, "one\nerr\ntwo\n\n");
	say(b.out, "no newline at the end");
	close_writers(&b);
	assert_log(&b, "one\nerr\ntwo\n\nno newline at the end\n");
	close_bench(&b);
}

static void
test_I12_control_characters_are_escaped(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b, MIB, 0);
	say(b.out, "\x1b]0;evil\x07\tok \\n \xc3\xa4 \xc2\x9b \xff \xe2\x80\xae\n");
	assert_log(&b, "\\x1b]0;evil\\x07\tok \\n \xc3\xa4 \\xc2\\x9b \\xff \\xe2\\x80\\xae\n");
	close_bench(&b);
}

static void
test_I11_a_line_without_end_is_cut(void **state)
{
	struct bench b;
	char *big = malloc(3 * LIMIT_LOG_LINE);
	char *got;
	size_t len, lines = 0, i;
	struct heard *end;

	(void)state;
	memset(big, 'x', 3 * LIMIT_LOG_LINE);
	open_bench(&b, MIB, 0);
	assert_int_equal(fcntl(b.out, F_SETPIPE_SZ, MIB) > 0, 1);
	assert_int_equal(write(b.out, big, 3 * LIMIT_LOG_LINE - 7), 3 * LIMIT_LOG_LINE - 7);
	close_writers(&b);
	end = fake_expect(b.fake, MSG_AGENT_OUTPUT_END);
	assert_true(end->tail_len <= LIMIT_LOG_TAIL_BYTES);
	assert_int_equal(file_read(b.log, MIB, &got, &len, NULL), 0);
	for (i = 0; i < len; i++)
		lines += got[i] == '\n';
	assert_int_equal(lines, 3);
	assert_int_equal(len, 3 * LIMIT_LOG_LINE - 7 + 3);
	free(got);
	free(big);
	close_bench(&b);
}

static void
test_last_words_are_the_last_lines(void **state)
{
	struct bench b;
	struct heard *end;
	char line[64];
	const struct msg_output_end *m;
	int i;

	(void)state;
	open_bench(&b, MIB, 0);
	for (i = 1; i <= 100; i++) {
		(void)snprintf(line, sizeof(line), "line %d\n", i);
		say(b.out, line);
	}
	close(b.out);
	b.out = -1;
	fake_expect_none(b.fake, MSG_AGENT_OUTPUT_END); /* stderr is still open */
	close_writers(&b);
	end = fake_expect(b.fake, MSG_AGENT_OUTPUT_END);
	m = (const struct msg_output_end *)(const void *)end->payload;
	assert_int_equal(m->start, 1);
	assert_int_equal(m->kind, AGENT_RUN);
	assert_memory_equal(end->tail, "line 51\n", 8);
	assert_string_equal(end->tail + end->tail_len - 9, "\nline 100");
	/* confd anew: it is told once more */
	output_confd_up(b.output);
	end = fake_expect(b.fake, MSG_AGENT_OUTPUT_END);
	assert_memory_equal(end->tail, "line 51\n", 8);
	close_bench(&b);
}

static void
test_HL02_the_error_block_comes_first(void **state)
{
	struct bench b;
	struct heard *end;

	(void)state;
	open_bench(&b, MIB, 0);
	say(b.err, "{\"level\":\"info\",\"msg\":\"Starting\"}\n");
	say(b.err, "Error: failed to get config: cannot unmarshal the configuration:\n"
		   "* error decoding 'exporters': unknown type: \"nope\"\n"
		   "2026/11/24 10:00:00 collector server run finished with error: ...\n");
	close_writers(&b);
	end = fake_expect(b.fake, MSG_AGENT_OUTPUT_END);
	assert_string_equal(end->tail,
	    "Error: failed to get config: cannot unmarshal the configuration:\n"
	    "* error decoding 'exporters': unknown type: \"nope\"");
	close_bench(&b);
}

static void
test_HL02_the_last_error_line_of_logfmt(void **state)
{
	struct bench b;
	struct heard *end;

	(void)state;
	open_bench(&b, MIB, 0);
	say(b.err, "ts=1 level=error msg=\"one collector failed\"\n"
		   "ts=2 level=info msg=\"Listening on\"\n"
		   "ts=3 caller=a.go:1 level=error err=\"no such file\"\n"
		   "ts=4 level=info msg=\"bye\"\n");
	close_writers(&b);
	end = fake_expect(b.fake, MSG_AGENT_OUTPUT_END);
	assert_string_equal(end->tail, "ts=3 caller=a.go:1 level=error err=\"no such file\"");
	close_bench(&b);
}

static void
test_HL02_many_last_words_are_cut_at_their_beginning(void **state)
{
	struct bench b;
	struct heard *end;
	char line[202];
	int i;

	(void)state;
	open_bench(&b, MIB, 0);
	memset(line, 'x', sizeof(line));
	(void)snprintf(line + 200, 2, "\n");
	for (i = 0; i < 40; i++)
		say(b.err, line);
	say(b.err, "the reason\n");
	close_writers(&b);
	end = fake_expect(b.fake, MSG_AGENT_OUTPUT_END);
	assert_true(end->tail_len < LIMIT_AGENT_TEXT - 500 && end->tail_len > 3000);
	assert_string_equal(end->tail + end->tail_len - 11, "\nthe reason");
	close_bench(&b);
}

static void
test_HL02_an_old_error_is_not_the_reason(void **state)
{
	struct bench b;
	struct heard *end;
	int i;

	(void)state;
	open_bench(&b, MIB, 0);
	say(b.err, "Error: long ago\n{}\n");
	for (i = 0; i < LIMIT_LOG_TAIL; i++)
		say(b.err, "{\"level\":\"info\"}\n");
	close_writers(&b);
	end = fake_expect(b.fake, MSG_AGENT_OUTPUT_END);
	assert_null(strstr(end->tail, "long ago"));
	close_bench(&b);
}

static void
test_offspring_that_keeps_the_pipe(void **state)
{
	struct bench b;
	struct heard *end;

	(void)state;
	open_bench(&b, MIB, 0);
	say(b.out, "bye\n");
	output_ended(b.output, 1); /* the writing ends are still open */
	end = fake_expect(b.fake, MSG_AGENT_OUTPUT_END);
	assert_string_equal(end->tail, "bye");
	assert_log(&b, "bye\n");
	output_ended(b.output, 1);
	fake_expect_none(b.fake, MSG_AGENT_OUTPUT_END);
	close_bench(&b);
}

static void
test_a_check_goes_to_confd_only(void **state)
{
	struct bench b;
	struct heard *end;
	const struct msg_output_end *m;
	int out, err;

	(void)state;
	open_bench(&b, MIB, 0);
	out = stream(&b, 2, AGENT_VALIDATE, 1);
	err = stream(&b, 2, AGENT_VALIDATE, 2);
	say(err, "Error: bad\n");
	close(out);
	close(err);
	end = fake_expect(b.fake, MSG_AGENT_OUTPUT_END);
	m = (const struct msg_output_end *)(const void *)end->payload;
	assert_int_equal(m->start, 2);
	assert_int_equal(m->kind, AGENT_VALIDATE);
	assert_string_equal(end->tail, "Error: bad");
	assert_log(&b, "");
	close_bench(&b);
}

static void
test_I11_rotation_is_asked_for_once(void **state)
{
	struct bench b;
	char line[1025];
	int i, next;

	(void)state;
	memset(line, 'a', sizeof(line) - 2);
	line[sizeof(line) - 2] = '\n';
	line[sizeof(line) - 1] = '\0';
	open_bench(&b, 4096, 0);
	for (i = 0; i < 6; i++) {
		say(b.out, line);
		fake_settle(b.fake);
	}
	(void)fake_expect(b.fake, MSG_LINK_ROTATE);
	fake_expect_none(b.fake, MSG_LINK_ROTATE);
	next = append_file();
	output_log(b.output, dup(next));
	say(b.out, "new\n");
	fake_settle(b.fake);
	assert_int_equal(lseek(next, 0, SEEK_END), 4);
	fake_expect_none(b.fake, MSG_LINK_ROTATE);
	close(next);
	close_bench(&b);
}

static void
test_I11_without_rotation_the_file_does_not_grow_on(void **state)
{
	struct bench b;
	char line[1025];
	int i;

	(void)state;
	memset(line, 'a', sizeof(line) - 2);
	line[sizeof(line) - 2] = '\n';
	line[sizeof(line) - 1] = '\0';
	open_bench(&b, 4096, 0);
	for (i = 0; i < 100; i++) {
		say(b.out, line);
		fake_settle(b.fake);
	}
	assert_in_range(lseek(b.log, 0, SEEK_END), 4096, 3 * 4096);
	close_bench(&b);
}

static void
test_a_full_disk_loses_lines_only(void **state)
{
	struct bench b;
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct heard *end;

	(void)state;
	open_bench(&b, MIB, 0);
	assert_true(full >= 0);
	output_log(b.output, full);
	say(b.out, "lost\n");
	fake_settle(b.fake);
	output_log(b.output, dup(b.log));
	say(b.out, "kept\n");
	close_writers(&b);
	end = fake_expect(b.fake, MSG_AGENT_OUTPUT_END);
	assert_string_equal(end->tail, "lost\nkept");
	assert_log(&b, "kept\n");
	close_bench(&b);
}

static void
test_content_that_the_parent_would_not_send(void **state)
{
	struct bench b;
	struct msg_output m = {.start = 1, .kind = AGENT_RUN, .stream = 1};

	(void)state;
	open_bench(&b, MIB, 0);
	assert_int_equal(output_stream(b.output, &m, dup(0)), -1); /* twice */
	m.stream = 3;
	assert_int_equal(output_stream(b.output, &m, dup(0)), -1);
	m = (struct msg_output){.start = 0, .kind = AGENT_RUN, .stream = 1};
	assert_int_equal(output_stream(b.output, &m, dup(0)), -1);
	m = (struct msg_output){.start = 9, .kind = 77, .stream = 1};
	assert_int_equal(output_stream(b.output, &m, dup(0)), -1);
	close_bench(&b);
}

static void
assert_line(const char *line, unsigned number, enum log_level level, const char *want)
{
	char text[256];

	assert_int_equal(output_read_line(text, sizeof(text), line, strlen(line), number), level);
	assert_string_equal(text, want);
}

static void
test_passthrough_keeps_the_level(void **state)
{
	char small[8];

	(void)state;
	assert_line("{\"level\":\"warn\",\"ts\":\"2026\",\"caller\":\"a.go:1\",\"msg\":\"a "
		    "\\\"b\\\"\",\"resource\":{\"x\":\"}\"},\"error\":\"no\",\"n\":[1,{\"a\":2}]}",
	    2, LOG_LEVEL_WARN, "a \"b\" error=\"no\" n=[1,{\"a\":2}]");
	assert_line("{\"msg\":\"x\",\"level\":\"fatal\"}", 1, LOG_LEVEL_ERROR, "x");
	assert_line("{\"level\": \"debug\" , \"msg\": \"x\" }", 1, LOG_LEVEL_DEBUG, "x");
	assert_line("{\"msg\":\"x\"}", 2, LOG_LEVEL_INFO, "{\"msg\":\"x\"}");
	assert_line("{\"level\":\"warn\",\"msg\":\"x", 2, LOG_LEVEL_INFO,
	    "{\"level\":\"warn\",\"msg\":\"x");
	assert_line("2026-11-24T10:00:00.000Z\twarn\ta.go:1\tword", 2, LOG_LEVEL_WARN,
	    "2026-11-24T10:00:00.000Z\twarn\ta.go:1\tword");
	assert_line("ts=2026-11-24T10:00:00.000Z caller=a.go:1 level=warn msg=\"a b\"", 2,
	    LOG_LEVEL_WARN, "ts=2026-11-24T10:00:00.000Z caller=a.go:1 level=warn msg=\"a b\"");
	assert_line("level=error", 2, LOG_LEVEL_ERROR, "level=error");
	assert_line("level=", 2, LOG_LEVEL_INFO, "level=");
	assert_line("a level=error", 2, LOG_LEVEL_INFO, "a level=error");
	assert_line("Error: bad", 2, LOG_LEVEL_ERROR, "Error: bad");
	assert_line("Error: bad", 1, LOG_LEVEL_INFO, "Error: bad");
	assert_line("", 1, LOG_LEVEL_INFO, "");
	assert_line("]]{{", 1, LOG_LEVEL_INFO, "]]{{");
	(void)output_read_line(small, sizeof(small), "{\"level\":\"info\",\"msg\":\"123456789\"}",
	    strlen("{\"level\":\"info\",\"msg\":\"123456789\"}"), 1);
	assert_string_equal(small, "1234567");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lines_reach_the_log),
	    cmocka_unit_test(test_I12_control_characters_are_escaped),
	    cmocka_unit_test(test_I11_a_line_without_end_is_cut),
	    cmocka_unit_test(test_last_words_are_the_last_lines),
	    cmocka_unit_test(test_HL02_the_error_block_comes_first),
	    cmocka_unit_test(test_HL02_the_last_error_line_of_logfmt),
	    cmocka_unit_test(test_HL02_many_last_words_are_cut_at_their_beginning),
	    cmocka_unit_test(test_HL02_an_old_error_is_not_the_reason),
	    cmocka_unit_test(test_offspring_that_keeps_the_pipe),
	    cmocka_unit_test(test_a_check_goes_to_confd_only),
	    cmocka_unit_test(test_I11_rotation_is_asked_for_once),
	    cmocka_unit_test(test_I11_without_rotation_the_file_does_not_grow_on),
	    cmocka_unit_test(test_a_full_disk_loses_lines_only),
	    cmocka_unit_test(test_content_that_the_parent_would_not_send),
	    cmocka_unit_test(test_passthrough_keeps_the_level),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
