"""Acts on files, programs and memory (see acts.py)."""
import errno
import struct

from acts import (AT_EMPTY_PATH, AT_FDCWD, BUFFER, DENIED, EXEC, HOW_NEW, HOW_READ, MAY, NOWHERE, NO_WRITE, O_CLOEXEC,
                  O_DIRECTORY, RDWR, READ_EXEC, WRITE_NEW, Act, data, own)

ETC = "connect reads /etc"
TEXT = {"connect": "libraries of name services"}
NOT_THERE = (errno.ENOENT,)  # another root
READS = "the agent reads what its user may"


def path(name):
    return lambda w: f"s:{w.path(name)}"


def state(w):
    return w.state


def reading():
    """Each place, opened in each way that there is."""
    places = {  # name: (what connect meets, the agent, the strict agent)
        "passwd": (MAY, MAY, DENIED), "shadow": (NOWHERE, DENIED, DENIED), "state": (NOWHERE, DENIED, DENIED),
        "settings": (NOWHERE, MAY, DENIED), "own memory": (NOWHERE, MAY, (MAY,) + DENIED), "parent's environment": (NOWHERE, DENIED, DENIED),
        "neighbour's memory": (NOWHERE, DENIED, DENIED), "memory": (NOWHERE, NO_WRITE, NO_WRITE), "kernel log": (NOWHERE, NO_WRITE, NO_WRITE),
        "a directory above": (NOWHERE, MAY, DENIED), "kernel's settings": (NOWHERE, MAY, DENIED),
    }
    for name, (connect, agent, strict) in places.items():
        yes = {"connect": ETC} if connect == MAY else {}
        hidden = {"agent": DENIED, "strict": DENIED} if name == "settings" else {}
        yield Act(f"open {name}", ("openat", AT_FDCWD, path(name), O_CLOEXEC), beyond=NOWHERE, may=yes, agent=agent, strict=strict,
                  behind=NOWHERE, bare=yes, user=hidden)
        yield Act(f"openat2 {name}", ("openat2", AT_FDCWD, path(name), HOW_READ, 24), beyond=NOWHERE, agent=agent, strict=strict,
                  behind=NOWHERE, bare=yes, user=hidden)
    yield Act("the same by open", ("open", path("passwd"), 0), agent=MAY, strict=DENIED, behind=NOWHERE, bare={"connect": ETC})
    yield Act("list /", ("open", "s:/", O_DIRECTORY), ("getdents64", "r:", BUFFER, 256), agent=MAY, strict=DENIED, behind=NOWHERE,
              bare={"hub-store": "the store's directory"})
    yield Act("list a directory", ("getdents64", own, BUFFER, 256), beyond=(errno.ENOTDIR, errno.EBADF), agent=(errno.ENOTDIR, errno.EBADF))
    yield Act("list by getdents", ("getdents", own, BUFFER, 256), agent=(errno.ENOTDIR, errno.EBADF))
    yield Act("out of its directory", ("openat2", state, "s:../control.sock", HOW_READ, 24), beyond=NOWHERE, none=("agent", "strict"), alone={"confd"},
              behind=NOWHERE)
    yield Act("out of it, by a longer way", ("openat2", state, "s:agent/../../log/agent.log", HOW_READ, 24), beyond=NOWHERE, alone={"confd"}, behind=NOWHERE)
    yield Act("its own directory's file", ("openat2", state, "s:identity", HOW_READ, 24), alone={"confd"}, may={"confd": "its state"})
    yield Act("list its own directory", ("openat2", state, "s:.", data(struct.pack("<QQQ", O_DIRECTORY, 0, 0)), 24), ("getdents64", "r:", BUFFER, 256),
              alone={"confd"}, may={"confd": "listing generations"})


