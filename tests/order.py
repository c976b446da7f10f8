"""Which tests on real parts begin first, so that no worker is left with a long file when the others have ended.

A file stays with one worker, because its tests share sites and registries; those of `APART` share nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest
from xdist.scheduler.loadfile import LoadFileScheduling

LONG: Final = (
    "tests/e2e/site/test_engine_restarts.py",
    "tests/e2e/test_bench.py",
    "tests/e2e/test_build_killed.py",
    "tests/registry/test_load_killed.py",
    "tests/products/test_wallboard_on_a_site.py",
    "tests/program/test_install_on_hosts.py",
    "tests/e2e/test_reproducible.py",
)
"""Few tests that take long. All others begin by how many tests they have."""

APART: Final = ("tests/e2e/site/test_engine_restarts.py",)


def file_of(nodeid: str) -> str:
    """The file that a test stands in."""
    return nodeid.partition("::")[0]


def longest_first(items: list[pytest.Item]) -> None:
    """Sort tests by file, without a change inside one."""
    tests = Counter(file_of(item.nodeid) for item in items)

    def rank(item: pytest.Item) -> tuple[int, int, str]:
        file = file_of(item.nodeid)
        return (LONG.index(file) if file in LONG else len(LONG), -tests[file], file)

    items.sort(key=rank)


class LongestFirst(LoadFileScheduling):  # type: ignore[misc]
    """Hands out files in the order that they are collected in."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if file_of(nodeid) in APART else file_of(nodeid)
