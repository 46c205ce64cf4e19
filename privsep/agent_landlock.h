/*
 * agent_landlock.h: the agent's Landlock rules.  The parent's fork of the agent only.
 */
#ifndef PRIVSEP_AGENT_LANDLOCK_H
#define PRIVSEP_AGENT_LANDLOCK_H

struct agent_command;

/*
 * standard: reads what its user may, writes its own directory, agent.strict.write and a few devices;
 * where it shares our user, our state is left out.  strict: the listed paths and ports only.
 * 0, or -1 with errno.  A kernel without Landlock: 0, which the parent has told at its start.
 */
int agent_landlock(const struct agent_command *c, int strict);

#endif
