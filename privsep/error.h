/*
 * error.h: how a function tells its caller, in words for people, why it failed.
 * Every process.  A message is made where the fault is known and printed once,
 * by whoever handles it.
 */
#ifndef PRIVSEP_ERROR_H
#define PRIVSEP_ERROR_H

#include <stddef.h>

#define ERROR_TEXT 2048 /* bytes with the terminating NUL; longer text is cut at a character */

struct error {
	char text[ERROR_TEXT];
};

/* Fills err (which may be NULL) and returns -1, so that `return error_set(...)` reads well. */
int error_set(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As error_set, with ": " and the words of errno (as it was on entry) at the end. */
int error_errno(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts what was being done in front of what went wrong: "fmt: old text".  Returns -1. */
int error_prefix(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#if defined(__clang_analyzer__) &&                                                                 \
    !defined(ERROR_ITSELF) /* it sees one file at a time: what they return is told here */
#define error_set(...)    (error_set(__VA_ARGS__), -1)
#define error_errno(...)  (error_errno(__VA_ARGS__), -1)
#define error_prefix(...) (error_prefix(__VA_ARGS__), -1)
#endif

#endif
