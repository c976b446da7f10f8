"""The whole program on a target kept in files: what failures and kills at any action leave of marks, floor, permits."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from installer.actions import Action
from installer.checks import Check
from installer.errors import SealiftError
from installer.journal import Journal
from installer.performers.host import Incoming
from installer.report import Outcome
from installer.site import load_site
from installer.sitekey import site_fingerprint
from installer.state import SiteState, load_state
from installer.talk import Talk
from installer.truststore import provision
from installer.upgrade import Request, rollback, upgrade
from tests.contract.driver import FileDriver, FilePerformer, file_host, world_of
from tests.contract.editions import Vendor
from tests.contract.program import settle
from tests.torture.rest import served, unrest
from tests.unit.trust.keys import key

QUIET = Talk(quiet=True)
Fault = Callable[[int, Callable[[], None]], None]
"""Is told the number of an action and how to do it."""


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


@dataclass(frozen=True)
class Faulty(FileDriver):
    """A target whose n-th action goes as ``fault`` says."""

    fault: Fault

    def performer(self, incoming: Incoming | None = None) -> Any:
        perform, fault, count = FilePerformer(self.host, incoming), self.fault, 0

        def act(action: Action | Check) -> None:
            nonlocal count
            count += 1
            fault(count, lambda: perform(action))

        return act


@dataclass(frozen=True)
class Place:
    """A state dir on files."""

    state: Path
    vendor: Vendor

    def restored(self) -> Place:
        """The site as it was: in its own place, for names derive from that."""
        site = self.state.parent
        shutil.rmtree(site)
        shutil.copytree(site.with_name("backup"), site, symlinks=True)
        return self

    def install(self, version: str, permit: Path | None = None, fault: Fault | None = None, **more: Any) -> Outcome:
        """What ``sealift install`` does."""

        @contextmanager
        def connect(*words: Any) -> Iterator[FileDriver]:
            with file_host(*words) as driver:
                yield Faulty(driver.host, fault) if fault else driver

        media = self.vendor.kit(version, **more)
        request = Request(self.state, self.state.parent / "site.yaml", media, permit=permit)
        return upgrade(request, QUIET, lambda _: True, connect)

    def says(self) -> tuple[Any, ...]:
        """What a failure must leave alone."""
        state: SiteState = load_state(self.state)
        return state.products, state.departed, state.permits, state.floor

    def served(self) -> frozenset[str]:
        return served(self.state, "board")

    def permit(self, to: str) -> Path:
        """A permit from what serves, by who signs releases too."""
        from datetime import UTC, datetime

        from bundler.permit import Wish, make_permit, write_permit

        current = load_state(self.state).products["board"].current
        assert current is not None
        wish = Wish(current.digest, str(self.vendor.kit(to)), str(site_fingerprint(self.state)))
        out = self.state.parent / "down.permit.json"
        write_permit(make_permit(wish, datetime.now(UTC)), out, [key("release")])
        return out


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A site on files where 1.1.0 serves, and 1.0.5 before it."""
    folder = tmp_path_factory.mktemp("flow")
    vendor = Vendor(folder / "vendor")
    place = Place(settle(folder / "site"), vendor)
    provision(place.state, *vendor.root())
    load_site(place.state.parent / "site.yaml")
    place.install("1.0.5")
    place.install("1.1.0")
    shutil.copytree(folder / "site", folder / "backup", symlinks=True)
    return place


@pytest.fixture
def base(lasting: Place) -> Place:
    """The same, as it was at first."""
    return lasting.restored()


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
        except OSError as error:
            assert error.errno == errno.ENOSPC
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
