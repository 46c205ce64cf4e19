/*
 * words.c: numbers in words (see words.h).  opampctl only.
 */
#include "words.h"

#include <stdio.h>
#include <string.h>

#include "privsep/agent_spawn.h"
#include "privsep/messages.h"

#define WORD(list, v) ((v) < sizeof(list) / sizeof((list)[0]) ? (list)[v] : "unknown")

const char *
word_agent_state(uint64_t v)
{
	static const char *const words[] = {"not known yet", "stopped", "starting", "running",
	    "stopping", "not running, waiting for the next try", "given up after too many crashes"};

	return WORD(words, v);
}

const char *
word_server_event(uint64_t v)
{
	static const char *const words[] = {
	    "not connected yet", "connecting", "connected", "not connected"};

	return WORD(words, v);
}

const char *
word_config_status(uint64_t v)
{
	static const char *const words[] = {"none", "APPLIED", "APPLYING", "FAILED"};

	return WORD(words, v);
}

/* confd's enum store_source; a test holds the two together. */
const char *
word_source(uint64_t v)
{
	static const char *const words[] = {"none", "local", "server", "composed anew"};

	return WORD(words, v);
}

/* confd's enum store_outcome. */
const char *
word_outcome(uint64_t v)
{
	static const char *const words[] = {"unproven", "committed", "failed"};

	return WORD(words, v);
}

const char *
word_worst(uint64_t v)
{
	static const char *const words[] = {"none reported", "well", "starting",
	    "recoverable error, as before", "recoverable error", "permanent error", "fatal error",
	    "stopped"};

	return WORD(words, v);
}

const char *
exit_text(char *buf, size_t size, uint64_t kind, uint64_t value, uint64_t stage)
{
	switch (kind) {
	case EXIT_CODE:
		(void)snprintf(buf, size, "exit status %d", (int)value);
		break;
	case EXIT_SIGNAL:
		(void)snprintf(buf, size, "signal %d (%s)", (int)value, strsignal((int)value));
		break;
	case EXIT_OOM:
		(void)snprintf(buf, size, "killed by the kernel: out of memory");
		break;
	case EXIT_SPAWN:
		(void)snprintf(buf, size, "could not be started: %s: %s%s",
		    spawn_stage_name((uint32_t)stage), strerror((int)value),
		    spawn_stage_hint((uint32_t)stage, (int)value));
		break;
	case EXIT_TIMEOUT:
		(void)snprintf(buf, size, "took too long");
		break;
	default:
		return NULL;
	}
	return buf;
}
