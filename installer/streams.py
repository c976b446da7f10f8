"""Words to whoever reads standard output and error. That reader may leave, or the disk may fill: the work goes on."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TextIO


def tell(stream: TextIO, text: str, end: str = "\n") -> OSError | None:
    """Write ``text``; returns what kept it from that. Then the stream leads nowhere: nothing is tried twice."""
    try:
        print(text, file=stream, end=end, flush=True)
    except OSError as error:
        _lead_nowhere(stream)
        return error
    return None


def _lead_nowhere(stream: TextIO) -> None:
    """What is left in its buffer would fail again when the process ends, and change the exit code."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
