#!/usr/bin/python3
"""Runs a command where no user namespace is to be had, as in many containers: in one of our own, whose limit on more of
them is 0.  By root: everybody in it is who they were."""
import ctypes
import os
import sys

CLONE_NEWUSER = 0x10000000

ready, go = os.pipe(), os.pipe()
me = os.getpid()
helper = os.fork()
if helper == 0:  # from outside: only there may all ids be mapped
    os.read(ready[0], 1)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{me}/{name}", "w", encoding="ascii") as f:
            f.write("0 0 4294967295")
    os.write(go[1], b"x")
    os._exit(0)
if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
    sys.exit("no user namespace to begin with")
os.write(ready[1], b"x")
os.read(go[0], 1)
os.waitpid(helper, 0)
with open("/proc/sys/user/max_user_namespaces", "w", encoding="ascii") as f:
    f.write("0")
os.execvp(sys.argv[1], sys.argv[1:])
