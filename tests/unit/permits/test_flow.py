"""The whole program on a target kept in files: what failures and kills at any action leave of marks, floor, permits."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from installer.errors import SealiftError
from installer.state.journal import Journal
from installer.state.state import load_state
from installer.trust.permit import read_permit
from installer.trust.store import load_policy, provision
from installer.upgrade import rollback
from tests.contract.driver import file_host, world_of
from tests.contract.program import settle
from tests.torture.rest import unrest
from tests.unit.permits.places import QUIET, Fault, Killed, Place


def actions_of(run: Callable[[Fault], object]) -> int:
    """How many actions and checks a run consists of."""
    seen = 0

    def count(number: int, act: Callable[[], None]) -> None:
        nonlocal seen
        seen = number
        act()

    run(count)
    return seen


def test_failure_after_any_action_leaves_marks_floor_and_permits(base: Place) -> None:
    total = actions_of(lambda fault: base.install("1.0.0", base.permit("1.0.0"), fault))
    assert total > 20
    base.restored()
    before, serves = base.says(), base.served()
    for number in range(1, total + 1):
        place = base.restored()

        def fault(count: int, act: Callable[[], None], number: int = number) -> None:
            act()
            if count == number:  # counted on while it is taken back
                raise OSError(errno.ENOSPC, "no space left")

        try:
            outcome = place.install("1.0.0", place.permit("1.0.0"), fault)
            assert outcome.result == "rolled-back" and outcome.error is not None
        except SealiftError as error:
            assert error.id == "disk-full"
        assert place.says() == before, f"after action {number}"
        assert place.served() == serves


def test_kill_after_any_action_and_the_same_command_again_ends_with_the_permit_used_once(base: Place) -> None:
    total = actions_of(lambda fault: base.install("1.0.0", base.permit("1.0.0"), fault))
    for number in range(1, total + 1):
        place = base.restored()
        permit = place.permit("1.0.0")

        def fault(count: int, act: Callable[[], None], number: int = number) -> None:
            act()
            if count == number:
                raise Killed

        with pytest.raises(Killed):
            place.install("1.0.0", permit, fault)
        again = place.install("1.0.0", permit)
        assert again.result in ("installed", "unchanged"), f"after action {number}"
        assert (place.served(), unrest(place.state)) == (frozenset({"1.0.0"}), []), f"after action {number}"
        state = load_state(place.state)
        mark = state.products["board"].marks.product
        assert (len(state.permits), mark and mark.version) == (1, "1.0.0"), f"after action {number}"


def test_used_permit_is_kept_with_its_signatures_for_who_checks_it_later(base: Place) -> None:
    given = base.permit("1.0.0")
    base.install("1.0.0", given)
    (kept,) = (base.state / "permits").glob("*.permit.json")
    assert kept.read_bytes() == given.read_bytes()
    given.unlink()
    policy = load_policy(base.state)
    assert [signer.name for signer in read_permit(kept, policy).signers] == ["release"]
    base.install("1.1.0")
    with pytest.raises(SealiftError):
        base.install("1.0.0", kept)
    assert kept.exists()


def test_permit_that_was_given_back_is_not_kept(base: Place) -> None:
    def fault(count: int, act: Callable[[], None]) -> None:
        act()
        if count == 12:
            raise OSError(errno.ENOSPC, "no space left")

    outcome = base.install("1.0.0", base.permit("1.0.0"), fault)
    assert outcome.result == "rolled-back" and not (base.state / "permits").exists()


def test_replay_after_any_way_back_up_is_refused(base: Place) -> None:
    place = base
    permit = place.permit("1.0.0")
    place.install("1.0.0", permit)
    place.install("1.1.0")
    with pytest.raises(SealiftError) as caught:
        place.install("1.0.0", permit)
    assert caught.value.id == "permit-used" and place.served() == {"1.1.0"}
    place.install("1.2.0")
    with pytest.raises(SealiftError) as caught:
        place.install("1.0.0", permit)
    assert caught.value.id == "permit-other-from"


def test_first_install_that_fails_when_all_was_written_down_leaves_no_mark(base: Place, tmp_path: Path) -> None:
    place = Place(settle(tmp_path / "site"), base.vendor)
    provision(place.state, *base.vendor.root())
    probe = Place(settle(tmp_path / "probe"), base.vendor)
    provision(probe.state, *base.vendor.root())
    total = actions_of(lambda fault: probe.install("1.1.0", None, fault))

    def fault(count: int, act: Callable[[], None]) -> None:
        act()
        if count == total:
            raise OSError(errno.EIO, "broken")

    assert place.install("1.1.0", None, fault).result == "rolled-back"
    state = load_state(place.state)
    assert (state.products, state.floor, place.served()) == ({}, None, frozenset())
    assert place.install("1.0.0").result == "installed", "nothing was committed, so nothing is lower"


def test_rollback_raises_no_mark_and_needs_no_permit(base: Place) -> None:
    place = base
    before = load_state(place.state).products["board"].marks
    done = rollback(
        place.state, place.state.parent / "site.yaml", QUIET, to=None, product=None, dry_run=False, connect=file_host
    )
    assert (done.version, place.served()) == ("1.0.5", frozenset({"1.0.5"}))
    assert load_state(place.state).products["board"].marks == before
    assert place.install("1.0.5").result == "unchanged"
    assert Journal(place.state).unfinished() is None and world_of(place.state)


def test_changing_the_channel_in_the_site_file_is_no_way_down(base: Place) -> None:
    base.follow("hotfix")
    with pytest.raises(SealiftError) as caught:
        base.install("1.0.7", channel="hotfix")
    assert caught.value.id == "downgrade" and base.served() == {"1.1.0"}
    base.install("1.0.7", base.permit("1.0.7", channel="hotfix"), channel="hotfix")
    assert base.install("1.0.8", channel="hotfix").result == "installed", "the line goes on by itself"
    base.follow("stable")
    with pytest.raises(SealiftError) as caught:
        base.install("1.0.9")
    assert caught.value.id == "downgrade" and "1.1.0" in caught.value.message
    assert base.install("1.1.0").result == "installed"


def test_beginning_anew_that_fails_leaves_the_host_as_lost_as_it_was(base: Place) -> None:
    def lost() -> tuple[Place, Path]:
        place = base.restored()
        permit = place.permit("1.1.0", coming_from="lost")
        for path in place.state.glob("state.?"):
            path.unlink()
        shutil.rmtree(world_of(place.state).root)  # its containers were removed, as the page says
        return place, permit

    place, permit = lost()
    total = actions_of(lambda fault: place.install("1.1.0", permit, fault))
    assert place.install("1.2.0").result == "installed", "after a commit all is as ever"
    for number in range(1, total + 1):
        place, permit = lost()

        def fault(count: int, act: Callable[[], None], number: int = number) -> None:
            act()
            if count == number:
                raise SealiftError("edge-failed", "it broke", hint="mend it")

        try:
            assert place.install("1.1.0", permit, fault).result == "rolled-back"
        except SealiftError as error:
            assert error.id == "edge-failed"
        with pytest.raises(SealiftError) as caught:
            place.install("1.0.0")
        assert caught.value.id == "state-lost", f"after action {number}"
    assert place.install("1.1.0", permit).result == "installed", "given back, it may be used again"
