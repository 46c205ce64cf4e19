"""A process's seccomp filters as the kernel has them, run over every call number, and compared with the declared
policy in both directions: what it lists passes, with exactly those arguments; nothing else does."""
import struct
import subprocess

import acts
from acts import ALL64, KILLED, PASSES

X86_64, I386, X32 = 0xC000003E, 0x40000003, 0x40000000
NUMBERS = 1024  # more than there are
ALLOW, ERRNO, KILL = 0x7fff0000, 0x00050000, 0x80000000


def of_process(inject, pid):
    """The programs: lists of (code, jump if true, jump if false, k)."""
    out = subprocess.run([inject, str(pid)], check=True, capture_output=True, text=True, timeout=20).stdout
    return [list(struct.iter_unpack("<HBBI", bytes.fromhex(line))) for line in out.splitlines()]


def run(program, data):
    """One program over a struct seccomp_data: its answer.  Only what libseccomp writes is known."""
    a, at = 0, 0
    while True:
        code, yes, no, k = program[at]
        at += 1
        if code == 0x20:
            a = struct.unpack_from("<I", data, k)[0]
        elif code == 0x54:
            a &= k
        elif code == 0x05:
            at += k
        elif code == 0x06:
            return k
        elif code in (0x15, 0x25, 0x35, 0x45):
            holds = {0x15: a == k, 0x25: a > k, 0x35: a >= k, 0x45: a & k != 0}[code]
            at += yes if holds else no
        else:
            raise AssertionError(f"an instruction that this interpreter does not know: {code:#x}")


def answer(programs, arch, number, arguments=()):
    data = struct.pack("<IIQ6Q", number, arch, 0, *(list(arguments) + [0] * 6)[:6])
    # the kernel takes the answer that is lowest as a signed number
    found = min((run(p, data) for p in programs), key=lambda r: (r & 0xffff0000) - (1 << 32 if r & KILL else 0))
    if found & 0xffff0000 == ERRNO:
        return found & 0xffff
    return {ALLOW: PASSES, KILL: KILLED}.get(found, found)


def vectors(rows):
    """Arguments that a row asks for, the same with each bit of each asked argument turned over, and with all."""
    yield [0] * 6
    yield [ALL64] * 6
    for row in rows:
        fits = [0] * 6
        for test, index, value, _ in row[3:]:
            fits[index] = 0 if test == "mask0" else value
        yield fits
        for _, index, _, _ in row[3:]:
            for bit in range(64):
                yield fits[:index] + [fits[index] ^ 1 << bit] + fits[index + 1:]


def ways(program, number):
    """Arguments that lead a call down each way through a program: what the kernel compares, whoever declared it."""
    found = []

    def follow(at, halves, loaded, mask, fixed):
        code, yes, no, k = program[at]
        if code == 0x06:
            found.append([halves.get(16 + 8 * i, 0) | halves.get(20 + 8 * i, 0) << 32 for i in range(6)])
        elif code == 0x20:
            follow(at + 1, halves, k, ALL64, {0: number, 4: X86_64}.get(k))
        elif code == 0x54:
            follow(at + 1, halves, loaded, k, None if fixed is None else fixed & k)
        elif code == 0x05:
            follow(at + 1 + k, halves, loaded, mask, fixed)
        elif fixed is not None:  # the number and the ABI are given
            holds = {0x15: fixed == k, 0x25: fixed > k, 0x35: fixed >= k, 0x45: fixed & k != 0}[code]
            follow(at + 1 + (yes if holds else no), halves, loaded, mask, fixed)
        else:
            old = halves.get(loaded, 0)
            fits = {0x15: old & ~mask | k, 0x25: k + 1, 0x35: k, 0x45: old | k}[code] & 0xffffffff
            follow(at + 1 + yes, {**halves, loaded: fits}, loaded, mask, None)
            follow(at + 1 + no, halves, loaded, mask, None)

    follow(0, {}, 0, ALL64, None)
    return found


def differences(programs, policies, name):
    """What the kernel would do otherwise than declared: a list of words, empty when all is well."""
    wrong, asked = [], 0
    names, rows = {}, {}
    for policy in acts.filters_of(name):
        for row in policies[policy]["syscalls"]:
            if row[1] >= 0:
                names[row[1]] = row[0]
                rows.setdefault(row[1], []).append(row)
    for number in range(NUMBERS):
        for arguments in [*vectors(rows.get(number, [])), *(w for p in programs for w in ways(p, number))]:
            want = acts.declared(policies, name, [names.get(number, "(none)")] + [str(a) for a in arguments])
            got = answer(programs, X86_64, number, arguments)
            asked += 1
            if got != want:
                wrong.append(f"{name}: call {number} ({names.get(number, 'not listed')}) with {[hex(a) for a in arguments[:4]]}: "
                             f"{acts.in_words(got)}, declared: {acts.in_words(want)}")
        for arch, other in ((I386, number), (X86_64, number | X32)):
            if answer(programs, arch, other) != KILLED:
                wrong.append(f"{name}: call {other:#x} of another ABI: {answer(programs, arch, other)}")
    return wrong, asked