def looking():
    root = {"behind": None}
    yield Act("stat", ("stat", path("passwd"), BUFFER), agent=MAY, **root)
    yield Act("newfstatat", ("newfstatat", AT_FDCWD, path("passwd"), BUFFER, 0), beyond=NOT_THERE, may={"connect": "has resolv.conf changed"}, agent=MAY)
    yield Act("statx", ("statx", AT_FDCWD, path("passwd"), 0, 0x7ff, BUFFER), agent=MAY)
    yield Act("lstat", ("lstat", path("passwd"), BUFFER), agent=MAY)
    yield Act("stat of our state", ("newfstatat", AT_FDCWD, path("state"), BUFFER, 0), beyond=NOT_THERE, agent=MAY, behind=NOWHERE,
              may={"connect": "names and sizes are no secret: Landlock does not look at stat"})
    yield Act("access", ("access", path("passwd"), 0), beyond=NOT_THERE, agent=MAY)
    yield Act("faccessat2", ("faccessat2", AT_FDCWD, path("passwd"), 0, 0), agent=MAY)
    yield Act("readlink", ("readlink", "s:/proc/self/exe", BUFFER, 256), beyond=NOT_THERE, agent=MAY)
    yield Act("readlinkat", ("readlinkat", AT_FDCWD, "s:/proc/self/exe", BUFFER, 256), agent=MAY)
    yield Act("statfs", ("statfs", "s:/", BUFFER), agent=MAY)
    yield Act("getcwd", ("getcwd", BUFFER, 256), agent=MAY, may={"hub-store": "SQLite makes paths whole"})
    yield Act("chdir", ("chdir", "s:/"), agent=MAY)
    yield Act("inotify", ("inotify_init1", 0), ("inotify_add_watch", "r:", "s:/etc", 0xfff), agent=MAY)
    yield Act("fanotify", ("fanotify_init", 0, 0))
    yield Act("a file by handle", ("name_to_handle_at", AT_FDCWD, "s:/", BUFFER, BUFFER, 0))
    yield Act("open by handle", ("open_by_handle_at", AT_FDCWD, BUFFER, 0), behind=DENIED + (errno.EINVAL, errno.ESTALE))
    yield Act("getxattr", ("getxattr", path("passwd"), "s:user.x", BUFFER, 256), agent=(errno.ENODATA, errno.EOPNOTSUPP))


def writing():
    new, there = path("new"), path("passwd")
    beyond = {"agent": NO_WRITE, "behind": NO_WRITE}
    yield Act("open to write", ("openat", AT_FDCWD, new, WRITE_NEW, 0o644), **beyond)
    yield Act("creat", ("creat", new, 0o644), **beyond)
    yield Act("openat2 to write", ("openat2", AT_FDCWD, new, HOW_NEW, 24), beyond=NO_WRITE, **beyond)
    yield Act("open /etc/passwd to write", ("open", there, RDWR), **beyond)
    yield Act("its own memory by /proc", ("openat", AT_FDCWD, "s:/proc/self/mem", RDWR | O_CLOEXEC), beyond=NOWHERE, **beyond)
    yield Act("its own memory by /proc, to read", ("openat", AT_FDCWD, "s:/proc/self/mem", 0), beyond=NOWHERE, agent=MAY,
              strict=(MAY,) + DENIED, behind=NOWHERE)
    yield Act("write into our state", ("openat", AT_FDCWD, path("in state"), WRITE_NEW, 0o644), **beyond)
    yield Act("write where the agent's log is", ("openat", AT_FDCWD, path("in log"), WRITE_NEW, 0o644), **beyond)
    yield Act("write the agent's program", ("openat", AT_FDCWD, path("program"), 1), agent=DENIED + (errno.ETXTBSY,), behind=NO_WRITE + (errno.ETXTBSY,))
    yield Act("write our settings", ("openat", AT_FDCWD, path("settings"), 1), **beyond)
    yield Act("write another's device", ("openat", AT_FDCWD, "s:/dev/kmsg", 1), **beyond)
    yield Act("an unnamed file", ("openat", AT_FDCWD, "s:/tmp", 0o20200000 | 2, 0o600), agent=NO_WRITE, behind=NO_WRITE + (errno.EISDIR, errno.EOPNOTSUPP))
    yield Act("truncate", ("truncate", there, 0), **beyond)
    yield Act("ftruncate", ("ftruncate", own, 0), beyond=(errno.EINVAL, errno.EBADF), agent=(errno.EINVAL, errno.EBADF))
    yield Act("fallocate", ("fallocate", own, 0, 0, 4096), agent=(errno.ESPIPE, errno.EBADF, errno.ENODEV))
    yield Act("link", ("link", there, new), agent=NO_WRITE + (errno.EXDEV,), behind=NO_WRITE + (errno.EXDEV,))
    yield Act("linkat", ("linkat", AT_FDCWD, there, AT_FDCWD, new, 0), beyond=NO_WRITE + (errno.EXDEV,), agent=NO_WRITE + (errno.EXDEV,),
              behind=NO_WRITE + (errno.EXDEV,))
    yield Act("symlink", ("symlink", "s:/etc/passwd", new), **beyond)
    yield Act("symlinkat", ("symlinkat", "s:/etc/passwd", AT_FDCWD, new), beyond=NO_WRITE, **beyond)
    yield Act("rename", ("rename", there, new), agent=NO_WRITE + (errno.EXDEV,), behind=NO_WRITE + (errno.EXDEV,))
    yield Act("renameat", ("renameat", AT_FDCWD, there, AT_FDCWD, new), beyond=NO_WRITE + (errno.EXDEV,), agent=NO_WRITE + (errno.EXDEV,),
              behind=NO_WRITE + (errno.EXDEV,))
    yield Act("renameat2", ("renameat2", AT_FDCWD, there, AT_FDCWD, new, 0), beyond=NO_WRITE + (errno.EXDEV,), agent=NO_WRITE + (errno.EXDEV,),
              behind=NO_WRITE + (errno.EXDEV,))
    yield Act("unlink", ("unlink", path("control")), beyond=NO_WRITE, **beyond)
    yield Act("unlinkat", ("unlinkat", AT_FDCWD, path("control"), 0), beyond=NO_WRITE, **beyond)
    yield Act("mkdir", ("mkdir", new, 0o755), **beyond)
    yield Act("mkdirat", ("mkdirat", AT_FDCWD, new, 0o755), beyond=NO_WRITE, **beyond)
    yield Act("rmdir", ("rmdir", path("a directory above")), agent=NO_WRITE + (errno.ENOTEMPTY,), behind=NO_WRITE)
    for kind, mode in {"file": 0o100644, "pipe": 0o10644, "socket": 0o140644}.items():
        yield Act(f"mknod, a {kind}", ("mknod", new, mode, 0), **beyond)
        yield Act(f"mknodat, a {kind}", ("mknodat", AT_FDCWD, new, mode, 0), **beyond)
    for kind, mode in {"character device": 0o20666, "block device": 0o60666}.items():
        yield Act(f"mknod, a {kind}", ("mknod", new, mode, 0x103), parent=DENIED, **beyond)
    yield Act("bind a path", ("socket", 1, 1, 0), ("bind", "r:", lambda w: w.unix_new(), 110), agent=NO_WRITE, behind=NO_WRITE)


