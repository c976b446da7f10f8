"""Makes the n-th call that changes the disk fail, once or from then on, or kills the process there.

Files that Python opens for writing get a raw file whose every ``write(2)`` counts, behind a buffer so small that there
are many; so do creating, renaming, syncing,
making folders, copying in the kernel and removing. No part of the product is replaced.
"""

from __future__ import annotations

import builtins
import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

MAKES: Final = ("rename", "fsync", "mkdir", "sendfile", "ftruncate")
"""Calls of ``os`` that fail when a disk is full or broken."""
REMOVES: Final = ("unlink", "rmdir")
"""Calls that change the disk and need no room."""


@dataclass
class Faults:
    """Counts calls that change the disk; ``at`` (from 1) names the one that fails, 0 none."""

    at: int = 0
    error: int | None = None
    """What it fails with; None kills the process."""
    sticky: bool = False
    count: int = 0
    calls: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, name: str) -> None:
        """One more call. Raises ``OSError``, or does not return."""
        with self._lock:
            self.count += 1
            self.calls.append(name)
            hit = self.at and (self.count == self.at or (self.sticky and self.count > self.at))
        if hit and self.error is None:
            os.kill(os.getpid(), signal.SIGKILL)
        if hit and self.error is not None and name not in REMOVES:
            raise OSError(self.error, os.strerror(self.error))


class _Raw(io.FileIO):
    faults: Faults

    def write(self, data: Any, /) -> int:
        self.faults.step("write")
        return super().write(data)


@contextmanager
def injected(faults: Faults) -> Iterator[Faults]:
    """While the block runs, every such call of this process counts."""
    real_open, real = io.open, {name: getattr(os, name) for name in (*MAKES, *REMOVES, "open")}

    def opened(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **options: Any) -> Any:
        if "b" not in mode or not set(mode) & set("wxa+"):
            return real_open(file, mode, buffering, *more, **options)
        if not isinstance(file, int):
            faults.step("create")
        raw = _Raw(file, mode.replace("b", ""))
        raw.faults = faults
        return (
            io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw, 256)
        )  # so that a small build writes often

    def creating(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            faults.step("create")
        return int(real["open"](path, flags, *more, **options))

    def counting(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            faults.step(name)
            return real[name](*arguments, **options)

        return call

    io.open = builtins.open = opened
    os.open = creating
    for name in (*MAKES, *REMOVES):
        setattr(os, name, counting(name))
    try:
        yield faults
    finally:
        io.open = builtins.open = real_open
        for name, function in real.items():
            setattr(os, name, function)


def killed_at(number: int, run: Callable[[], object]) -> bool:
    """Run in a process of its own that is killed at that call; whether it got there."""
    child = os.fork()
    if child == 0:
        try:
            with injected(Faults(at=number)):
                run()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False
