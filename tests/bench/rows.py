"""The rows of the table, in its order. A new one is one line here and one function beside its nouns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tests.bench import delta, growing, moving, parts
from tests.bench.row import Bench, Row

ROWS: Final[Mapping[str, Callable[[Bench], Iterator[Row]]]] = {
    "build": moving.build,
    "again": moving.build_again,
    "inspect": moving.inspect,
    "verify": moving.verify,
    "load": moving.load,
    "nothing": moving.load_again,
    "parts": parts.parts,
    "delta": delta.delta,
    "small": growing.small,
    "large": growing.large,
    "huge": growing.huge,
    "many": growing.many,
    "start": growing.start,
}
"""What ``make bench ROWS=…`` takes: each makes its rows one after the other and removes what no other needs."""
