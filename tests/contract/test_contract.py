"""What every kind of target must promise, tried on each: in files, on Compose; others will follow.

A target is a driver (:mod:`installer.plan.driver`): planner, executor and journal are the same for all. To try
another one, write a :class:`tests.contract.places.Place` for it and add it below.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from installer.state.journal import Journal
from installer.state.state import load_state
from tests.contract.places import ComposePlace, FilePlace, Place
from tests.e2e.site.conftest import make_lasting_site, vendor

__all__ = ["make_lasting_site", "vendor"]


@pytest.fixture(scope="module", params=["files", pytest.param("compose", marks=pytest.mark.e2e)])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One site for all promises: each test takes it as the one before left it."""
    if request.param == "files":
        yield FilePlace(tmp_path_factory.mktemp("place"))
    else:
        yield ComposePlace(request.getfixturevalue("make_lasting_site")(), request.getfixturevalue("vendor"))


def active(place: Place) -> str:
    colour = load_state(place.state).products["board"].active
    assert colour is not None
    return colour


def at_rest(place: Place, version: str) -> None:
    """One version at the door, containers of one colour alone, no unfinished run."""
    assert place.door() == version
    assert place.running() == {(active(place), version)}
    assert Journal(place.state).unfinished() is None
    current = load_state(place.state).products["board"].current
    assert current is not None and current.version == version


def test_a_first_installation_that_fails_leaves_nothing(place: Place) -> None:
    ended = place.install(place.next_version(), "mute")
    assert (ended.code, ended.error, ended.value["previous"]) == (10, "upgrade-rolled-back", None)
    assert (place.door(), place.running()) == (None, set())
    assert load_state(place.state).products == {}


def test_a_plan_is_what_is_done_afterwards(place: Place) -> None:
    version = place.next_version()
    shown = place.install(version, "", "--dry-run")
    assert shown.value["result"] == "planned"
    assert place.door() is None and place.running() == set()
    planned = [step["name"] for step in shown.value["plan"]["steps"]]
    assert place.install(version).value["result"] == "installed"
    assert list(Journal(place.state).runs()[-1].done) == planned
    at_rest(place, version)


def test_the_same_release_again_changes_nothing(place: Place) -> None:
    version = place.serving()
    before = (place.running(), place.kept(), len(Journal(place.state).entries()))
    assert place.install(version).value["result"] == "unchanged"
    assert (place.running(), place.kept(), len(Journal(place.state).entries())) == before


def test_an_upgrade_serves_in_the_other_colour_and_takes_the_old_one_down(place: Place) -> None:
    old, before = place.serving(), active(place)
    version = place.next_version()
    ended = place.install(version)
    assert (ended.value["result"], ended.value["previous"]) == ("installed", old)
    assert active(place) != before
    at_rest(place, version)


@pytest.mark.parametrize(("fault", "step"), [("unhealthy", "health"), ("mute", "smoke")])
def test_a_release_that_fails_leaves_the_old_one_serving(place: Place, fault: str, step: str) -> None:
    old, kept = place.serving(), place.kept()
    ended = place.install(place.next_version(), fault)
    assert (ended.code, ended.error, ended.value["result"]) == (10, "upgrade-rolled-back", "rolled-back")
    assert ended.value["error"]["message"].startswith(f"board {old} is serving; nothing has to be done before morning")
    assert f"failed at {step}" in ended.value["error"]["message"]
    at_rest(place, old)
    assert place.kept() == kept


def test_a_rollback_goes_to_the_release_before_without_its_media(place: Place) -> None:
    old = place.serving()
    assert place.install(place.next_version()).code == 0
    ended = place.run("rollback")
    assert (ended.value["result"], ended.value["version"]) == ("rolled-back", old)
    at_rest(place, old)


@pytest.mark.parametrize("step", ["start", "switch"])
def test_an_upgrade_that_was_killed_is_finished_by_the_next_run(place: Place, step: str) -> None:
    old, version = place.serving(), place.next_version()
    place.killed_at(step, "install", str(place.kit(version)))
    assert place.door() in (old, version)
    assert place.install(version).value["result"] in ("installed", "unchanged")
    at_rest(place, version)


def test_a_killed_upgrade_is_taken_back_when_a_rollback_is_asked_for_and_no_further(place: Place) -> None:
    old = place.serving()
    place.killed_at("start", "install", str(place.kit(place.next_version())))
    assert place.run("rollback").value["version"] == old
    at_rest(place, old)


def test_a_rollback_that_was_killed_past_its_switch_is_finished_and_does_not_go_forward_again(place: Place) -> None:
    old = place.serving()
    assert place.install(place.next_version()).code == 0
    place.killed_at("switch", "rollback")
    assert place.run("rollback").value["version"] == old
    at_rest(place, old)


def test_a_removal_that_was_killed_goes_on_and_leaves_nothing(place: Place) -> None:
    place.serving()
    place.killed_at("down", "remove")
    assert place.run("remove").code == 0
    assert (place.door(), place.running(), place.kept()) == (None, set(), set())
    assert load_state(place.state).products == {}
    assert place.run("remove").error == "not-initialised"
