"""What stands in the repository works anywhere: no host of an index, no path of one machine, everything locked."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# Put together here, so that this file does not name them either.
HOSTS = [
    "pypi" + ".org",
    "python" + "hosted.org",
    "deb." + "debian.org",
    "security." + "debian.org",
    "snapshot." + "debian.org",
    "npm" + "js.org",
    "proxy.golang" + ".org",
    "sum.golang" + ".org",
    "crates" + ".io",
    "repo.maven" + ".apache.org",
    "docker" + "hub.com",
]
NAMED_HOST = re.compile("|".join(re.escape(host) for host in HOSTS))
PATH_OF_ONE_MACHINE = re.compile(r"(?<![\w.}-])/(" + "wo" + "rk|ro" + "ot)/")


def tracked_texts() -> Iterator[tuple[str, str]]:
    """Every tracked text file that is there, by its path."""
    listing = subprocess.run(["git", "-C", REPOSITORY, "ls-files", "-z"], check=True, capture_output=True, text=True)
    for name in listing.stdout.split("\0"):
        path = REPOSITORY / name
        if name and path.is_file():
            try:
                yield name, path.read_text()
            except UnicodeDecodeError:
                continue


def places(pattern: re.Pattern[str]) -> list[str]:
    """Where a pattern stands, as `file:line: text`."""
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in tracked_texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_names_no_host_of_a_package_index() -> None:
    assert places(NAMED_HOST) == []


def test_names_no_path_of_one_machine() -> None:
    # There, root has a home on every test host.
    assert [place for place in places(PATH_OF_ONE_MACHINE) if not place.startswith("tests/program/")] == []


def test_recognises_a_path_of_one_machine() -> None:
    found = PATH_OF_ONE_MACHINE.search
    assert found("cd /" + "work/main")
    assert found('"/' + 'root/.cache"')
    assert not found("rootfs/root/.profile")
    assert not found("$rootfs/root/x ${root}/root/x")


def test_locks_every_dependency_by_hash() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    lock = (REPOSITORY / "requirements.lock").read_text()
    entries = re.split(r"\n(?=\S)", lock.strip())

    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    locked = {entry.partition("==")[0].lower() for entry in entries}
    assert {re.split(r"[<>=~!; ]", name)[0].lower() for name in asked} <= locked
    assert "://" not in lock
