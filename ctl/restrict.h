/*
 * restrict.h: opampctl, often run by root, gives up what it does not need before it reads a byte of others.
 */
#ifndef CTL_RESTRICT_H
#define CTL_RESTRICT_H

/*
 * No program can be executed, no process made, signalled or traced; and with files = 1 nothing can be written or made
 * below any directory (Landlock; what is open stays so).  What the kernel does not have is left out.
 */
void restrict_self(int files);

#endif