def beside():
    """confd, whose place is its state directory."""
    for name, call, more in (("write beside its directory", ("openat2", state, "s:../prison", HOW_NEW, 24), ()),
                             ("a directory beside its own", ("mkdirat", state, "s:../prison", 0o755), ()),
                             ("remove beside its directory", ("unlinkat", state, "s:../control.sock", 0), ()),
                             ("rename out of its directory", ("renameat", state, "s:identity", state, "s:../identity"), (errno.EXDEV,)),
                             ("link out of its directory", ("linkat", state, "s:identity", state, "s:../identity", 0), (errno.EXDEV, errno.EPERM)),
                             ("symlink beside its directory", ("symlinkat", "s:/etc/passwd", state, "s:../passwd"), ())):
        yield Act(name, call, beyond=NOWHERE + more, alone={"confd"}, behind=NOWHERE + more)
    yield Act("a file to root", ("fchown", state, 0, 0), beyond=(errno.EPERM, errno.EINVAL), alone={"confd"}, behind=(errno.EPERM, errno.EINVAL))
    for kind, mode in {"set-user-id": 0o4755, "for others to write": 0o666, "for others to read": 0o644}.items():
        yield Act(f"a file {kind}", ("openat2", state, "s:prison", HOW_NEW, 24), ("fchmod", "r:", mode), alone={"confd"})
    yield Act("a new file", ("openat2", state, "s:prison", HOW_NEW, 24), ("fchmod", "r:", 0o600), ("unlinkat", state, "s:prison", 0), alone={"confd"},
              may={"confd": "its state"})
    yield Act("a device in its directory", ("mknodat", state, "s:prison", 0o20666, 0x103), alone={"confd"}, behind=DENIED)
    yield Act("a program in its directory", ("openat2", state, "s:identity", HOW_READ, 24), ("execveat", "r:", "s:", 0, 0, AT_EMPTY_PATH), alone={"confd"},
              behind=DENIED)


