"""Descriptors of every kind, and which kinds of MESSAGE_TABLE they pass for: used by taken.py."""
import ctypes
import fcntl
import os
import socket
import struct
import time

import privsep

MEMFD_MAX = 64 << 20

# ---- descriptors of every kind

def _sealed(size, seals=privsep.ALL_SEALS, data=b""):
    fd = os.memfd_create("taken", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    if data:
        os.write(fd, data)
    else:
        os.ftruncate(fd, size)
    if seals:
        fcntl.fcntl(fd, privsep.F_ADD_SEALS, seals)
    return fd


def _tcp(state):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    if state == "listening":
        return server.detach()
    client = socket.create_connection(server.getsockname())
    if state == "lingering":  # what it has to send is never read: closing it takes as long as it likes
        LEFT_OPEN.append(server.accept()[0])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.setblocking(False)
        stuck = 0
        while stuck < 5:  # until the other side takes no more
            try:
                client.send(bytes(65536))
                stuck = 0
            except BlockingIOError:
                stuck += 1
                time.sleep(0.005)
        client.setblocking(True)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
    server.close()
    return client.detach()


LEFT_OPEN = []  # the other ends of what must not be closed meanwhile


def _pair(kind):
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    theirs.close()
    return ours.detach()


def _fifo():
    path = f"/tmp/taken-fifo-{os.getpid()}"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    os.unlink(path)
    return fd


def _pipe():
    r, w = os.pipe()
    os.close(w)
    return r


def _file():
    fd = os.open("/tmp", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC)
    os.write(fd, b"a regular file\n")
    return fd


def from_libc(name, *arguments):
    fd = getattr(LIBC, name)(*arguments)
    if fd == -1:
        raise OSError(ctypes.get_errno(), name)
    return fd


LIBC = ctypes.CDLL(None, use_errno=True)
KINDS = {
    # name: (makes one, the kinds of the table that it passes for)
    "memfd": (lambda: _sealed(0, data=b"12345678"), {"FD_MEMFD", "FD_FILE", "FD_PIDFD"}),
    "memfd, empty": (lambda: _sealed(0), {"FD_MEMFD", "FD_FILE", "FD_PIDFD"}),
    "memfd, as large as allowed": (lambda: _sealed(MEMFD_MAX), {"FD_MEMFD", "FD_FILE", "FD_PIDFD"}),
    "memfd, one byte too large": (lambda: _sealed(MEMFD_MAX + 1), {"FD_FILE", "FD_PIDFD"}),
    "memfd of a terabyte": (lambda: _sealed(1 << 40), {"FD_FILE", "FD_PIDFD"}),
    "memfd, unsealed": (lambda: _sealed(8, 0), {"FD_FILE", "FD_PIDFD"}),
    "memfd, sealed but F_SEAL_WRITE": (lambda: _sealed(8, 1 | 2 | 4), {"FD_FILE", "FD_PIDFD"}),
    "memfd, sealed but F_SEAL_SEAL": (lambda: _sealed(8, 2 | 4 | 8), {"FD_FILE", "FD_PIDFD"}),
    "memfd, sealed but F_SEAL_SHRINK": (lambda: _sealed(8, 1 | 4 | 8), {"FD_FILE", "FD_PIDFD"}),
    "memfd, sealed but F_SEAL_GROW": (lambda: _sealed(8, 1 | 2 | 8), {"FD_FILE", "FD_PIDFD"}),
    "pipe": (_pipe, {"FD_PIPE"}),
    "FIFO": (_fifo, {"FD_PIPE"}),
    "directory": (lambda: os.open("/", os.O_DIRECTORY | os.O_CLOEXEC), {"FD_DIR"}),
    "regular file": (_file, {"FD_FILE", "FD_PIDFD"}),
    "O_PATH": (lambda: os.open("/etc/shadow", os.O_PATH | os.O_CLOEXEC), {"FD_FILE", "FD_PIDFD"}),
    "O_PATH of a directory": (lambda: os.open("/", os.O_PATH | os.O_CLOEXEC), {"FD_DIR"}),
    "TCP socket": (lambda: socket.socket().detach(), {"FD_STREAM"}),
    "TCP connection": (lambda: _tcp("connected"), {"FD_STREAM"}),
    "TCP connection that lingers": (lambda: _tcp("lingering"), {"FD_STREAM"}),
    "TCP listener": (lambda: _tcp("listening"), {"FD_LISTENER"}),
    "UDP socket": (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach(), set()),
    "raw socket": (lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).detach(), set()),
    "unix stream": (lambda: _pair(socket.SOCK_STREAM), set()),
    "unix datagram": (lambda: _pair(socket.SOCK_DGRAM), set()),
    "unix seqpacket": (lambda: _pair(socket.SOCK_SEQPACKET), {"FD_CHANNEL"}),
    "netlink": (lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).detach(), {"FD_NETLINK"}),
    "/dev/null": (lambda: os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC), set()),
    "/dev/zero": (lambda: os.open("/dev/zero", os.O_RDWR | os.O_CLOEXEC), set()),
    "/dev/full": (lambda: os.open("/dev/full", os.O_RDWR | os.O_CLOEXEC), set()),
    "a terminal": (lambda: os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC), set()),
    "pidfd": (lambda: os.pidfd_open(os.getpid()), {"FD_PIDFD"}),
    "epoll": (lambda: from_libc("epoll_create1", 0), {"FD_PIDFD"}),
    "eventfd": (lambda: from_libc("eventfd", 0, 0), {"FD_PIDFD"}),
    "inotify": (lambda: from_libc("inotify_init1", 0), {"FD_PIDFD"}),
    "/proc/self/mem": (lambda: os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC), {"FD_FILE", "FD_PIDFD"}),
}
RIGHT = {"FD_MEMFD": "memfd", "FD_STREAM": "TCP socket", "FD_FILE": "regular file", "FD_LISTENER": "TCP listener",
         "FD_CHANNEL": "unix seqpacket", "FD_NETLINK": "netlink", "FD_PIPE": "pipe", "FD_DIR": "directory", "FD_PIDFD": "pidfd"}
