"""A site on files whose verbs run in this process: the quickest way to ask what a verb does."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from installer import sittings
from installer.pruning import Pruned, prune
from installer.removal import remove
from installer.report import Outcome
from installer.talk import Talk
from installer.trust.store import provision
from installer.upgrade import Request, rollback, upgrade
from tests.contract import program
from tests.contract.driver import file_host
from tests.contract.editions import Vendor


class FileSite:
    """``dry``: only show it."""

    def __init__(self, folder: Path) -> None:
        self.vendor = Vendor(folder / "vendor")
        self.state = program.settle(folder / "site", keep=9)
        self.file = self.state.parent / "site.yaml"
        self.talk = Talk(json=True, out=io.StringIO(), err=io.StringIO())
        provision(self.state, *self.vendor.root())

    def install(self, version: str, dry: bool = False, **more: Any) -> Outcome:
        request = Request(self.state, self.file, self.vendor.kit(version), dry_run=dry)
        return upgrade(replace(request, **more), self.talk, lambda _: True, file_host)

    def switch(self, dry: bool = False, within: float | None = None) -> Outcome:
        return sittings.switch(self.state, self.file, self.talk, None, within=within, dry_run=dry, connect=file_host)

    def rollback(self, dry: bool = False) -> Outcome:
        return rollback(self.state, self.file, self.talk, to=None, product=None, dry_run=dry, connect=file_host)

    def prune(self, dry: bool = False) -> Pruned:
        return prune(self.state, self.file, self.talk, None, keep=1, dry_run=dry, connect=file_host)

    def everything(self) -> dict[str, bytes]:
        """Every file, who holds the lock aside."""
        root = self.state.parent
        return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != "lock"}

    def confirm(self) -> Outcome:
        return sittings.confirm(self.state, self.file, self.talk, None, connect=file_host)

    def unstage(self) -> Outcome:
        return sittings.unstage(self.state, self.file, self.talk, None, connect=file_host)

    def expire(self) -> list[Outcome]:
        return sittings.expire(self.state, self.file, self.talk, connect=file_host)

    def remove(self) -> str:
        return remove(self.state, self.file, self.talk, None, volumes=False, connect=file_host)

    def back_up(self, place: Path) -> None:
        shutil.copytree(self.state, place)

    def restore(self, place: Path) -> None:
        """As somebody does who has no newer one."""
        shutil.rmtree(self.state)
        shutil.copytree(place, self.state)
