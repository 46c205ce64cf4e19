/*
 * record_test.c: records, offers and sealed memory files as a hostile writer would make them.
 */
#include "test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "privsep/memfd.h"
#include "privsep/offer.h"
#include "privsep/record.h"
#include "privsep/settings.h"

static void
test_record_round_trip(void **state)
{
	struct record_writer w = {0};
	struct record_entry e;
	struct record r;
	struct error err;
	size_t len, pos = 0;
	char *data, *text;

	(void)state;
	record_put(&w, 7, 12, 5, "abc", 3);
	record_put_u64(&w, 8, 99);
	record_put(&w, 7, 13, 5, "", 0);
	assert_int_equal(record_finish(&w, &data, &len, &err), 0);
	assert_int_equal(record_open(&r, data, len, &err), 0);
	assert_int_equal(r.count, 3);
	assert_int_equal(record_next(&r, &pos, 7, &e), 1);
	assert_int_equal(e.line, 12);
	assert_int_equal(e.column, 5);
	assert_memory_equal(e.value, "abc", 3);
	assert_int_equal(record_next(&r, &pos, 7, &e), 1);
	assert_int_equal(e.len, 0);
	assert_int_equal(record_next(&r, &pos, 7, &e), 0);
	assert_int_equal(record_u64(&r, 8, 1), 99);
	assert_int_equal(record_u64(&r, 7, 1), 1); /* another size: the default */
	text = record_string(&r, 7);
	assert_string_equal(text, "abc");
	free(text);
	free(data);
}

static void
test_record_refuses_every_cut_and_growth(void **state)
{
	struct record_writer w = {0};
	struct record r;
	size_t len, cut;
	char *data, *copy;

	(void)state;
	record_put(&w, 1, 1, 1, "hello", 5);
	record_put(&w, 2, 1, 1, "world", 5);
	assert_int_equal(record_finish(&w, &data, &len, NULL), 0);
	for (cut = 0; cut < len; cut++) {
		copy =
		    malloc(cut == 0 ? 1 : cut); /* exact, so that ASan sees a read past the end */
		memcpy(copy, data, cut);
		assert_int_equal(record_open(&r, copy, cut, NULL), -1);
		free(copy);
	}
	copy = malloc(len + 1);
	memcpy(copy, data, len);
	copy[len] = 0;
	assert_int_equal(record_open(&r, copy, len + 1, NULL), -1);
	free(copy);
	free(data);
}

static struct offer_part
part(const char *s)
{
	return (struct offer_part){s, strlen(s)};
}

static void
test_CF_08_offer_round_trip_and_duplicates(void **state)
{
	struct offer_file files[2] = {
	    {part("a.yaml"), part("text/yaml"), part("x: 1")}, {part(""), part(""), part("")}};
	struct offer o = {.hash = part("hash"), .count = 2, .files = files}, back;
	struct error err;
	size_t len;
	char *data;

	(void)state;
	assert_int_equal(offer_pack(&o, 100, &data, &len, &err), 0);
	assert_int_equal(offer_open(&back, data, len, 100, &err), 0);
	assert_int_equal(back.count, 2);
	assert_memory_equal(back.files[0].body.data, "x: 1", 4);
	assert_int_equal(back.files[1].name.len, 0);
	offer_close(&back);
	assert_int_equal(offer_open(&back, data, len, 3, &err), -1); /* over the size limit */
	free(data);
	files[1].name = part("a.yaml");
	assert_int_equal(offer_pack(&o, 100, &data, &len, &err), 0);
	assert_int_equal(offer_open(&back, data, len, 100, &err), -1);
	assert_string_equal(err.text, "two files with the same name");
	free(data);
}

