/*
 * parent_give.c: the files that netd is handed at its start: certificates, the key, what the host is.
 * The parent opens them and reads none.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "parent.h"

static void
give_file(struct slot *s, enum setting key, uint32_t kind)
{
	struct msg_file m = {kind, 0};
	struct error err;
	int fd = parent_open_named(s->parent, key, &err);

	if (fd >= 0)
		slot_send(s, MSG_CHILD_FILE, &m, fd);
	else if (settings_has(&s->parent->settings, key))
		log_error("%s", err.text);
}

static int
give_host_file(struct slot *s, const char *path, uint32_t kind)
{
	struct msg_file m = {kind, 0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		return -1;
	slot_send(s, MSG_CHILD_FILE, &m, fd);
	return 0;
}

static void
give_system_authorities(struct slot *s)
{
	static const char *const bundles[] = {
	    "/etc/ssl/certs/ca-certificates.crt", /* Debian, Arch */
	    "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL */
	    "/etc/ssl/ca-bundle.pem",             /* SUSE */
	    "/etc/ssl/cert.pem"};                 /* Alpine */
	size_t i;

	for (i = 0; i < sizeof(bundles) / sizeof(bundles[0]); i++)
		if (give_host_file(s, bundles[i], FILE_SYSTEM_CA) == 0)
			return;
	log_warn(
	    "no bundle of certificate authorities on this host (package ca-certificates): name the "
	    "server's in server.tls.ca_file");
}

void
parent_give_netd(struct slot *s)
{
	struct parent *p = s->parent;
	char *endpoint = settings_string(&p->settings, SET_ENDPOINT);

	give_file(s, SET_CA_FILE, FILE_CA);
	give_file(s, SET_CERT_FILE, FILE_CERT);
	give_file(s, SET_KEY_FILE, FILE_KEY);
	/* reading the host's whole bundle costs time and memory: only where it is needed */
	if (endpoint != NULL && strncmp(endpoint, "wss", 3) == 0 &&
	    (settings_bool(&p->settings, SET_SYSTEM_CA) ||
		!settings_has(&p->settings, SET_CA_FILE)))
		give_system_authorities(s);
	free(endpoint);
	(void)give_host_file(s, "/etc/os-release", FILE_OS_RELEASE);
	(void)give_host_file(s, "/etc/machine-id", FILE_MACHINE_ID);
}