def kept():
    """The hub's store, whose place is its directory; and what front has of it: nothing."""
    hub = {"hub-front", "hub-store"}
    keeps = {"hub-store": "it keeps the store"}
    new = 0o302  # O_RDWR | O_CREAT | O_EXCL
    there = {"beyond": NOWHERE, "behind": NOWHERE, "alone": hub}
    yield Act("the store, to read and write", ("openat", AT_FDCWD, path("kept"), RDWR | O_CLOEXEC, 0), may=keeps, **there)
    yield Act("a file in the store", ("openat", AT_FDCWD, path("kept, new"), new | O_CLOEXEC, 0o600), ("unlink", path("kept, new")), may=keeps, **there)
    yield Act("the store, by the path that others know", ("openat", AT_FDCWD, path("state"), RDWR | O_CLOEXEC, 0), **there)
    yield Act("a file that others may execute there", ("openat", AT_FDCWD, path("kept, new"), new | O_CLOEXEC, 0o4755), alone=hub, shared=True)
    yield Act("out of the store's directory", ("openat", AT_FDCWD, path("kept, above"), O_CLOEXEC, 0), **there)
    yield Act("out of it, to write", ("openat", AT_FDCWD, path("kept, above"), RDWR | O_CLOEXEC, 0), **there)
    yield Act("a new file above", ("openat", AT_FDCWD, path("kept, new above"), new | O_CLOEXEC, 0o600), beyond=NOWHERE, alone={"hub-front"}, behind=NO_WRITE)
    for name, step in {"directory": ("mkdir", path("kept, new"), 0o700), "link": ("symlink", "s:/etc/passwd", path("kept, new")),
                       "device": ("mknod", path("kept, new"), 0o20666, 0x103), "socket": ("mknod", path("kept, new"), 0o140600, 0)}.items():
        yield Act(f"a {name} in the store", step, behind=NO_WRITE, alone=hub)
    yield Act("another name for the store", ("rename", path("kept"), path("kept, new")), alone=hub, shared=True)
    yield Act("a second name for it", ("link", path("kept"), path("kept, new")), alone=hub, shared=True)
    yield Act("a look out of it, by a descriptor", ("newfstatat", 7, path("passwd, from there"), BUFFER, 0), alone=hub,
              beyond=(errno.EBADF, errno.ENOTDIR), behind=(errno.EBADF, errno.ENOTDIR))
    yield Act("the tokens", ("openat", AT_FDCWD, path("control"), O_CLOEXEC, 0), **there)
    yield Act("the log, cut off", ("ftruncate", 2, 0), alone=hub, shared=True)
    yield Act("the log, written over", ("pwrite64", 2, "s:x", 1, 0), alone=hub, shared=True)
    yield Act("the log's end", ("shutdown", 2, 1), alone=hub, shared=True)
    yield Act("the log without O_APPEND", ("fcntl", 2, 4, 0o4002), alone=hub, shared=True)


def owners():
    there = path("passwd")
    for name, step in {"chmod": ("chmod", there, 0o777), "fchmodat": ("fchmodat", AT_FDCWD, there, 0o777), "fchmodat2": ("452", AT_FDCWD, there, 0o777, 0),
                       "chown": ("chown", there, 1, 1), "lchown": ("lchown", there, 1, 1), "fchownat": ("fchownat", AT_FDCWD, there, 1, 1, 0),
                       "utimensat": ("utimensat", AT_FDCWD, there, BUFFER, 0), "utime": ("utime", there, BUFFER), "utimes": ("utimes", there, BUFFER),
                       "setxattr": ("setxattr", there, "s:user.x", "s:y", 1, 0), "lsetxattr": ("lsetxattr", there, "s:user.x", "s:y", 1, 0),
                       "removexattr": ("removexattr", there, "s:user.x")}.items():
        yield Act(name, step, agent=NO_WRITE + (errno.EINVAL,), behind=NO_WRITE + (errno.EINVAL,))
    yield Act("fchmod", ("fchmod", own, 0o777), agent=MAY, beyond=())
    yield Act("chmod of our state", ("chmod", path("state's directory"), 0o700), agent=DENIED, behind=NO_WRITE,
              user={"agent": (errno.EROFS,), "strict": (errno.EROFS,)}, bare={"connect": "an ordinary user's"})
    yield Act("umask", ("umask", 0), agent=MAY)


