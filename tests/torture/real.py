"""Kills on real compose for as long as there is time: ``make torture MINUTES=30``. Seeded; goes on where it stopped.

Each round does one thing to a real site (an upgrade, a rollback, one that fails, a rolling one, a removal and a first
installation), and kills the program with SIGKILL at a random moment, as a random step begins, or while it recovers; or
it kills the ``docker`` process that the program waits for. Then the same command runs again, and the site must be
wholly old or wholly new: one version at the front door, one colour, nothing left over, nobody asked to mend anything.
One line of the results file is one kill; its number seeds the round, so that counts grow over days.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import docker

from installer.state.journal import Journal
from installer.targets import labels
from tests import claims
from tests.e2e.site import conftest as places
from tests.e2e.site.host import ABSENT, Site
from tests.e2e.site.vendor import Edition, Vendor

SEED: Final = 20261121
_HOWS: Final = ("moment", "step", "step", "step", "again", "child")
_SECONDS: Final = {"install": 6.0, "rolling": 9.0, "failing": 5.0, "rollback": 4.0, "remove": 2.5, "first": 8.0}
_LINES: Final = {"install": 26, "rolling": 34, "failing": 26, "rollback": 24, "remove": 12, "first": 28}
"""About how many lines each writes into the journal."""
_MUTE: Final = "exec /bin/busybox httpd -f -p 3000 -h /nowhere"


@dataclass
class Round:
    """One thing that is done to the site. ``fails``: the release is bad, so the old one must serve in the end."""

    what: str
    words: tuple[str, ...]
    old: str
    new: str
    fails: bool = False

    @property
    def fine(self) -> tuple[str, ...]:
        return (self.old, self.new)


class Torture:
    """A vendor, one site, and what was found so far in ``results``."""

    def __init__(self, root: Path, results: Path, seed: int) -> None:
        self._vendor = settle_vendor(root)
        self._engine = docker.from_env()
        self._results, self._seed = results, seed
        self.count = len(results.read_text().splitlines()) if results.exists() else 0
        self._made, self._back = 0, ""
        self.site = Site.make(self._engine, root / "site", claims.port_block(), places.free_subnet(self._engine))
        self.site.configure(timing={"health": "20s", "settle": "200ms", "bake": "200ms", "drain": "200ms"})
        self.site.trust(self._vendor)
        self.site.installed(self._kit(edge=True))

    def round(self) -> list[str]:
        """One kill and what follows; what is wrong, nothing if all is well. Written down in any case."""
        number = self.count
        chance = random.Random(f"{self._seed} {number}")
        task = self._task(chance)
        how = chance.choice(_HOWS)
        began = time.monotonic()
        where, found = self._killed(task, how, chance)
        found += self._settled(task)
        line = {"number": number, "what": task.what, "how": how, "where": where, "problems": found}
        line["kills"] = len([one for one in where if one])
        line |= {"seconds": round(time.monotonic() - began, 1), "commit": commit_of_the_sources()}
        with self._results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.count += 1
        return found

    # What is done

    def _task(self, chance: random.Random) -> Round:
        door = self.site.door()
        kinds = ["install", "rolling", "failing", *(["rollback"] * 3 if self._back else [])]
        kind = chance.choices([*kinds, "first", "remove"], [4.0] * len(kinds) + [1.0, 1.0])[0]
        if kind == "rollback":
            return Round(kind, ("rollback",), door, self._back)
        if kind == "remove":
            return Round(kind, ("remove", "--yes", "--volumes"), door, ABSENT)
        if kind == "first":
            self.site.done("remove", "--yes", "--volumes")
            kit, version = self._kit(edge=True), self._version
            return Round(kind, ("install", str(kit)), ABSENT, version)
        if kind == "failing":
            kit = self._kit(command=_MUTE)
            return Round(kind, ("install", str(kit)), door, door, fails=True)
        strategy = ("--strategy", "rolling" if kind == "rolling" else "blue-green")
        kit = self._kit()
        return Round(kind, ("install", str(kit), *strategy), door, self._version)

    @property
    def _version(self) -> str:
        return f"1.{self.count}.{self._made}"

    def _kit(self, **more: Any) -> Path:
        self._made += 1
        return self._vendor.kit(Edition(self._version, **more))

    # How it is killed

    def _killed(self, task: Round, how: str, chance: random.Random) -> tuple[list[str], list[str]]:
        """Where it died, once or twice (an empty name: it came to its end before), and what was wrong then."""
        where = [self._strike(task, how, chance)]
        found = self._amid(task)
        if how == "again" and where[0]:
            where.append(self._strike(task, "moment", chance))
            found += self._amid(task)
        return where, found

    def _strike(self, task: Round, how: str, chance: random.Random) -> str:
        """Start the command and end it, or its child; the step that was under way. Empty where nobody was killed."""
        journal = Journal(self.site.state).path
        size = journal.stat().st_size if journal.exists() else 0
        process = self.site.start(*task.words, "--json")
        drain = threading.Thread(target=process.communicate)
        drain.start()
        deadline = time.monotonic() + chance.uniform(0.1, _SECONDS[task.what])
        lines = chance.randrange(1, _LINES[task.what]) if how == "step" else 1 << 30
        late, struck = chance.uniform(0, 0.4), False
        while process.poll() is None and time.monotonic() < deadline + (30 if how == "step" else 0):
            if how == "step" and _lines(journal, size) >= lines:
                time.sleep(late)
                break
            if how == "child" and time.monotonic() > deadline - 3 and (struck := _kill_child(process.pid)):
                break
            time.sleep(0.002)
        if how != "child" and process.poll() is None:
            process.send_signal(signal.SIGKILL)
        drain.join(300)  # whose child was killed lives, and copes by itself
        if struck:
            return f"a child, and ended with {process.returncode}"
        run = Journal(self.site.state).unfinished()
        return (run.begun[-1] if run and run.begun else "between runs") if process.returncode == -9 else ""

    # What must hold

    def _amid(self, task: Round) -> list[str]:
        door = self.site.door()
        fine = (*task.fine, "503") if ABSENT in task.fine else task.fine
        return [] if door in fine else [f"right after the kill the door answers {door}, not one of {fine}"]

    def _settled(self, task: Round) -> list[str]:
        run, door = Journal(self.site.state).unfinished(), self.site.door()
        if task.what == "remove":
            return self._removed(task)
        if not (task.what == "rollback" and run is None and door == task.new):
            answer = self.site.sealift(*task.words)
            if answer.code != (10 if task.fails else 0):
                return [f"the next run ended with {answer.code}: {answer.value} {answer.talk[-500:]}"]
        found = [*self._unrest(task.new), *self._leftovers()]
        status = self.site.done("status")["products"][0]
        self._back = status["previous"] or ""
        return found + ([] if status["healthy"] and not status["pending"] else [f"status: {status}"])

    def _removed(self, task: Round) -> list[str]:
        """Nothing of it is there; then the site gets a first release for the rounds to come."""
        answer = self.site.sealift(*task.words)
        found = [] if answer.code in (0, 2) else [f"the next run ended with {answer.code}: {answer.value}"]
        left = [item["Names"] for item in self.site.containers()]
        found += [f"left over: {left}"] if left or self.site.door() != ABSENT else []
        self.site.installed(self._kit(edge=True))
        self._back = ""
        return found

    def _unrest(self, version: str) -> list[str]:
        status = self.site.done("status")["products"][0]
        found = [] if self.site.door() == version else [f"the door answers {self.site.door()}, not {version}"]
        found += [] if self.site.parts() == {status["active"]} else [f"containers of {self.site.parts()}"]
        mine = [item for item in self.site.containers() if labels.VERSION in item["Labels"]]
        versions = {item["Labels"][labels.VERSION] for item in mine}
        found += [] if versions == {version} else [f"containers of {versions}, not {version}"]
        return found + [f"{item['Names']} is {item['State']}" for item in mine if item["State"] != "running"]

    def _leftovers(self) -> list[str]:
        own = {"label": f"{labels.OWNER}={labels.owner(self.site.names)}"}
        networks = len(self._engine.api.networks(filters=own))
        drafts = [p for p in self.site.state.rglob("*") if p.name.endswith((".new", ".draft", ".tmp", ".old"))]
        found = [] if networks == 2 else [f"{networks} networks"]
        return found + [f"left over: {path}" for path in drafts if "registry/data" not in str(path)]


def settle_vendor(root: Path) -> Vendor:
    """The images of the site's own services are in the cache once they were built."""
    subprocess.run([Path(__file__).parents[2] / "manifests/edge/build"], check=True, capture_output=True)
    (root / "vendor").mkdir()
    return Vendor.settle(root / "vendor")


def _lines(journal: Path, start: int) -> int:
    if not journal.exists():
        return 0
    with journal.open("rb") as file:
        file.seek(start)
        return file.read().count(b"\n")


def _kill_child(parent: int) -> bool:
    """Kill one process that the program started, whatever it is doing; whether there was one."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    try:
        pids = [int(word) for word in children.read_text().split()]
    except FileNotFoundError:
        return False
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def commit_of_the_sources() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def main(minutes: float, results: Path, seed: int = SEED) -> int:
    """Go on for so many minutes; 1 where anything was wrong."""
    end, bad = time.monotonic() + minutes * 60, 0
    with tempfile.TemporaryDirectory(prefix="sealift-torture-") as folder:
        torture = Torture(Path(folder), results, seed)
        try:
            while time.monotonic() < end:
                found = torture.round()
                bad += bool(found)
                line = results.read_text().splitlines()[-1]
                print(line)
                sys.stdout.flush()
        finally:
            torture.site.leave()
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    wrong = [line["number"] for line in lines if line["problems"]]
    hit = [line["kills"] for line in lines if line["kills"]]
    print(f"{sum(hit)} kills in {len(hit)} runs on real compose so far; what ended badly: {wrong or 'nothing'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])))
