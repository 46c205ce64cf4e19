/*
 * describe.h: who the agent is, for the server: what it said of itself, what is known of the host,
 * what the settings say (OpAMP: AgentDescription).  netd.  Opens nothing: host_read is called with
 * files that the parent handed over.
 */
#ifndef NETD_DESCRIBE_H
#define NETD_DESCRIBE_H

#include <stddef.h>
#include <stdint.h>

#include "privsep/error.h"
#include "privsep/settings.h"

#define UUID_TEXT 37

struct describe {
	char *service_name;   /* for an agent that does not say: NULL = not known */
	char *os_description; /* NULL = not known, each of these */
	char *host_name;
	char *host_id;
	const char *host_arch; /* in Go's words */
	const struct settings *settings;
};

/* Host name and architecture; the rest is zeroed.  settings stays the caller's. */
int describe_init(struct describe *d, const struct settings *settings, struct error *err);
void describe_clear(struct describe *d);

/* /etc/os-release and /etc/machine-id; a file without the value leaves it unknown. */
void describe_os_release(struct describe *d, const char *text);
void describe_machine_id(struct describe *d, const char *text);

/*
 * The AgentDescription as it is reported, packed and malloc'd.  blob: the agent's own, packed, may be
 * empty.  Its attributes hold, what is missing is added, the settings win over both (DE-01 to
 * DE-03); service.instance.id is uid in every case.
 */
int describe_pack(const struct describe *d, const void *blob, size_t blob_len,
    const uint8_t uid[16], char **packed, size_t *len, struct error *err);

/* Lower-case canonical text. */
void uuid_text(char text[UUID_TEXT], const uint8_t uid[16]);

#endif
