/*
 * faults.h: what the parts of faults.c share.  Tests only.
 */
#ifndef TESTS_TOOLS_FAULTS_H
#define TESTS_TOOLS_FAULTS_H

#include <sys/types.h>
#include <sys/user.h>

/* Ends the program with errno's text. */
void faults_fail(const char *what);

/* 1: its descriptor is a file (not a memory file: those have no name anywhere). */
int faults_is_regular(pid_t pid, int fd);

/* faults_record.c: at the entry of each call, and at its exit */
void faults_record_to(const char *path);
void faults_record_entry(pid_t pid, const struct user_regs_struct *r);
void faults_record_exit(pid_t pid, long result);

#endif
