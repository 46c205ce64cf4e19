/*
 * spawn_stage.c: the stages of a start in words (see spawn_stage.h).  Any process.
 */
#include "spawn_stage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "messages.h"

static const char *const stages[] = {"", "making a process", "making its cgroup",
    "making the link's secret", "changing to its user", "setting its limits",
    "entering its working directory", "entering its Landlock domain", "loading its seccomp filter",
    "executing it", "coming to run (does one of the file systems that it may use not answer?)",
    "opening agent.executable"};

const char *
spawn_stage_name(uint32_t stage)
{
	return stage < sizeof(stages) / sizeof(stages[0]) ? stages[stage] : "starting it";
}

const char *
spawn_stage_hint(uint32_t stage, int error)
{
	if (stage == STAGE_IDS && error == EPERM)
		return " (agent.capabilities may name one that opampd itself was started without: "
		       "with "
		       "systemd, CapabilityBoundingSet= of its unit needs it too)";
	if (stage == STAGE_OPEN)
		return error == EPERM ? " (not safe to run: opampd's log says why)" : "";
	if (stage != STAGE_EXEC)
		return "";
	switch (error) {
	case ENOENT:
		return " (what it needs to run: the interpreter in a script's first line, or its "
		       "loader)";
	case ENOEXEC:
		return " (not a program of this host; a script begins with a line such as "
		       "#!/bin/sh)";
	case EACCES:
		return " (its user, see agent.run_as, may not execute it, or agent.sandbox "
		       "forbids it)";
	default:
		return "";
	}
}

const char *
agent_end_words(char *text, size_t size, uint32_t exit, int32_t value)
{
	if (exit == EXIT_CODE)
		(void)snprintf(text, size, "ended by itself with exit code %d", value);
	else if (exit == EXIT_SIGNAL)
		(void)snprintf(text, size, "was ended by signal %d (%s)", value, strsignal(value));
	else
		(void)snprintf(text, size, "%s",
		    exit == EXIT_OOM ? "was killed by the kernel: out of memory"
				     : "could not be started");
	return text;
}
