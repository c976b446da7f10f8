"""The targets that the contract is tried on: one kept in files, and Docker Compose. Later ones join here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from installer.state.journal import Journal
from installer.trust.store import provision
from tests.contract import program
from tests.contract.door import FileDoor
from tests.contract.driver import world_of
from tests.contract.editions import Vendor as FileVendor
from tests.e2e.site.host import Site
from tests.e2e.site.vendor import Edition, Vendor

REPOSITORY: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """How a run of the program ended, and what it said as JSON."""

    code: int
    value: dict[str, Any]

    @property
    def error(self) -> str:
        """The id of its error, empty where there was none."""
        return str(self.value.get("error", {}).get("id", ""))


class Place(ABC):
    """A site on one kind of target, with releases of one product, ``board``. Versions only grow.

    ``fault``: ``unhealthy`` never gets healthy, ``mute`` gives the wrong answer to the smoke question.
    """

    state: Path
    _made = 0

    @abstractmethod
    def kit(self, version: str, fault: str = "") -> Path:
        """The media folder of a release."""

    @abstractmethod
    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start the program: ``install MEDIA``, ``rollback``, ``remove``; with ``--json`` it says one object."""

    @abstractmethod
    def door(self) -> str | None:
        """The version that people get; None where nobody serves."""

    @abstractmethod
    def running(self) -> set[tuple[str, str]]:
        """Part and version of every container of a colour."""

    @abstractmethod
    def kept(self) -> set[str]:
        """Everything else of the product on the target: networks, stateful services, volumes."""

    def next_version(self) -> str:
        """Higher than all before."""
        type(self)._made += 1
        return f"1.{type(self)._made}.0"

    def run(self, *words: str) -> Ended:
        """Run the program to its end."""
        process = self.start(*words, "--json")
        out, err = process.communicate(timeout=300)
        assert out.strip(), err
        return Ended(process.returncode, json.loads(out))

    def install(self, version: str, fault: str = "", *options: str) -> Ended:
        return self.run("install", str(self.kit(version, fault)), *options)

    def serving(self) -> str:
        """The version that serves; a first one is installed where none does."""
        if self.door() is None:
            ended = self.install(self.next_version())
            assert ended.code == 0, ended
        return self.door() or ""

    def killed_at(self, step: str, *words: str) -> str:
        """Run the program and kill it as soon as a step begins; returns the step in which it died."""
        journal = Journal(self.state)
        size = len(journal.entries())
        process = self.start(*words)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if any(entry.event == "step-begin" and entry.step.startswith(step) for entry in journal.entries()[size:]):
                break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return self.died(process)

    def died(self, process: subprocess.Popen[str]) -> str:
        """It must have been killed in the middle of a run; the step."""
        assert process.returncode == -signal.SIGKILL
        run = Journal(self.state).unfinished()
        assert run is not None
        return run.begun[-1]


class FilePlace(Place):
    """Kept in files."""

    def __init__(self, folder: Path) -> None:
        self.state = program.settle(folder / "site")
        self._vendor = FileVendor(folder / "vendor")
        provision(self.state, *self._vendor.root())

    def kit(self, version: str, fault: str = "") -> Path:
        return self._vendor.kit(version, fault=fault)

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        verb, *rest = words
        return subprocess.Popen(
            [sys.executable, "-m", "tests.contract.program", verb, str(self.state), *rest],
            cwd=REPOSITORY,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def killed_at(self, step: str, *words: str) -> str:
        """On files a run is over before anybody can strike it: it does so itself."""
        process = self.start(*words, **{program.KILL_AT: step})
        process.communicate(timeout=300)
        return self.died(process)

    def door(self) -> str | None:
        versions = FileDoor(world_of(self.state)).versions("board")
        assert len(versions) <= 1
        return next(iter(versions), None)

    def running(self) -> set[tuple[str, str]]:
        seen = world_of(self.state).observe("board").replicas
        return {(one.part, one.version) for one in seen if one.part != "base"}

    def kept(self) -> set[str]:
        world = world_of(self.state)
        nets = {net.name for net in world.observe("board").networks}
        base = {one.container for one in world.observe("board").replicas if one.part == "base"}
        return nets | base | {path.name for path in (world.root / "volumes").glob("board*")}


class ComposePlace(Place):
    """Docker Compose on the real engine."""

    def __init__(self, site: Site, vendor: Vendor) -> None:
        self._site, self._vendor, self.state = site, vendor, site.state
        site.trust(vendor)

    def kit(self, version: str, fault: str = "") -> Path:
        broken = {"unhealthy": {"command": "exit 3"}, "mute": {"ready": False}, "": {}}[fault]
        return self._vendor.kit(Edition(version, edge=True, **broken))  # type: ignore[arg-type]

    def start(self, *words: str) -> subprocess.Popen[str]:
        verb, *rest = words
        return self._site.start(verb, *(["--yes", "--volumes"] if verb == "remove" else []), *rest)

    def door(self) -> str | None:
        answer = self._site.door()
        return answer if "." in answer else None

    def running(self) -> set[tuple[str, str]]:
        from installer.targets import labels

        marks = [item["Labels"] for item in self._site.containers() if labels.VERSION in item["Labels"]]
        return {(mark[labels.PART], mark[labels.VERSION]) for mark in marks}

    def kept(self) -> set[str]:
        seen = self._site.snapshot()
        return {*seen.networks, *seen.volumes}
