"""Ports and subnets that one test process has at a time, whichever run it belongs to.

Asking whether a port is free says nothing of a moment later: two workers found the same one, and the slower failed. A
claim is a kernel lock on an empty file, held until the process ends, however that is.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

_Item = TypeVar("_Item")

BLOCK: Final = 24
_BLOCKS: Final = range(20000, 32768 - BLOCK, BLOCK)  # below the ports that the kernel hands out
_SINGLE: Final = range(10000, 18000)  # the demo has some above
_SUBNETS: Final = tuple(f"10.{second}.{third}.0/24" for second in range(120, 250) for third in range(0, 256, 2))
_FOLDER: Final = Path(tempfile.gettempdir()) / "sealift-claims"
_held: Final[list[int]] = []
"""Descriptors of the locks; a program that a test starts does not inherit them."""


def port_block() -> range:
    """:data:`BLOCK` ports of 127.0.0.1 in a row that nothing listens on."""
    return next(
        block
        for start in _from_anywhere(_BLOCKS)
        if all(map(_is_free, block := range(start, start + BLOCK))) and _claim(f"block-{start}")
    )


def single_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    return next(port for port in _from_anywhere(_SINGLE) if _is_free(port) and _claim(f"port-{port}"))


def subnet(is_free: Callable[[str], bool] = lambda _: True) -> str:
    """Addresses for a site, with room for a /23, of which ``is_free`` holds."""
    return next(net for net in _from_anywhere(_SUBNETS) if is_free(net) and _claim(f"net-{net.split('/')[0]}"))


def _from_anywhere(items: Sequence[_Item]) -> Iterator[_Item]:
    """All of them, from a place that chance draws on: what one process gave back is not the next one's at once."""
    start = random.randrange(len(items))
    return itertools.chain(items[start:], items[:start])


def _claim(name: str) -> bool:
    """Whether this process has ``name`` from now on."""
    _FOLDER.mkdir(exist_ok=True)
    descriptor = os.open(_FOLDER / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    _held.append(descriptor)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
