"""Which of two programs goes on is decided by values alone."""

from __future__ import annotations

import pytest

from installer.bundle.digest import Digest
from installer.program.hostprogram import Decision, Program, decide_program, read_launcher


def program(version: str, content: str = "") -> Program:
    """A program of this version; other content is another build."""
    return Program(version, Digest.of((version + content).encode()))


@pytest.mark.parametrize("media", [program("0.9.0"), program("1.0.0", "rebuilt"), program("1.1.0")])
def test_the_host_takes_over_nothing_that_is_not_verified(media: Program) -> None:
    assert decide_program(program("1.0.0"), media, verified=False) is Decision.GO_ON


@pytest.mark.parametrize(
    ("media", "decision"),
    [
        (program("1.10.0"), Decision.ADOPT),
        (program("1.9.0"), Decision.GO_ON),
        (program("1.9.0", "rebuilt"), Decision.GO_ON),
        (program("1.9.0-rc.1"), Decision.GO_ON),
        (program("1.2.0"), Decision.GO_ON),
    ],
)
def test_the_host_takes_over_only_what_is_newer(media: Program, decision: Decision) -> None:
    assert decide_program(program("1.9.0"), media, verified=True) is decision


@pytest.mark.parametrize("text", ["", "#!/bin/sh\nexec something else\n", "# sealift 1.0.0, put here by its first run"])
def test_a_launcher_of_somebody_else_is_not_ours(text: str) -> None:
    assert read_launcher(text) is None
