"""The same inputs give the same bytes, whoever builds, and wherever; ``--check`` says so, or names what differs.

Other versions of Python have a file of their own, ``other_python.py``: making their root file system takes minutes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.circumstances import NOBODY, Circumstance, contents, make_origin, run

pytestmark = pytest.mark.e2e

INSTALLER = ("--installer", "manifests/board/install")
CIRCUMSTANCES = {
    "folder": Circumstance(folder="a much/longer path, with spaces and ü/checkout"),
    "user": Circumstance(user=NOBODY),
    "umask": Circumstance(umask="077"),
    "time zone": Circumstance(environment={"TZ": "Pacific/Kiritimati"}),
    "language": Circumstance(environment={"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "LANGUAGE": "tr"}),
    "no language": Circumstance(environment={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "order of sets": Circumstance(environment={"PYTHONHASHSEED": "4711"}),
    "all of them": Circumstance(
        folder="other/checkout",
        user=NOBODY,
        umask="077",
        environment={"TZ": "America/St_Johns", "LC_ALL": "POSIX", "PYTHONHASHSEED": "42", "PYTHONOPTIMIZE": "2"},
    ),
}


@pytest.fixture
def place() -> Iterator[Callable[[], Path]]:
    """Makes folders that every user can enter, which pytest's own are not."""
    made: list[Path] = []

    def make() -> Path:
        folder = Path(tempfile.mkdtemp(prefix="sealift-test-"))
        folder.chmod(0o755)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        shutil.rmtree(folder)


@pytest.fixture
def origin(place: Callable[[], Path]) -> Path:
    return make_origin(place())


@pytest.fixture
def kit(origin: Path, place: Callable[[], Path]) -> Path:
    """A media folder, built in plain circumstances."""
    here = place()
    code, value = run(origin, here, Circumstance(), *INSTALLER)
    assert code == 0, value
    return here / "product" / str(value["kit"])


@pytest.mark.parametrize("name", CIRCUMSTANCES)
def test_builds_the_same_bytes_in_another(name: str, kit: Path, origin: Path, place: Callable[[], Path]) -> None:
    here, how = place(), CIRCUMSTANCES[name]
    code, value = run(origin, here, how, *INSTALLER)
    assert code == 0, value
    built = here / how.folder / value["kit"]
    assert built.stat().st_uid == how.user
    ours, theirs = contents(built), contents(kit)
    assert [file for file in ours | theirs if ours.get(file) != theirs.get(file)] == []


def test_check_needs_no_key_and_writes_nothing(kit: Path, origin: Path, place: Callable[[], Path]) -> None:
    here, how = place(), Circumstance(user=NOBODY, umask="077", environment={"TZ": "Asia/Kolkata"})
    run(origin, here, how, *INSTALLER, "--dry-run")
    shutil.rmtree(here / how.folder / "keys")
    before = contents(here)
    code, value = run(origin, here, how, *INSTALLER, "--check", str(kit))
    assert (code, value["reproducible"], value["differences"]) == (0, True, []), value
    assert contents(here) == before
    assert list((here / "tmp").iterdir()) == []


def test_check_names_what_differs_and_ends_with_12(kit: Path, origin: Path, place: Callable[[], Path]) -> None:
    here, how = place(), Circumstance()
    run(origin, here, how, *INSTALLER, "--dry-run")
    (here / "product/manifests/board/helper").write_text("#!/bin/sh\nexit 1\n")
    code, value = run(origin, here, how, *INSTALLER, "--check", str(kit))
    assert (code, value["error"]["id"], value["reproducible"]) == (12, "build-differs", False), value
    assert [line.partition(" (")[0] for line in value["differences"]] == ["tools/helper: other bytes"]
    assert list((here / "tmp").iterdir()) == []


def test_check_and_dry_run_are_two_questions(kit: Path, origin: Path, place: Callable[[], Path]) -> None:
    code, value = run(origin, place(), Circumstance(), *INSTALLER, "--check", str(kit), "--dry-run")
    assert (code, value["error"]["id"]) == (2, "bad-option")
