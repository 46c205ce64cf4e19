"""Runs a test in a process with a network of its own (and, if asked, host directories of its own):
a Collector's default ports and opampd's default places are the same for every test."""
import ctypes
import os
import socket
import subprocess
import sys
import traceback

from tap import Skip

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
LIBC = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def enter(directories):
    check(LIBC.unshare(CLONE_NEWNET | (CLONE_NEWNS if directories else 0)), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    if directories:
        check(LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "making mounts private")
    for path in directories:
        check(LIBC.mount(b"opampd-test", path.encode(), b"tmpfs", 0, b"mode=0755"), f"mounting {path}")


def ports_free(ports):
    for port in ports:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                raise Skip(f"port {port} is in use on this host, and only root has networks of its own") from None


def isolated(function, directories=(), ports=(8888, 13133)):
    """function() in a child process.  An ordinary user runs it on the host, if the ports are free."""
    def run():
        if os.geteuid() != 0:
            if directories:
                raise Skip("only root can have directories of its own there")
            ports_free(ports)
            function()
            return
        sys.stdout.flush()
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(read)
                enter(directories)
                function()
                status = 0
            except Skip as why:
                os.write(write, str(why).encode())
                status = 2
            except BaseException:  # everything is the parent's to tell
                os.write(write, traceback.format_exc().encode()[:60000])
            finally:
                sys.stdout.flush()
                os._exit(status)
        os.close(write)
        with os.fdopen(read, encoding="utf-8", errors="replace") as f:
            text = f.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 2:
            raise Skip(text)
        if status != 0:
            raise AssertionError(text or f"the test's process ended with {status}")
    return run
