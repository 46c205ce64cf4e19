/*
 * spawn_stage.c: the stages of a start in words (see spawn_stage.h).  Any process.
 */
#include "spawn_stage.h"

static const char *const stages[] = {"", "making a process", "making its cgroup",
    "waiting for the link's secret", "changing to its user", "setting its limits",
    "entering its working directory", "entering its Landlock domain", "loading its seccomp filter",
    "executing it"};

const char *
spawn_stage_name(uint32_t stage)
{
	return stage < sizeof(stages) / sizeof(stages[0]) ? stages[stage] : "starting it";
}
