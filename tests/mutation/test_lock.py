"""mutmut comes into the environment of all the other tools: it must not change one of them."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def pinned(path: Path) -> dict[str, str]:
    """What a lock names, and at which version."""
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE))


def test_changes_no_version_that_the_other_lock_names() -> None:
    ours, theirs = pinned(REPOSITORY / "tests/mutation/requirements.lock"), pinned(REPOSITORY / "requirements.lock")
    assert {"mutmut", "pytest"} <= set(ours)
    assert {name: version for name, version in ours.items() if theirs.get(name, version) != version} == {}


def test_locks_every_file_by_its_hash_and_names_no_host() -> None:
    lock = (REPOSITORY / "tests/mutation/requirements.lock").read_text()
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=\S)", lock.strip()))
    assert "://" not in lock
