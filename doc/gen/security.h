/*
 * security.h: doc/security.md's parts that are made from tables.  At build time only.
 */
#ifndef DOC_GEN_SECURITY_H
#define DOC_GEN_SECURITY_H

/* All that one process may do, as Markdown; -1: there is none of that name. */
int security_process(const char *name);

/* The frames between hub-front and hub-store. */
void security_frames(void);

#endif
