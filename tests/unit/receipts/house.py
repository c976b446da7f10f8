"""A vendor's store of releases, and a site on files that sends its receipt there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundler.delta.since import open_receipt
from bundler.media.waykit import WayKit, Wish, make_kit
from installer.journey import Journey, install
from installer.look.receipts import make_receipt
from installer.report import Outcome
from installer.state.state import load_state
from installer.talk import Talk
from installer.trust.store import provision
from installer.upgrade import Request
from tests.contract.driver import FileDriver, file_host
from tests.contract.editions import Vendor
from tests.contract.program import settle
from tests.torture.rest import served, unrest
from tests.unit.permits.places import Fault, Faulty

QUIET = Talk(quiet=True)
VERSIONS = {"1.0.0": "", "1.1.0": "", "1.2.0": ">=1.1", "2.0.0": ">=1.2", "2.1.0": ">=2.0"}
"""The way from 1.0.0 to 2.1.0 goes over all of them."""


@dataclass
class House:
    """Everything below ``folder``."""

    folder: Path
    store: Path = field(init=False)
    state: Path = field(init=False)
    vendor: Vendor = field(init=False)

    def __post_init__(self) -> None:
        self.store, self.vendor = self.folder / "store", Vendor(self.folder / "vendor")
        self.state = self.folder / "site/state"

    @classmethod
    def settle(cls, folder: Path, *running: str, **faults: str) -> House:
        """The site runs the last of ``running``; the store has every version; ``faults`` by version, v1_2_0."""
        house = cls(folder)
        settle(folder / "site")
        provision(house.state, *house.vendor.root())
        for version, over in VERSIONS.items():
            house.stock(version, upgrade_from=over, fault=faults.get(f"v{version.replace('.', '_')}", ""))
        for version in running:
            house.install(house.store / f"board-v{version}")
        return house

    def stock(self, version: str, **more: Any) -> Path:
        """Put a release into the store."""
        kit = self.vendor.kit(version, **more)
        shutil.copytree(kit, self.store / kit.name, dirs_exist_ok=True)
        return self.store / kit.name

    def receipt(self) -> Path:
        """What the courier carries back."""
        out = self.folder / "hall.receipt"
        make_receipt(self.state, self.folder / "site/site.yaml", out, QUIET, connect=file_host)
        return out

    def kit(self, version: str = "2.1.0", output: str = "media", **more: Any) -> WayKit:
        """The whole way on one medium."""
        signed = open_receipt(self.receipt(), None, QUIET)
        return make_kit(signed, Wish(version, self.store, self.folder / output, **more), QUIET)

    def install(self, media: Path, fault: Fault | None = None, **more: Any) -> Outcome | Journey:
        """What ``sealift install`` does."""

        @contextmanager
        def connect(*words: Any) -> Iterator[FileDriver]:
            with file_host(*words) as driver:
                yield Faulty(driver.host, fault) if fault else driver

        request = Request(self.state, self.folder / "site/site.yaml", media, **more)
        return install(request, QUIET, lambda _: True, connect)

    def walked(self, media: Path, **more: Any) -> list[str]:
        """The result of every step."""
        ended = self.install(media, **more)
        assert isinstance(ended, Journey)
        return [str(step["result"]) for step in ended.as_json()]

    def serving(self) -> str | None:
        """What people get; the site is at rest."""
        assert not (found := unrest(self.state)), found
        current = load_state(self.state).products["board"].current if load_state(self.state).products else None
        assert served(self.state, "board") == ({current.version} if current else frozenset())
        return current.version if current else None
