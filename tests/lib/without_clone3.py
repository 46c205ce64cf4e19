#!/usr/bin/python3
"""Runs a command where clone3 is not there, as in a container with the usual filter: its flags can be seen by none."""
import ctypes
import errno
import os
import sys

ALLOW, ERRNO = 0x7fff0000, 0x00050000

lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
lib.seccomp_init.restype = ctypes.c_void_p
lib.seccomp_init.argtypes = [ctypes.c_uint32]
lib.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]
lib.seccomp_load.argtypes = [ctypes.c_void_p]
made = lib.seccomp_init(ALLOW)
if lib.seccomp_rule_add(made, ERRNO | errno.ENOSYS, lib.seccomp_syscall_resolve_name(b"clone3"), 0) != 0 or lib.seccomp_load(made) != 0:
    sys.exit("no filter to be had")
os.execvp(sys.argv[1], sys.argv[1:])
