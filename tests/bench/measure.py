"""Runs one command and says what it cost.

Imports nothing heavy: what this process weighs would count as the peak of its children.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MB = 1e6


@dataclass(frozen=True)
class Cost:
    """Of a command and all that it started: seconds, bytes written (``wchar`` of proc(5)), largest process in MB."""

    wall: float
    cpu: float
    written: int
    peak: float
    output: str = ""


def run(
    command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, fails: bool = False
) -> Cost:
    """Run to the end. Raises ``RuntimeError`` with what it said where it fails; what is interrupted ends its child."""
    began = time.monotonic()
    child = subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout is not None
    try:
        output = child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    except BaseException:
        child.terminate()
        child.wait()
        raise
    wall = time.monotonic() - began
    counted = dict(line.split(": ") for line in Path(f"/proc/{child.pid}/io").read_text().splitlines())
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    child.stdout.close()
    if child.returncode and not fails:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {child.returncode}: {output[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, int(counted["wchar"]), usage.ru_maxrss * 1024 / MB, output)


@dataclass(frozen=True)
class Pairs:
    """Runs of ours and of the stock side, in turn."""

    ours: tuple[Cost, ...]
    stock: tuple[Cost, ...]

    def ratio(self, pick: Callable[[Cost], float]) -> float:
        """The median of the ratios of pairs."""
        return statistics.median(pick(a) / pick(b) for a, b in zip(self.ours, self.stock, strict=True))


def in_turn(count: int, ours: Callable[[], Cost], stock: Callable[[], Cost]) -> Pairs:
    """Ours, stock, ours, stock …; what one side left to be written is on the disk before the other begins."""
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for _ in range(count):
        for side, work in zip(costs, (ours, stock), strict=True):
            os.sync()
            side.append(work())
    return Pairs(tuple(costs[0]), tuple(costs[1]))


def median(costs: Sequence[Cost], pick: Callable[[Cost], float]) -> float:
    """The median of one figure."""
    return statistics.median(map(pick, costs))


def wall(cost: Cost) -> float:
    """Seconds from start to end."""
    return cost.wall


def cpu(cost: Cost) -> float:
    """Seconds of processor, of all processes."""
    return cost.cpu
