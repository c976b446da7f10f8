"""A state dir that was restored from an old backup: nothing is planned on it, and what serves goes on serving."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from installer.errors import SealiftError
from installer.look.doctor import Visit, examine, first_stop
from installer.state.state import load_state
from tests.contract.driver import file_host, world_of
from tests.contract.inprocess import FileSite
from tests.torture.rest import served

VERBS: dict[str, Callable[[FileSite], Any]] = {
    "install": lambda site: site.install("1.9.0"),
    "stage": lambda site: site.install("1.9.0", stage=True),
    "the same release": lambda site: site.install("1.0.0"),
    "rollback": FileSite.rollback,
    "prune": FileSite.prune,
}


@pytest.fixture
def site(tmp_path: Path) -> FileSite:
    """1.0.0 serves in blue."""
    site = FileSite(tmp_path)
    site.install("1.0.0")
    return site


def refuses(site: FileSite, verb: Callable[[FileSite], Any], serves: str) -> SealiftError:
    before = {name: content for name, content in site.everything().items() if "/world/" in name}
    with pytest.raises(SealiftError) as caught:
        verb(site)
    assert (caught.value.id, caught.value.exit_code) == ("state-outdated", 4)
    assert "which goes on serving" in caught.value.message
    assert {name: content for name, content in site.everything().items() if "/world/" in name} == before
    assert served(site.state, "board") == {serves}
    return caught.value


def test_one_upgrade_too_old_it_is_refused_by_every_verb_but_remove(site: FileSite, tmp_path: Path) -> None:
    site.back_up(tmp_path / "backup")
    site.install("1.1.0")
    site.back_up(tmp_path / "newest")
    site.restore(tmp_path / "backup")
    for verb in VERBS.values():
        refuses(site, verb, "1.1.0")
    found = examine(Visit(site.state, site.file, site.talk, file_host))
    stop = first_stop(found)
    assert stop is not None and stop.id == "state-outdated"
    site.restore(tmp_path / "newest")
    assert site.install("1.2.0").result == "installed"


def test_without_a_newer_one_it_is_taken_off_and_installed_again(site: FileSite, tmp_path: Path) -> None:
    site.back_up(tmp_path / "backup")
    site.install("1.1.0")
    site.restore(tmp_path / "backup")
    site.remove()
    assert served(site.state, "board") == frozenset()
    assert site.install("1.1.0").result == "installed"
    assert served(site.state, "board") == {"1.1.0"}


def test_two_upgrades_too_old_the_colour_is_right_and_the_release_is_not(site: FileSite, tmp_path: Path) -> None:
    site.install("1.1.0")
    site.back_up(tmp_path / "backup")
    site.install("1.2.0")
    site.install("1.3.0")
    site.restore(tmp_path / "backup")
    refuses(site, VERBS["install"], "1.3.0")


def test_a_trial_that_was_settled_since_does_not_come_back(site: FileSite, tmp_path: Path) -> None:
    site.install("1.1.0", within=0.001)
    site.back_up(tmp_path / "backup")
    site.expire()
    assert served(site.state, "board") == {"1.0.0"}
    site.install("1.2.0")
    site.restore(tmp_path / "backup")
    refuses(site, FileSite.expire, "1.2.0")


def test_from_before_the_first_installation_it_does_not_pass_for_a_new_host(site: FileSite, tmp_path: Path) -> None:
    site.remove()
    site.back_up(tmp_path / "backup")
    site.install("1.1.0")
    site.restore(tmp_path / "backup")
    refuses(site, VERBS["install"], "1.1.0")


def test_a_product_whose_front_door_does_not_answer_can_be_taken_off(site: FileSite) -> None:
    """Its sockets went with the state dir that was replaced, or somebody removed its container."""
    world_of(site.state).drop("edge/live.cfg")
    site.remove()
    assert load_state(site.state).products == {}
    assert site.install("1.1.0").result == "installed"
