/*
 * agent_spawn.h: forking the agent: its user, limits, Landlock, filter, descriptors, and nothing
 * else of ours.  The parent only.  What the agent has from us, and nothing else (invariant I13;
 * tests/unit/agent_spawn_test.c compares it with what the kernel says):
 *
 *	user, groups      agent.run_as, agent.groups; an ordinary user's own
 *	capabilities      agent.capabilities, in all five sets; an ordinary user's agent has those of them
 *	                  that opampd has, and none in a user namespace
 *	no_new_privs      set
 *	seccomp           the parent's deny-list and, with a sandbox, the agent's (policy_agent.c)
 *	Landlock          with a sandbox (agent_landlock.c)
 *	limits            agent.limits, no core dump; all others as opampd was given them
 *	namespaces        the parent's; without a cgroup a PID namespace, in which it is number 2; an
 *	                  ordinary user's agent has that in any case, and the user namespace that it
 *	                  takes, and a mount namespace in which it can change only what is its own
 *	signals           none ignored, none blocked; SIGKILL when the parent ends
 *	descriptors       0 /dev/null, 1 and 2 pipes to link, 4 the sealed secret where there is one
 *	environment       agent.env, and TMPDIR where that does not name one
 *	arguments         the driver's and agent.args
 *	directory, umask  agent.working_directory, 027
 *	session           its own, no terminal
 *	cgroup            a new one for each start, where there are cgroups
 *
 * Priority, processors and the like are left as the administrator gave them to opampd.
 */
#ifndef PRIVSEP_AGENT_SPAWN_H
#define PRIVSEP_AGENT_SPAWN_H

#include <sys/types.h>

#include "cgroup.h"
#include "driver.h"
#include "spawn_stage.h"

#define AGENT_HIDDEN 4 /* our state, the settings, the private key */

struct agent_command { /* everything fixed by the settings, made ready before the fork */
	const struct settings *settings;
	int executable; /* the file that was checked */
	int unprivileged;
	uint32_t uid, gid;
	uint32_t groups[32];
	size_t group_count;
	uint64_t capabilities; /* agent.capabilities */
	char *
	    control_path; /* where we share a user: our control socket, out of its sight; or NULL */
	int work_dir;     /* its directory, writable */
	char *work_path;
	char *storage_path;
	char *hidden
	    [AGENT_HIDDEN]; /* where we share a user: paths of ours it must not read, or NULL */
	char *run_path, *candidate_path; /* its configuration, and one to be validated */
	char **env;                      /* NULL-terminated */
	unsigned link_port;
	char *title; /* of this process, in ps; the agent's init has one of its own */
	size_t title_size;
	uint64_t binary[5]; /* the executable's identity: device, inode, size, mtime, ctime */
};

struct agent_start {     /* filled by agent_spawn */
	pid_t pid;       /* our child: the agent, or init of its PID namespace (agent_init.h) */
	int pidfd;       /* it ends when all of them have ended; to kill it kills all */
	pid_t agent_pid; /* the agent */
	int agent;       /* its pidfd, where that is not our child; or -1 */
	int init;        /* says how the agent ended (agent_init_ended), or -1 */
	int out, err;    /* reading ends of its output */
	uint32_t stage;
	int error; /* errno when it failed */
	uint64_t started_ns;
	int go, report; /* for agent_release */
};

/*
 * Forks; the process waits for agent_release.  group: the cgroup's directory, or -1 (then a PID
 * namespace, where it can be had).  secret: memfd or -1.  0, or -1 with stage and error set.
 */
int agent_spawn(
    const struct agent_command *c, char **argv, int group, int secret, struct agent_start *s);

/*
 * Lets it execute, once procd has been told of it: from here on it can make processes that only
 * procd can end when the parent dies.  Waits for the exec, which takes no foreign byte; sets stage
 * and error.
 */
void agent_release(struct agent_start *s);

#endif
