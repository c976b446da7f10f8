"""How glibc handles memory that is freed. Of another C library nothing is asked, and nothing changes."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

_MB: Final = 1024 * 1024
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8  # mallopt(3)


def give_back() -> None:
    """Return frames to the system as soon as they are free, in every thread: by itself glibc raises the size from which
    it does that to the size of a frame, and keeps some for each thread (20 MB more)."""
    _set({_ARENA_MAX: 2, _MMAP_THRESHOLD: 2 * _MB, _TRIM_THRESHOLD: 4 * _MB})


def keep(most: int) -> None:
    """Keep up to ``most`` bytes that are free: a fresh page costs more than the bytes that are copied to it."""
    _set({_MMAP_MAX: 0, _TRIM_THRESHOLD: most})


def _set(options: dict[int, int]) -> None:
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        for name, value in options.items():
            library.mallopt(name, value)
