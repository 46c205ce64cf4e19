/*
 * fuzz_yaml.c: any bytes as a remote file beside a local one: what the merge accepts must pass the
 * second look (which parses the emitted bytes again), and no refusal is without a reason.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "confd/compose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char local[] =
	    "receivers: {nop: }\nservice: {extensions: [a], pipelines: {traces: "
	    "{receivers: [nop], exporters: [\"${env:X}\"]}}}\n";
	struct compose_attribute attribute = {"service.instance.id", "u"};
	struct compose_file file = {"local", local, sizeof(local) - 1};
	struct offer_file remote = {.body = {(const char *)data, size}};
	struct offer offer = {.count = 1, .files = &remote};
	const char *order = "local";
	struct compose_input in = {.inject = 1,
	    .uid_text = "u",
	    .port = 1,
	    .noop = NOOP_PIPELINE,
	    .attributes = &attribute,
	    .attribute_count = 1,
	    .order = &order,
	    .order_count = 1,
	    .local = &file,
	    .local_count = 1,
	    .remote = &offer};
	struct compose_result out;
	struct error err = {""};

	if (size > 65536)
		return 0;
	if (compose_run(&in, &out, &err) == -1) {
		if (err.text[0] == '\0')
			abort();
		return 0;
	}
	if (compose_check(&in, out.data, out.len, &err) == -1)
		abort();
	free(out.data);
	return 0;
}
