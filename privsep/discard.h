/*
 * discard.h: closing a descriptor that a child sent and that nobody asked for.  The parent only.
 */
#ifndef PRIVSEP_DISCARD_H
#define PRIVSEP_DISCARD_H

/*
 * close(2) may wait for as long as somebody else likes: for a file system that a local user serves (it is
 * told of every close), for a socket whose owner had it linger, for a terminal's output.  This does not, nor does a
 * process that is forked afterwards: when this returns, the number is free.
 */
void discard_fd(int fd);

/* How many of them are being closed yet: an exec would wait for them, and nobody could end the wait. */
unsigned discard_pending(void);

#endif
