"""Has patches made, each by a process that may have so much memory and no more: :mod:`bundler.delta.segmenting`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import IO, Final

from bundler.delta.layers import Unpacked
from bundler.delta.segmenting import TOO_LARGE
from installer.errors import SealiftError
from installer.patching.segments import HEADER_BYTES, Segment, reach_of
from installer.system import worker

MEMORY: Final = 1024 * 1024 * 1024
"""Bytes of addresses, a third of which it uses."""
_PIECE: Final = 1024 * 1024


def make_patch(old: Unpacked, new: Unpacked, out: IO[bytes]) -> int:
    """Write the patch from ``old`` to ``new`` into an empty file; how many bytes it reaches back.

    Raises ``patch-too-large`` (3), and ``OSError`` where ``out`` does."""
    layers = [(layer.plain.fileno(), layer.size) for layer in (old, new)]
    code = f"from bundler.delta.segmenting import main; main({layers[0]}, {layers[1]}, {MEMORY})"
    with worker(code, [descriptor for descriptor, _ in layers]) as process:
        assert process.stdout and process.stderr  # noqa: S101 - pipes were asked for
        shutil.copyfileobj(process.stdout, out, _PIECE)
        ended = process.wait()
        if ended == TOO_LARGE or ended < 0:  # or the kernel ended it, where memory is short
            raise SealiftError(
                "patch-too-large",
                f"making a patch of {new.size} bytes wants more memory than {MEMORY} bytes",
                hint="leave --since out: then the layer comes whole",
            )
        if ended != 0:
            raise RuntimeError(f"the process that makes patches ended with {ended}: {process.stderr.read(2000)!r}")
    return reach_of(_segments(out, old.size, new.size))


def _segments(file: IO[bytes], old: int, left: int) -> Iterator[Segment]:
    """What the headers of a patch say."""
    at = 0
    while left:
        file.seek(at)
        segment = Segment.parse(file.read(HEADER_BYTES), old, left)
        yield segment
        at += HEADER_BYTES + segment.frame
        left -= segment.content
