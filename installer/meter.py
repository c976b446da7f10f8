"""Meters: bytes, rate and time left of something that takes more than a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, TextIO

from installer.streams import tell
from installer.words import size, span

INTERVAL: Final = 5.0
"""Seconds between two plain lines."""
WORTH_TELLING: Final = 1.0
"""Seconds below which a closing line says nothing new."""


class Meter(Protocol):
    """Counts bytes. ``advance`` may be called from any thread."""

    def advance(self, count: int) -> None:
        """``count`` more bytes are done."""

    def close(self, *, complete: bool) -> None:
        """No more will come; ``complete`` tells whether all is done."""


class QuietMeter:
    """Says nothing."""

    def advance(self, count: int) -> None:
        """Nobody listens."""

    def close(self, *, complete: bool) -> None:
        """Nobody listens."""


class PlainMeter:
    """For logs and pipes: a line at most every :data:`INTERVAL` seconds, and one at the end."""

    def __init__(self, label: str, total: int | None, err: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._label, self._total, self._err, self._clock = label, total, err, clock
        self._lock = threading.Lock()
        self._done = 0
        self._start = self._last = clock()

    def advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            now = self._clock()
            if now - self._last >= INTERVAL:
                self._last = now
                self.show(now)

    def close(self, *, complete: bool) -> None:
        passed = self._clock() - self._start
        if complete and passed >= WORTH_TELLING:
            rate = size(self._done / passed)
            tell(self._err, f"{self._label}: {size(self._done)} in {span(passed)}, {rate}/s")

    def show(self, now: float) -> None:
        """Say how far it is."""
        rate = self._done / max(now - self._start, 0.001)
        line = f"{self._label}: {size(self._done)}, {size(rate)}/s"
        if self._total:
            left = span(max(self._total - self._done, 0) / rate) if rate else "unknown time"
            share = min(100, 100 * self._done // self._total)
            done = f"{size(self._done)} of {size(self._total)} ({share} %)"
            line = f"{self._label}: {done}, {size(rate)}/s, {left} left"
        tell(self._err, line)


class BarMeter(PlainMeter):
    """For terminals: a bar while it goes, and the closing line of :class:`PlainMeter`."""

    def __init__(self, label: str, total: int | None, err: TextIO) -> None:
        super().__init__(label, total, err)
        # Imported here: it costs a tenth of a second, and only terminals need it.
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as SpeedColumn
        from rich.table import Column

        def whole() -> Column:
            return Column(no_wrap=True)

        label_column = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1))
        columns = (
            label_column,
            BarColumn(bar_width=16),
            DownloadColumn(table_column=whole()),
            SpeedColumn(table_column=whole()),
            TimeRemainingColumn(table_column=whole()),
        )
        self._bar = Progress(*columns, console=Console(file=err), transient=True)
        self._task = self._bar.add_task(label, total=total or None)
        self._bar.start()

    def advance(self, count: int) -> None:
        self._bar.advance(self._task, count)
        super().advance(count)

    def show(self, now: float) -> None:
        """The bar shows it already."""

    def close(self, *, complete: bool) -> None:
        with suppress(OSError):  # a terminal that went away
            self._bar.stop()
        super().close(complete=complete)
