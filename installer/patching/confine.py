"""Takes from this process all that rebuilding a layer does not need: memory, time, files, network, other processes.

Linux on x86-64 and arm64: limits of the kernel, then a filter of system calls that kills at any other than the few
that move bytes between descriptors that are open, and memory. Where the filter cannot be set, nothing is rebuilt.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
from typing import Final

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_DUMPABLE, _FILTER = 38, 22, 4, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _KILL_PROCESS = 0x7FFF0000, 0x80000000
_X86_64: Final = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
    "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25,
    "madvise": 28, "exit": 60, "futex": 202, "clock_gettime": 228, "exit_group": 231, "getrandom": 318,
}  # fmt: skip
_AARCH64: Final = {
    "read": 63, "write": 64, "close": 57, "fstat": 80, "lseek": 62, "mmap": 222, "mprotect": 226, "munmap": 215,
    "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "sched_yield": 124,
    "mremap": 216, "madvise": 233, "exit": 93, "futex": 98, "clock_gettime": 113, "exit_group": 94, "getrandom": 278,
}  # fmt: skip
_MACHINES: Final = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def confine(memory: int, seconds: int, largest_file: int) -> None:
    """From here on this process may have ``memory`` bytes of addresses and ``seconds`` of processor time, write files
    (which are open already) up to ``largest_file`` bytes, and do nothing but read, write and end.

    Raises ``OSError`` where that cannot be had.
    """
    for limit, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, largest_file),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        # Of processor time the first limit is told from other ends (SIGXCPU), the second one is sure to end it.
        last = most + 1 if limit == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else most
        resource.setrlimit(limit, (most, last))
    library = ctypes.CDLL(None, use_errno=True)
    code = filter_of(os.uname().machine)
    program = _Program(len(code) // 8, code)
    for option, first, second in (
        (_PR_SET_DUMPABLE, 0, None),
        (_PR_SET_NO_NEW_PRIVS, 1, None),
        (_PR_SET_SECCOMP, _FILTER, ctypes.byref(program)),
    ):
        if library.prctl(option, ctypes.c_ulong(first), second or ctypes.c_ulong(0), ctypes.c_ulong(0), 0) != 0:
            raise OSError(ctypes.get_errno(), "the kernel does not confine this process")


def filter_of(machine: str) -> bytes:
    """The filter in the kernel's form (seccomp(2)). Raises ``OSError`` for a machine without a table."""
    if machine not in _MACHINES:
        raise OSError(f"no filter of system calls for {machine}")
    architecture, calls = _MACHINES[machine]
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL_PROCESS), (_LOAD, 0, 0, 0)]
    for number in sorted(calls.values()):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    steps.append((_RETURN, 0, 0, _KILL_PROCESS))
    return b"".join(struct.pack("<HBBI", *step) for step in steps)
