/*
 * policy_text.c: policies in words (see policy_text.h).
 */
#include "policy_text.h"

#include <cap-ng.h>
#include <ctype.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>

#include "landlock.h"

static void
append(char *buf, size_t size, const char *separator, const char *text)
{
	size_t len = strlen(buf);

	if (len < size)
		(void)snprintf(buf + len, size - len, "%s%s", len > 0 ? separator : "", text);
}

const char *
policy_condition(char *buf, size_t size, const struct syscall_rule *rule)
{
	char one[96];
	size_t i;

	buf[0] = '\0';
	for (i = 0; i < POLICY_ARGS; i++) {
		const struct arg_rule *a = &rule->args[i];

		if (a->test == ARG_EQ)
			(void)snprintf(one, sizeof(one), "argument %u = 0x%llx", a->index,
			    (unsigned long long)a->value);
		else if (a->test == ARG_MASK0)
			(void)snprintf(one, sizeof(one), "argument %u & 0x%llx = 0", a->index,
			    (unsigned long long)a->value);
		else if (a->test == ARG_MASK_EQ)
			(void)snprintf(one, sizeof(one), "argument %u & 0x%llx = 0x%llx", a->index,
			    (unsigned long long)a->mask, (unsigned long long)a->value);
		else
			continue;
		append(buf, size, ", ", one);
	}
	return buf;
}

const char *
policy_action(const struct policy *p, const struct syscall_rule *rule)
{
	const char *name;

	if (rule->action > 0) {
		name = strerrorname_np(rule->action);
		return name == NULL ? "refused" : name;
	}
	return p->deny_list ? "ends the process" : "allowed";
}

const char *
policy_capabilities(char *buf, size_t size, uint64_t set)
{
	unsigned cap;
	char one[64];
	size_t i;

	buf[0] = '\0';
	for (cap = 0; cap < 64; cap++) {
		const char *name = capng_capability_to_name(cap);

		if ((set & 1ull << cap) == 0)
			continue;
		if (name == NULL)
			(void)snprintf(one, sizeof(one), "%u", cap);
		else
			(void)snprintf(one, sizeof(one), "CAP_%s", name);
		for (i = 0; one[i] != '\0'; i++)
			one[i] = (char)toupper((unsigned char)one[i]);
		append(buf, size, " ", one);
	}
	return buf[0] == '\0' ? "none" : buf;
}

const char *
policy_namespaces(char *buf, size_t size, uint32_t set)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {{SANDBOX_NS_MOUNT, "mnt"}, {SANDBOX_NS_NET, "net"}, {SANDBOX_NS_PID, "pid"},
	    {SANDBOX_NS_IPC, "ipc"}, {SANDBOX_NS_UTS, "uts"}, {SANDBOX_NS_USER, "user"}};
	size_t i;

	buf[0] = '\0';
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if ((set & names[i].bit) != 0)
			append(buf, size, " ", names[i].name);
	return buf[0] == '\0' ? "none" : buf;
}

const char *
policy_rights(char *buf, size_t size, uint64_t rights)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} names[] = {{LL_FS_READ_FILE, "read files"}, {LL_FS_READ_DIR, "list directories"},
	    {LL_FS_EXECUTE, "execute"}, {LL_FS_WRITE_FILE, "write files"},
	    {LL_FS_MAKE_REG, "make files"}, {LL_FS_MAKE_DIR, "make directories"},
	    {LL_FS_REMOVE_FILE, "remove files"}, {LL_FS_REMOVE_DIR, "remove directories"},
	    {LL_FS_MAKE_SYM, "make symbolic links"}, {LL_FS_MAKE_SOCK, "make sockets"},
	    {LL_FS_MAKE_FIFO, "make FIFOs"}, {LL_FS_MAKE_CHAR | LL_FS_MAKE_BLOCK, "make devices"},
	    {LL_FS_REFER, "link and rename between directories"}, {LL_FS_TRUNCATE, "truncate"},
	    {LL_FS_IOCTL_DEV, "control devices"}};
	size_t i;

	buf[0] = '\0';
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if ((rights & names[i].bit) != 0)
			append(buf, size, ", ", names[i].name);
	return buf[0] == '\0' ? "none" : buf;
}

const char *
policy_why(char *buf, size_t size, const struct syscall_rule *rule)
{
	buf[0] = '\0';
	append(buf, size, "", rule->why);
	if (rule->unseen != NULL)
		append(buf, size, "; only ", rule->unseen);
	if (rule->unchecked != NULL)
		append(buf, size, "; no more is checked: ", rule->unchecked);
	return buf;
}

const char *
policy_processes(char *buf, size_t size, uint32_t set)
{
	uint32_t i;

	buf[0] = '\0';
	for (i = PROC_PARENT; i < PROC_COUNT; i++)
		if ((set & 1u << i) != 0)
			append(buf, size, ", ", proc_name(i));
	return buf;
}
