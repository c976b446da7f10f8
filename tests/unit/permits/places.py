"""Sites on a target kept in files, where the whole program runs in hundredths of a second."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from installer.performers.host import Incoming
from installer.plan.actions import Action
from installer.plan.checks import Check
from installer.report import Outcome
from installer.state.state import SiteState, load_state
from installer.talk import Talk
from installer.trust.sitekey import site_fingerprint
from installer.upgrade import Request, upgrade
from tests.contract.driver import FileDriver, FilePerformer, file_host
from tests.contract.editions import Vendor
from tests.torture.rest import served
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

    def follow(self, channel: str) -> None:
        """What the site decides in site.yaml."""
        place = self.state.parent / "site.yaml"
        place.write_text(re.sub("^channel: .*$", f"channel: {channel}", place.read_text(), flags=re.MULTILINE))

    def says(self) -> tuple[Any, ...]:
        """What a failure must leave alone."""
        state: SiteState = load_state(self.state)
        return state.products, state.departed, state.permits, state.floor

    def served(self) -> frozenset[str]:
        return served(self.state, "board")

    def permit(self, to: str, signer: str = "release", coming_from: str = "", **more: Any) -> Path:
        """A permit from what serves; who signs releases may permit, where the root says nothing else."""
        from datetime import UTC, datetime

        from bundler.trust.permit import Wish, make_permit, write_permit

        current = load_state(self.state).products["board"].current
        assert current is not None
        wish = Wish(coming_from or current.digest, str(self.vendor.kit(to, **more)), str(site_fingerprint(self.state)))
        out = self.state.parent / "down.permit.json"
        write_permit(make_permit(wish, datetime.now(UTC)), out, [key(signer)])
        return out
