"""Files that take long are found where the order of the tests expects them."""

from __future__ import annotations

from pathlib import Path

from tests.order import APART, LONG


def test_every_long_file_is_there(repository: Path) -> None:
    assert [name for name in (*LONG, *APART) if not (repository / name).is_file()] == []
