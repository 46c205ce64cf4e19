/*
 * domain.c: tries what the SELinux domain or AppArmor profile that it runs in must not allow, and tells what came of
 * each (make check-vm, make check-vm-apparmor).
 * It has no sandbox of its own: as root, without seccomp, Landlock or namespaces, there is nothing but the policy.
 *
 *	domain [PROGRAM...]
 *
 * It prints "probe DOMAIN ACT: RESULT" for each act on standard error, RESULT being "done" or an errno's name, then
 * executes each PROGRAM (a copy of it, labelled as another process of opampd's is) and waits for it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <net/ethernet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SELINUX  (access("/sys/fs/selinux/enforce", F_OK) == 0 || errno != ENOENT)
#define APPARMOR "/sys/kernel/security/apparmor"

static char domain[128] = "?";

static void
say(const char *act, int failed)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "probe %s %s: %s\n", domain, act,
	    failed ? strerrorname_np(errno) : "done");

	(void)!write(2, line, (size_t)n);
}

static int
try_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);

	if (fd == -1)
		return -1;
	close(fd);
	if (flags & O_CREAT)
		(void)unlink(path);
	return 0;
}

static int
try_socket(int family, int type, int protocol)
{
	int fd = socket(family, type | SOCK_CLOEXEC, protocol);

	if (fd != -1)
		close(fd);
	return fd;
}

static int
try_connect(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), result;

	if (fd == -1)
		return -1;
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	result = connect(fd, (struct sockaddr *)&a, sizeof(a));
	if (result == -1 && errno == EPROTOTYPE) /* of another type than ours: it was reached */
		result = 0;
	close(fd);
	return result;
}

static int
try_bind(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), result;

	if (fd == -1)
		return -1;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	result = bind(fd, (struct sockaddr *)&a, sizeof(a));
	close(fd);
	return result;
}

/* vfork: the child's errno is ours, for a domain may have no pipe of its own. */
static int
try_exec(const char *path)
{
	char *const argv[] = {(char *)path, NULL};
	volatile int failed = 0;
	pid_t pid = vfork();

	if (pid == -1)
		return -1;
	if (pid == 0) {
		(void)execv(path, argv);
		failed = errno;
		_exit(0);
	}
	(void)waitpid(pid, NULL, 0);
	errno = failed;
	return failed == 0 ? 0 : -1;
}

static int
try_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), saved;
	ssize_t n;

	if (fd == -1)
		return -1;
	n = write(fd, text, strlen(text));
	saved = errno;
	close(fd);
	errno = saved;
	return n == -1 ? -1 : 0;
}

static int
try_mapping(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? -1 : mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}

static int
try_attach(pid_t pid)
{
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == -1)
		return -1;
	(void)ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
	(void)waitpid(pid, NULL, __WALL);
	(void)ptrace(PTRACE_DETACH, pid, NULL, NULL);
	return 0;
}

static void
files(void)
{
	static const struct {
		const char *act, *path;
		int flags;
	} tries[] = {
	    {"read shadow", "/etc/shadow", O_RDONLY},
	    {"read settings", "/etc/opampd/opampd.yaml", O_RDONLY},
	    {"read the hub's options", "/etc/opamphub/opamphub.conf", O_RDONLY},
	    {"read state", "/var/lib/opampd/identity", O_RDONLY},
	    {"list state", "/var/lib/opampd", O_RDONLY | O_DIRECTORY},
	    {"read the store", "/var/lib/opamphub/hub.db", O_RDONLY},
	    {"list the agent's directory", "/var/lib/opampd-agent", O_RDONLY | O_DIRECTORY},
	    {"read the agent's log", "/var/log/opampd/agent.log", O_RDONLY},
	    {"append to the agent's log", "/var/log/opampd/agent.log", O_WRONLY | O_APPEND},
	    {"read another's log", "/var/log/dpkg.log", O_RDONLY},
	    {"read the kernel's log", "/dev/kmsg", O_RDONLY},
	    {"read the disk", "/dev/vda", O_RDONLY},
	    {"read init's environment", "/proc/1/environ", O_RDONLY},
	    {"write settings", "/etc/opampd/opampd.yaml", O_WRONLY},
	    {"write state", "/var/lib/opampd/identity", O_WRONLY},
	    {"write the store", "/var/lib/opamphub/hub.db", O_WRONLY},
	    {"write a unit", "/lib/systemd/system/opampd.service", O_WRONLY},
	    {"write a program of ours", "/usr/bin/opampctl", O_WRONLY},
	    {"write the agent", "/usr/bin/fakeagent", O_WRONLY},
	    {"make a program", "/usr/bin/vm-probe", O_WRONLY | O_CREAT | O_EXCL},
	    {"make a unit", "/etc/systemd/system/vm-probe.service", O_WRONLY | O_CREAT | O_EXCL},
	    {"make a job", "/etc/cron.d/vm-probe", O_WRONLY | O_CREAT | O_EXCL},
	    {"make a file of state", "/var/lib/opampd/vm-probe", O_WRONLY | O_CREAT | O_EXCL},
	    {"make a file of the agent's", "/var/lib/opampd-agent/vm-probe",
		O_WRONLY | O_CREAT | O_EXCL},
	    {"make a temporary file", "/tmp/vm-probe", O_WRONLY | O_CREAT | O_EXCL},
	    {"set a kernel's parameter", "/proc/sys/kernel/core_pattern", O_WRONLY},
	};
	size_t i;

	for (i = 0; i < sizeof(tries) / sizeof(tries[0]); i++)
		say(tries[i].act, try_open(tries[i].path, tries[i].flags) == -1);
	say("switch the policy off",
	    try_open(SELINUX ? "/sys/fs/selinux/enforce" : APPARMOR "/.remove", O_WRONLY) == -1);
	say("load a policy",
	    try_open(SELINUX ? "/sys/fs/selinux/load" : APPARMOR "/.replace", O_WRONLY) == -1);
}