def programs():
    memory = ("memfd_create", "s:x", 1), ("write", "r:", "s:#!/bin/true", 11), ("execveat", "r0:", "s:", 0, 0, AT_EMPTY_PATH)
    yield Act("execve", ("execve", "s:/bin/true", 0, 0), agent=MAY, strict=DENIED, behind=NO_WRITE)
    yield Act("execveat", ("execveat", AT_FDCWD, "s:/bin/true", 0, 0, 0), agent=MAY, strict=DENIED, behind=NO_WRITE)
    yield Act("a program by descriptor", ("open", "s:/bin/true", 0o10000000), ("execveat", "r:", "s:", 0, 0, AT_EMPTY_PATH), agent=MAY, strict=DENIED,
              behind=NO_WRITE)
    yield Act("a program in a memory file", *memory, behind=DENIED + (errno.ENOENT,), agent=(errno.ENOENT,) + DENIED,
              bare={"connect": "the interpreter is found, and may not be executed"})
    yield Act("itself again", ("execve", "s:/proc/self/exe", 0, 0), behind=NO_WRITE, agent=MAY)
    yield Act("a library, as a program", ("execve", path("loader"), 0, 0), behind=NO_WRITE, bare=TEXT, agent=MAY)
    yield Act("fork", ("fork",), agent=MAY, behind=(errno.EAGAIN,))
    yield Act("vfork", ("vfork",), agent=MAY, behind=(errno.EAGAIN,))
    yield Act("clone", ("clone", 17, 0, 0, 0, 0), agent=MAY, behind=(errno.EAGAIN,))
    yield Act("a thread", ("clone", 0x10f00, 0, 0, 0, 0), none=("agent", "strict"), behind=(errno.EAGAIN,))
    yield Act("clone3", ("clone3", data(struct.pack("<8Q", 0, 0, 0, 0, 17, 0, 0, 0)), 64), behind=(errno.EAGAIN,))


def memory():
    rwx, text = 7, "t:"
    yield Act("memory to execute", ("mmap", 0, 4096, READ_EXEC, 0x22, -1, 0), may=TEXT, agent=MAY)
    yield Act("memory to execute and write", ("mmap", 0, 4096, rwx, 0x22, -1, 0), agent=MAY)
    yield Act("memory to execute only", ("mmap", 0, 4096, EXEC, 0x22, -1, 0), may=TEXT, agent=MAY)
    yield Act("memory made to execute", ("mprotect", "p:", 4096, READ_EXEC), agent=MAY)
    yield Act("with more bits", ("mprotect", "p:", 4096, READ_EXEC | 0x01000000), agent=MAY)
    yield Act("the same by pkey_mprotect", ("pkey_mprotect", "p:", 4096, READ_EXEC, -1), agent=MAY)
    yield Act("a key for memory", ("pkey_alloc", 0, 0), agent=(errno.ENOSPC, errno.EINVAL, errno.ENOSYS))
    yield Act("a memory file's bytes to execute", ("memfd_create", "s:x", 1), ("write", "r:", "s:x", 1), ("mmap", 0, 4096, READ_EXEC, 1, "r0:", 0), agent=MAY)
    yield Act("a memory file to execute", ("memfd_create", "s:x", 0x10), agent=MAY)
    yield Act("a memory file of huge pages", ("memfd_create", "s:x", 4), agent=MAY)
    yield Act("memory that no file has (memfd_secret)", ("447", 0), agent=(MAY, errno.ENOSYS))
    yield Act("its code made to write", ("mprotect", text, 4096, rwx), agent=(errno.EACCES, errno.EPERM, errno.EINVAL))
    yield Act("remap_file_pages", ("remap_file_pages", "p:", 4096, 0, 0, 0), agent=(errno.EINVAL,))
    yield Act("shared memory", ("shmget", 0, 4096, 0o1600), ("shmctl", "r:", 0, 0), agent=MAY)
    yield Act("shared memory to execute", ("shmget", 0, 4096, 0o1700), ("shmat", "r:", 0, 0o100000), ("shmctl", "r0:", 0, 0), agent=MAY)
    yield Act("personality READ_IMPLIES_EXEC", ("personality", 0x0400000))
    yield Act("personality, asked", ("personality", 0xffffffff))
    yield Act("a shadow stack", ("453", 0, 4096, 1), agent=(errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS))
    yield Act("arch_prctl", ("arch_prctl", 0x1001, BUFFER), agent=(MAY, errno.EINVAL, errno.ENODEV))
    yield Act("process_madvise", ("process_madvise", own, data(struct.pack("<QQ", 0, 0)), 1, 4, 0))
    for kind, flags in {"shared": 0x21, "shared, by the new name": 0x23, "that grows down": 0x122, "locked": 0x2022, "at a place that the kernel would sync": 0x80023}.items():
        yield Act(f"memory, {kind}", ("mmap", 0, 4096, 3, flags, -1, 0), agent=(MAY, errno.EINVAL, errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOMEM, errno.EPERM))
    yield Act("memory of huge pages", ("mmap", 0, 2 << 20, 3, 0x40022, -1, 0), agent=(errno.ENOMEM,))


FILES = {"open, stat, list": [*reading(), *looking()], "write, link, rename, mknod": [*writing(), *beside(), *kept(), *owners()],
         "execute": [*programs()], "memory": [*memory()]}
