/*
 * agent_namespaces.h: the user and mount namespaces of an agent that shares its user with us.  The
 * parent's child, before it is the agent.
 */
#ifndef PRIVSEP_AGENT_NAMESPACES_H
#define PRIVSEP_AGENT_NAMESPACES_H

struct agent_command;

/*
 * In a new user namespace: the agent is who it was.  In mounts of its own the control socket is not
 * there, and with a sandbox everything is read-only but its own directory and agent.strict.write.
 * What cannot be had is told in the log.  Sets c->work_dir to the same directory in the new mounts.
 */
void agent_namespaces(struct agent_command *c);

#endif