static void
sockets(void)
{
	say("a TCP socket", try_socket(AF_INET, SOCK_STREAM, 0) == -1);
	say("a UDP socket", try_socket(AF_INET6, SOCK_DGRAM, 0) == -1);
	say("a raw socket", try_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) == -1);
	say("a packet socket", try_socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)) == -1);
	say("an audit socket", try_socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT) == -1);
	say("a socket for events",
	    try_socket(AF_NETLINK, SOCK_DGRAM, NETLINK_KOBJECT_UEVENT) == -1);
	say("listen on a port", try_bind(61234) == -1);
	say("listen on port 80", try_bind(80) == -1);
	say("the control socket", try_connect("/run/opampd/control.sock") == -1);
	say("the service manager", try_connect("/run/systemd/private") == -1);
	say("the message bus", try_connect("/run/dbus/system_bus_socket") == -1);
}

static void
rest(void)
{
	say("execute a program", try_exec("/usr/bin/true") == -1);
	say("execute a shell", try_exec("/usr/bin/dash") == -1);
	say("execute opampctl", try_exec("/usr/bin/opampctl") == -1);
	say("execute written memory", try_mapping() == -1);
	say("leave the domain",
	    try_write("/proc/self/attr/current", "system_u:system_r:initrc_t:s0") == -1);
	say("trace init", try_attach(1) == -1);
	say("trace the parent", try_attach(getppid()) == -1);
	say("signal init", kill(1, SIGURG) == -1);
	say("mount over /etc", mount("none", "/etc", "tmpfs", 0, NULL) == -1);
	say("load a module", syscall(SYS_init_module, "", 0, "") == -1 && errno != ENOEXEC);
	say("forbid a reboot by keys", reboot(RB_DISABLE_CAD) == -1);
	say("the kernel's log by syslog", klogctl(3, domain + 64, 1) == -1);
	say("a device", mknod("/dev/vm-probe", S_IFCHR | 0600, 0x103) == -1);
}

/* A copy in another domain.  The agent's has no access to our standard error, but to a pipe of ours. */
static void
follow(char *program)
{
	char *const argv[] = {program, NULL};
	int ends[2] = {-1, -1};
	const char *name = strrchr(program, '/');
	char text[4096];
	ssize_t n;
	pid_t pid;

	if (name != NULL && strcmp(name, "/agent") == 0 && pipe2(ends, O_CLOEXEC) == -1)
		return;
	pid = fork();
	if (pid == 0) {
		if (ends[1] != -1)
			(void)dup2(ends[1], 2);
		(void)execv(program, argv);
		say(program, 1);
		_exit(1);
	}
	if (ends[1] != -1)
		close(ends[1]);
	while (ends[0] != -1 && (n = read(ends[0], text, sizeof(text))) > 0)
		(void)!write(2, text, (size_t)n);
	if (ends[0] != -1)
		close(ends[0]);
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
}

int
main(int argc, char **argv)
{
	int fd = open("/proc/self/attr/current", O_RDONLY | O_CLOEXEC), i;
	ssize_t n = fd == -1 ? -1 : read(fd, domain, 60);
	char *at;

	if (n > 0)
		domain[n] = '\0';
	/* user:role:type:level, or PROFILE (MODE) */
	for (i = 0, at = domain; i < 2 && strchr(at, ':') != NULL; i++)
		at = strchr(at, ':') + 1;
	(void)memmove(domain, at, strlen(at) + 1);
	domain[strcspn(domain, ": \n")] = '\0';
	files();
	sockets();
	rest();
	for (i = 1; i < argc; i++)
		follow(argv[i]);
	return 0;
}
