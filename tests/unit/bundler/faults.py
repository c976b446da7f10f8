"""Makes the n-th call that changes the disk fail, once or from then on, or kills the process there.

Files that Python opens for writing get a raw file whose every ``write(2)`` counts, behind a buffer so small that there
are many; so do creating, renaming, syncing,
making folders, copying in the kernel and removing; on wish also every piece that is sent to a server. No part of the
product is replaced.
"""

from __future__ import annotations

import builtins
import http.client
import io
import os
import random
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
_SPARED: Final = (*REMOVES, "send")
"""A full disk does not make these fail; a kill can come there."""


@dataclass
class Faults:
    """Counts calls that change the disk; ``at`` (from 1) names the one that fails, 0 none."""

    at: int = 0
    error: int | None = None
    """What it fails with; None kills the process."""
    sticky: bool = False
    sends: bool = False
    """Whether pieces that are sent count too."""
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
        if hit and self.error is not None and name not in _SPARED:
            raise OSError(self.error, os.strerror(self.error))


class _Raw(io.FileIO):
    faults: Faults

    def write(self, data: Any, /) -> int:
        self.faults.step("write")
        return super().write(data)


@contextmanager
def injected(faults: Faults) -> Iterator[Faults]:
    """While the block runs, every such call of this process counts."""
    real = [(io, "open"), (builtins, "open"), (http.client.HTTPConnection, "send")]
    real += [(os, name) for name in ("open", *MAKES, *REMOVES)]
    kept = [(owner, name, getattr(owner, name)) for owner, name in real]
    io.open = builtins.open = _opening(faults, io.open)
    os.open = _creating(faults, os.open)
    for name in (*MAKES, *REMOVES):
        setattr(os, name, _counting(faults, name, getattr(os, name)))
    if faults.sends:
        send = _counting(faults, "send", http.client.HTTPConnection.send)
        http.client.HTTPConnection.send = send  # type: ignore[method-assign]
    try:
        yield faults
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)


def _opening(faults: Faults, real: Callable[..., Any]) -> Callable[..., Any]:
    def opened(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **options: Any) -> Any:
        if "b" not in mode or not set(mode) & set("wxa+"):
            return real(file, mode, buffering, *more, **options)
        opener = options.get("opener")  # which counts what it does
        if not isinstance(file, int) and opener is None:
            faults.step("create")
        raw = _Raw(file, mode.replace("b", ""), opener=opener)
        raw.faults = faults
        return (
            io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw, 256)
        )  # so that a small build writes often

    return opened


def _creating(faults: Faults, real: Callable[..., int]) -> Callable[..., int]:
    def creating(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            faults.step("create")
        elif flags & os.O_TMPFILE == os.O_TMPFILE:
            faults.step("nameless")
        return real(path, flags, *more, **options)

    return creating


def _counting(faults: Faults, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        faults.step(name)
        return real(*arguments, **options)

    return call


def chosen(count: int, share: int | None) -> list[int]:
    """The points to strike, from 1 to ``count``: all, or a drawn ``share`` of them and the last. ``EVERY=1`` in the
    environment (``make strikes``) makes it all of them everywhere."""
    every = range(1, count + 1)
    if share is None or share >= count or os.environ.get("EVERY"):
        return list(every)
    return sorted({*random.Random(count).sample(every, share - 1), count})


def strikes(
    begin: Callable[[], object],
    run: Callable[[], object],
    error: int | None,
    *,
    sticky: bool = False,
    sends: bool = False,
    share: int | None = None,
) -> Iterator[str]:
    """Run again and again, each time from :func:`begin`, struck at the first call, the second one, and so on to the
    last, or at a share of them (:func:`chosen`). Yields after each strike what kind of call it was; the points are
    counted in a run that nothing strikes.

    ``error`` None kills a process of its own there. What else than the error is raised comes through.
    """
    begin()
    with injected(Faults(sends=sends)) as counted:
        run()
    assert counted.calls
    for number in chosen(len(counted.calls), share):
        call = counted.calls[number - 1]
        begin()
        if error is None:
            assert killed_at(number, run, sends=sends), (number, call)
        else:
            with injected(Faults(number, error, sticky, sends=sends)) as faults:
                try:
                    run()
                except OSError as caught:
                    assert caught.errno == error, (number, call)
            assert faults.count >= number, (number, call)
        yield call


def killed_at(number: int, run: Callable[[], object], *, sends: bool = False) -> bool:
    """Run in a process of its own that is killed at that call; whether it got there."""
    child = os.fork()
    if child == 0:
        try:
            with injected(Faults(at=number, sends=sends)):
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
