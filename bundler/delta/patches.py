"""Has patches made, each by a process that may have so much memory and no more: :mod:`bundler.delta.segmenting`."""

from __future__ import annotations

import shutil
from typing import IO, Final

from bundler.delta.layers import Unpacked
from bundler.delta.segmenting import TOO_LARGE
from installer.errors import SealiftError
from installer.system import worker

MEMORY: Final = 1024 * 1024 * 1024
"""Bytes of addresses, a third of which it uses."""
_PIECE: Final = 1024 * 1024


def make_patch(old: Unpacked, new: Unpacked, out: IO[bytes]) -> None:
    """Write the patch from ``old`` to ``new``. Raises ``patch-too-large`` (3), and ``OSError`` where ``out`` does."""
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
