"""The engine's script starts and stops only what is its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.e2e
def test_leaves_an_engine_alone_that_answers() -> None:
    def engine(verb: str) -> int:
        return subprocess.run([REPOSITORY / ".ci/engine", verb], capture_output=True).returncode

    def server() -> str:
        question = ["docker", "info", "--format", "{{.ID}}"]
        return subprocess.run(question, check=True, capture_output=True, text=True).stdout

    before = server()
    assert engine("start") == 3
    assert server() == before