static void
test_I11_offer_limits_and_cuts(void **state)
{
	struct offer_file file = {part("a"), part("b"), part("ccc")};
	struct offer o = {.hash = part("h"), .count = 1, .files = &file}, back;
	size_t len, i;
	char *data, *copy;

	(void)state;
	assert_int_equal(offer_pack(&o, 2, &data, &len, NULL), -1);
	o.count = LIMIT_CONFIG_FILES + 1;
	assert_int_equal(offer_pack(&o, 100, &data, &len, NULL), -1);
	o.count = 1;
	assert_int_equal(offer_pack(&o, 100, &data, &len, NULL), 0);
	for (i = 0; i < len; i++) {
		copy = malloc(i == 0 ? 1 : i);
		memcpy(copy, data, i);
		assert_int_equal(offer_open(&back, copy, i, 100, NULL), -1);
		free(copy);
	}
	for (i = 0; i < 44; i++) { /* head and table: every bit counts */
		copy = malloc(len);
		memcpy(copy, data, len);
		copy[i] = (char)(copy[i] ^ 0x40);
		assert_int_equal(offer_open(&back, copy, len, 100, NULL), -1);
		free(copy);
	}
	free(data);
}

static void
test_memfd_needs_all_four_seals(void **state)
{
	char *data;
	size_t len;
	int fd;

	(void)state;
	fd = memfd_seal("t", "bytes", 5, NULL);
	assert_true(fd >= 0);
	assert_int_equal(memfd_read(fd, 5, &data, &len, NULL), 0);
	assert_string_equal(data, "bytes");
	free(data);
	assert_int_equal(memfd_read(fd, 4, &data, &len, NULL), -1);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	close(fd);
	fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(memfd_check(fd, 100, NULL, NULL), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK), 0);
	assert_int_equal(memfd_check(fd, 100, NULL, NULL), -1);
	close(fd);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(memfd_check(fd, 100, NULL, NULL), -1);
	close(fd);
}

static int
section(struct settings *s, uint16_t key, const void *value, size_t len, enum proc self)
{
	struct record_writer w = {0};
	int fd, r;

	record_put(&w, key, 3, 4, value, len);
	fd = record_finish_memfd(&w, "t", NULL);
	r = settings_open(s, fd, self, NULL);
	close(fd);
	return r;
}

static void
test_settings_defaults_and_bounds(void **state)
{
	struct settings s;
	uint64_t v = 5000, zero = 0;

	(void)state;
	assert_int_equal(section(&s, SET_HEARTBEAT, &v, 8, PROC_NETD), 0);
	assert_int_equal(settings_u64(&s, SET_HEARTBEAT), 5000);
	assert_int_equal(settings_u64(&s, SET_RECONNECT_MAX), 300000);
	assert_int_equal(settings_u64(&s, SET_MESSAGE_SIZE), 32 * MIB);
	assert_int_equal(settings_u64(&s, SET_TLS_MAX), 1);
	assert_int_equal(settings_u64(&s, SET_TLS_MIN), 0);
	assert_int_equal(settings_bool(&s, SET_REPORTS_HEALTH), 1);
	assert_int_equal(settings_bool(&s, SET_ACCEPTS_CONFIG), 0);
	assert_true(settings_has(&s, SET_HEARTBEAT));
	settings_free(&s);
	assert_int_equal(
	    section(&s, SET_HEARTBEAT, &zero, 8, PROC_NETD), -1); /* below the minimum */
	assert_int_equal(section(&s, SET_HEARTBEAT, &v, 4, PROC_NETD), -1);
}

static void
test_I12_a_section_with_a_key_of_another_process_is_refused(void **state)
{
	struct settings s;

	(void)state;
	assert_int_equal(section(&s, SET_HEADERS, "Authorization\0x", 15, PROC_NETD), 0);
	settings_free(&s);
	assert_int_equal(section(&s, SET_HEADERS, "Authorization\0x", 15, PROC_CONFD), -1);
	assert_int_equal(section(&s, SET_HEADERS, "no value", 8, PROC_NETD), -1);
	assert_int_equal(section(&s, SET_COUNT, "x", 1, PROC_NETD), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_record_round_trip),
	    cmocka_unit_test(test_record_refuses_every_cut_and_growth),
	    cmocka_unit_test(test_CF_08_offer_round_trip_and_duplicates),
	    cmocka_unit_test(test_I11_offer_limits_and_cuts),
	    cmocka_unit_test(test_memfd_needs_all_four_seals),
	    cmocka_unit_test(test_settings_defaults_and_bounds),
	    cmocka_unit_test(test_I12_a_section_with_a_key_of_another_process_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
