/*
 * spawn_stage.h: where a start of the agent failed and how it ended, for people.  The parent, confd, procd,
 * opampctl.
 */
#ifndef PRIVSEP_SPAWN_STAGE_H
#define PRIVSEP_SPAWN_STAGE_H

#include <stddef.h>
#include <stdint.h>

enum spawn_stage {
	STAGE_NONE,
	STAGE_FORK,
	STAGE_GROUP,
	STAGE_SECRET, /* of the link; where it had none ready */
	STAGE_IDS,
	STAGE_LIMITS,
	STAGE_DIRECTORY,
	STAGE_LANDLOCK,
	STAGE_SECCOMP,
	STAGE_EXEC,
	STAGE_RELEASE, /* none of these came to its end in time */
	STAGE_OPEN,    /* of agent.executable, which comes before all of them */
};
const char *spawn_stage_name(uint32_t stage);
/* What an error at that stage often comes from, to stand behind its text; "" where nothing is known. */
const char *spawn_stage_hint(uint32_t stage, int error);
/* How it ended: the rest of a sentence that begins with "the agent".  exit: enum exit_kind. */
const char *agent_end_words(char *text, size_t size, uint32_t exit, int32_t value);

#endif
