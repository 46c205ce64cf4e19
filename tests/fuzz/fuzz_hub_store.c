/*
 * fuzz_hub_store.c: what a front that was taken over by an agent's bytes may tell opamphub-store.
 * Input: frames, one after the other: type, conversation, entries (hub.h).  What must hold: a transaction
 * that was not refused is stored, and what the store answers is in the table of frames.
 */
#include "hub.h"

#include "hub/fleet.c" /* its on_frame */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
nothing(const struct frame_header *h, const struct record *r)
{
	(void)h;
	(void)r;
}

/* With an agent, a version and an assignment beside it. */
static void
beginning(struct bed *b)
{
	struct assignment a = {.selector = {"", 0}, .author = {"x", 1}};
	struct error err;
	json_t *files =
	    json_pack("{s:{s:s, s:s}}", "", "content_type", "text/yaml", "body", "a: 1\n");
	uint64_t id;

	if (fleet_configuration_new(b->fleet, (struct bytes){"c", 1}, &id, &err) == -1 ||
	    fleet_version_new(b->fleet, id, files, (struct bytes){"x", 1}, (struct bytes){"", 0},
		&a.version, &err) == -1 ||
	    fleet_assign(b->fleet, &a, &err) == -1)
		abort();
	json_decref(files);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bed b;
	struct input in = {data, size};
	struct frame_header h = {0};
	struct record r;
	struct error err;
	char *text;
	int ok = 0;

	if (b.base == NULL)
		bed_make(&b, NULL, NULL);
	bed_clear(&b);
	beginning(&b);
	while (in.size > 0 && ok == 0) {
		h.type = input_byte(&in) % (FRAME_TYPES - 1) + 1;
		h.conn = input_byte(&in) % 4;
		h.serial++;
		if (!frame_to_store(h.type))
			h.type = FRAME_REPORT;
		if (input_open(&in, &r, &text) == 0) {
			ok = on_frame(b.fleet, &h, &r, &err);
			if (ok == 0 && fleet_end(b.fleet, &err) == -1) {
				fprintf(stderr, "%s\n", err.text);
				abort();
			}
		}
		free(text);
		(void)event_base_loop(b.base, EVLOOP_NONBLOCK);
		take_frames(b.other, 0, nothing);
	}
	return 0;
}
