"""Every command of docs/media.md, section by section, as it stands; more sections are played in files like this one."""

from __future__ import annotations

import re
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.door import FileDoor
from tests.contract.driver import world_of
from tests.e2e.mediapage import Stage, sections

pytestmark = pytest.mark.e2e

_PARTS = {"--part-size fat32": "--part-size 256KiB", "--part-size dvd": "--part-size 300kB", "700MB": "100kB"}
"""A product that is built in a moment is cut into parts all the same."""


@pytest.fixture(autouse=True)
def _small(stage: Stage) -> None:
    stage.words |= _PARTS


def serving(stage: Stage) -> set[str]:
    """The versions that people get at the host."""
    return FileDoor(world_of(stage.host / "state")).versions("lan-chat")


def test_every_section_of_the_page_is_played() -> None:
    files = Path(__file__).parent.glob("test_media_page*.py")
    played = {title for file in files for title in re.findall(r'\.section\("([^"]+)"\)', file.read_text())}
    assert played == set(sections())


def test_parts_install_are_checked_alone_and_name_what_is_missing(stage: Stage) -> None:
    built, installed, first, _ = stage.section("Parts")
    assert "in 3 parts" in built and "byte for byte" in built and "verified" in built
    assert "installed" in installed and serving(stage) == {"2.1.0"}
    assert "NOT VERIFIED" in first and "whole" in first


def unmount(place: Path) -> None:
    subprocess.run(["umount", place], check=True)


def test_discs_install_side_by_side_and_read_only(stage: Stage) -> None:
    story = stage.section("Discs")
    next(story)
    discs = [stage.media / f"disc{number}" for number in (1, 2, 3)]
    with ExitStack() as mounts:
        for disc in discs:
            subprocess.run(["mount", "--bind", disc, disc], check=True)
            mounts.callback(unmount, disc)
            subprocess.run(["mount", "-o", "remount,ro,bind", disc], check=True)
            with pytest.raises(OSError):
                (disc / "mark").touch()
        next(story)
    assert serving(stage) == {"2.1.0"}
    assert [len(list(disc.iterdir())) for disc in discs[1:]] == [1, 1]


def test_cat_joins(stage: Stage) -> None:
    listed, packed = stage.section("Cat")
    assert "release.json" in listed and "verified by" not in packed
    assert len(list((stage.vendor / "joined/lan-chat-v2.1.0").glob("*.bundle.tar.zst"))) == 1


def test_repair_heals_from_two_damaged_copies_and_names_what_neither_has(stage: Stage) -> None:
    _, healed, _, refused = stage.section("Repair")
    assert "not checked" in healed and "who signed" in healed
    assert "neither copy" in refused
    assert len(list((stage.media / "copy1").glob("*.002"))) == 1
