/*
 * link_file.h: the file with the link's secret, as it becomes the last of the agent's configuration
 * files.  link makes it and reads it back; the parent, which hands it to the agent, looks whether it
 * is that and nothing else: a link that was taken over must not configure the agent.  Where link is
 * away or silent, the parent makes it: no process of ours but the parent is needed to start the agent.
 */
#ifndef PRIVSEP_LINK_FILE_H
#define PRIVSEP_LINK_FILE_H

#define LINK_FILE_DIGITS 64 /* lower-case hexadecimal digits */
#define LINK_FILE_HEADER "X-Opampd-Link"

/* Quoted, so that digits stay text. */
#define LINK_FILE_BEFORE                                                                           \
	"extensions:\n"                                                                            \
	"  opamp:\n"                                                                               \
	"    server:\n"                                                                            \
	"      ws:\n"                                                                              \
	"        headers:\n"                                                                       \
	"          " LINK_FILE_HEADER ": \""
#define LINK_FILE_AFTER "\"\n"
#define LINK_FILE_LEN   (sizeof(LINK_FILE_BEFORE) + sizeof(LINK_FILE_AFTER) - 2 + LINK_FILE_DIGITS)

/* 0: a sealed memory file of exactly this form, whatever the digits are; -1: anything else. */
int link_file_check(int fd);

/* Such a file with fresh digits, or -1 with errno. */
int link_file_make(void);

#endif
