"""System calls that a judged program may not make, as a classic BPF program for seccomp(2).

A program is one process: threads start, processes do not. So one memory limit bounds all of it, and nothing outlives
it. Closed as well is what namespaces do not cover (AF_VSOCK reaches the host of a virtual machine), what holds memory
that RLIMIT_AS does not count (System V segments, memfd), and what has a record of kernel bugs and no place in a
solution.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

AUDIT_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""By `platform.machine()`; linux/audit.h."""

DENIED = {
    # name: (x86_64, aarch64), from the kernel's unistd_64.h and asm-generic/unistd.h
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "socket": (41, 198),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
}
CLONE = (56, 220)
CLONE3 = 435
CLONE_THREAD = 0x10000
X32_CALLS = 0x40000000

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_OFFSET, ARCHITECTURE_OFFSET, FIRST_ARGUMENT_OFFSET = 0, 4, 16
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
"""linux/seccomp.h: SECCOMP_RET_ALLOW, _KILL_PROCESS, _ERRNO (the errno in the low half)."""


def filter_for(machine: str) -> bytes:
    """The filter as an array of struct sock_filter, as `bwrap --seccomp` reads it. Refused calls fail with EPERM;
    clone3 with ENOSYS, so that the C library starts threads by clone, whose flags a filter can see.

    Raises:
        KeyError: `machine` is not in AUDIT_ARCHITECTURES.
    """
    return b"".join(_instructions(AUDIT_ARCHITECTURES[machine], column=list(AUDIT_ARCHITECTURES).index(machine)))


def _instructions(architecture: int, column: int) -> Iterator[bytes]:
    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("<HBBI", code, if_true, if_false, value)

    yield instruction(LOAD, ARCHITECTURE_OFFSET)
    yield instruction(EQUAL, architecture, if_true=1)
    yield instruction(RETURN, KILL)
    yield instruction(LOAD, NUMBER_OFFSET)
    yield instruction(AT_LEAST, X32_CALLS, if_false=1)
    yield instruction(RETURN, KILL)
    yield instruction(EQUAL, CLONE3, if_false=1)
    yield instruction(RETURN, REFUSE | errno.ENOSYS)
    for number in (numbers[column] for numbers in DENIED.values()):
        if number is not None:
            yield instruction(EQUAL, number, if_false=1)
            yield instruction(RETURN, REFUSE | errno.EPERM)
    yield instruction(EQUAL, CLONE[column], if_true=1)
    yield instruction(RETURN, ALLOW)
    yield instruction(LOAD, FIRST_ARGUMENT_OFFSET)
    yield instruction(ANY_BIT, CLONE_THREAD, if_false=1)
    yield instruction(RETURN, ALLOW)
    yield instruction(RETURN, REFUSE | errno.EPERM)
