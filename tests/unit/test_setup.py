"""Setup says what it would do, asks, and changes nothing without a yes."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SUITES = {"bookworm", "trixie", "sid"}


@pytest.fixture
def fresh_clone(tmp_path: Path) -> Path:
    """What setup reads, in a folder that has no environment yet."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in (".ci", "requirements.lock", "pyproject.toml", "Makefile"):
        subprocess.run(["cp", "-r", REPOSITORY / name, clone], check=True)
    return clone


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would answer the question."""
    return {name: value for name, value in os.environ.items() if name not in {"YES", "CI"}} | more


def contents(folder: Path) -> set[Path]:
    """Every path in a folder."""
    return set(folder.rglob("*"))


def test_refuses_to_install_without_an_answer(fresh_clone: Path) -> None:
    before = contents(fresh_clone)
    done = subprocess.run(
        [".ci/setup"], cwd=fresh_clone, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )

    assert done.returncode == 1
    assert "make     .venv" in done.stdout
    assert "nothing was changed" in done.stderr
    assert "YES=1" in done.stderr
    assert contents(fresh_clone) == before


@pytest.mark.parametrize("answer", ["n", "", "nope"])
def test_changes_nothing_after_a_no_on_the_terminal(fresh_clone: Path, answer: str) -> None:
    before = contents(fresh_clone)
    person, terminal = os.openpty()
    os.write(person, f"{answer}\n".encode())
    done = subprocess.run(
        [".ci/setup"], cwd=fresh_clone, env=environment(), stdin=terminal, capture_output=True, text=True
    )
    os.close(person)
    os.close(terminal)

    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert contents(fresh_clone) == before


def test_gives_a_reason_for_every_package() -> None:
    lines = [line for line in (REPOSITORY / ".ci/packages").read_text().splitlines() if line and line[0] != "#"]
    rows = [[field.strip() for field in line.split("|")] for line in lines]

    for row in rows:
        assert len(row) == 5, row
        name, suite, condition, size, why = row
        assert re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name)
        assert suite in SUITES
        assert re.fullmatch(r"-|(program|plugin):[a-z]+", condition)
        assert int(size) >= 1
        assert len(why.split()) >= 3
    assert len({row[0] for row in rows}) == len(rows), "a package stands there twice"


def test_lists_every_target_with_its_help() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = re.findall(r"^\.PHONY: (.+)$", makefile, re.M)[0].split()
    shown = subprocess.run(["make", "--silent"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout

    assert [line.split()[0] for line in shown.splitlines()] == targets
