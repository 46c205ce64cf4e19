/*
 * policy_text.h: a declared policy in words, for opampctl and for the man page.  Not part of any daemon.
 */
#ifndef PRIVSEP_POLICY_TEXT_H
#define PRIVSEP_POLICY_TEXT_H

#include "sandbox.h"

/* "argument 1 = 0x3, argument 2 & 0x4 = 0"; "" when every use is meant. */
const char *policy_condition(char *buf, size_t size, const struct syscall_rule *rule);

/* "allowed", "ends the process", "EPERM" ... */
const char *policy_action(const struct policy *p, const struct syscall_rule *rule);

/* "CAP_KILL CAP_CHOWN", "none", "all"; numbers where there is no name. */
const char *policy_capabilities(char *buf, size_t size, uint64_t set);

/* "mnt net ipc uts"; "none". */
const char *policy_namespaces(char *buf, size_t size, uint32_t set);

/* Landlock file system rights: "read list execute ..." */
const char *policy_rights(char *buf, size_t size, uint64_t rights);

/* When the call comes, with what else the row says of itself. */
const char *policy_why(char *buf, size_t size, const struct syscall_rule *rule);

/* A set of 1u << enum proc: "netd, confd". */
const char *policy_processes(char *buf, size_t size, uint32_t set);

#endif
