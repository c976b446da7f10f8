"""Kills the site program at every point of a scenario, and lets it run again: ``python -m tests.torture.campaign``.

One warm process forks a child for each run. A child dies by SIGKILL at its point; the next one runs the same command.
"""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from installer import execute
from installer import upgrade as verbs
from installer.bundle import rootfile, roots
from installer.bundle.release import Release
from installer.performers import frontdoor
from installer.site import rendering, site
from installer.state.journal import Journal
from installer.trust.store import load_policy, provision
from tests.contract import program
from tests.contract.editions import Vendor
from tests.torture.points import Points, die, watched
from tests.torture.rest import Picture, fingerprint, served, unrest

PRODUCT: Final = "board"


@dataclass(frozen=True)
class Scenario:
    """``before`` are the commands that lead there, ``command`` the one that is killed.

    ``old`` and ``new`` are the versions that serve before and after it; ``code`` is how it ends when nobody kills it.
    ``mixed``: both may be at the door while it works. ``keep``: how many releases the site keeps.
    ``between`` serves for a while on the way.
    Of a release, words besides its version are ``fault=…``, ``edge=…`` (its version) and ``signer=…``: ``new`` is the
    key that the second root names, and such media carry that root.
    """

    name: str
    before: tuple[tuple[str, ...], ...]
    command: tuple[str, ...]
    old: str | None
    new: str | None
    code: int = 0
    strategy: str = "blue-green"
    mixed: bool = False
    keep: int = 2
    between: str = ""


_FIRST: Final = (("install", "1.0.0"),)
_BOTH: Final = (*_FIRST, ("install", "1.1.0"))
_THREE: Final = (*_BOTH, ("install", "1.2.0"))

SCENARIOS: Final = {
    one.name: one
    for one in (
        Scenario("first-install", (), ("install", "1.0.0"), None, "1.0.0"),
        Scenario("first-install-fails", (), ("install", "1.0.0", "fault=mute"), None, None, code=10),
        Scenario("blue-green", _FIRST, ("install", "1.1.0"), "1.0.0", "1.1.0"),
        Scenario("blue-green-fails", _FIRST, ("install", "1.1.0", "fault=mute-outside"), "1.0.0", "1.0.0", code=10),
        Scenario("rolling", _FIRST, ("install", "1.1.0"), "1.0.0", "1.1.0", strategy="rolling", mixed=True),
        Scenario(
            "rolling-fails",
            _FIRST,
            ("install", "1.1.0", "fault=mute-outside"),
            "1.0.0",
            "1.0.0",
            code=10,
            strategy="rolling",
            mixed=True,
        ),
        Scenario("rollback", (*_THREE, ("prune", "1"), ("prune-engine",)), ("rollback",), "1.2.0", "1.1.0", keep=3),
        Scenario("stage", _FIRST, ("stage", "1.1.0"), "1.0.0", "1.0.0"),
        Scenario("unstage", (*_FIRST, ("stage", "1.1.0")), ("unstage",), "1.0.0", "1.0.0"),
        Scenario("switch", (*_FIRST, ("stage", "1.1.0")), ("switch",), "1.0.0", "1.1.0"),
        Scenario("trial", (*_FIRST, ("stage", "1.1.0")), ("switch", "3600"), "1.0.0", "1.1.0"),
        Scenario("confirm", (*_FIRST, ("stage", "1.1.0"), ("switch", "3600")), ("confirm",), "1.1.0", "1.1.0"),
        Scenario("confirm-time-out", (*_FIRST, ("stage", "1.1.0"), ("switch", "0.001")), ("expire",), "1.1.0", "1.0.0"),
        Scenario("edge-upgrade", _FIRST, ("install", "1.1.0", "edge=2"), "1.0.0", "1.1.0"),
        Scenario("trust-rotation", _FIRST, ("install", "1.1.0", "signer=new"), "1.0.0", "1.1.0"),
        Scenario("trust-update", _FIRST, ("trust-update",), "1.0.0", "1.0.0"),
        Scenario("prune", _THREE, ("prune", "1"), "1.2.0", "1.2.0", keep=3),
        Scenario("journey", _FIRST, ("journey", "1.1.0", "1.2.0"), "1.0.0", "1.2.0", between="1.1.0"),
        Scenario("remove", _BOTH, ("remove", PRODUCT), "1.1.0", None),
    )
}


@dataclass
class Report:
    """What a campaign found. ``all`` names every point of the command; ``points`` are those that were really hit."""

    all: list[str] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    again: int = 0
    problems: list[str] = field(default_factory=list)


class Campaign:
    """One scenario below ``root``: a site, a picture of how it was before, and how it must be after."""

    def __init__(self, scenario: Scenario, root: Path) -> None:
        self.scenario = scenario
        self.site, self._kept = root / "site", root / "kept"
        self.log = root / "log"
        self._vendor = Vendor(root / "vendor")
        self.state = program.settle(self.site, scenario.strategy, scenario.keep)
        provision(self.state, *self._vendor.root())
        for words in (*scenario.before, scenario.command):
            self._words(words)  # builds the media
        _remember_what_is_pure()
        for words in scenario.before:
            self._must(self._here(words, Points()), 0)
        self._keep(self._kept)
        self._runs = len(Journal(self.state).runs())
        self._roots = {load_policy(self.state).root_version}
        counted, seen = self._looking()
        self._must(self._here(scenario.command, counted), scenario.code)
        assert not (found := self._strange(seen)), found
        self.names = counted.names
        assert threading.active_count() == 1  # children are forked from here
        gc.freeze()  # else each child copies every page that its collector looks at
        self._roots.add(load_policy(self.state).root_version)
        self.reference = Picture.of(self.state)
        assert not (found := unrest(self.state)), found
        self.proved: set[str] = set()

    # One run in a child

    def told(self, words: Sequence[str], points: Callable[[int], Points]) -> tuple[int, bytes]:
        """Run a command in a child: its exit code, or minus the signal that ended it, and what it told.

        ``points`` is given the end of a pipe to tell through; points that kill nobody tell names, and what was seen.
        """
        arguments = self._words(words)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            self._in_child(arguments, points(writer), writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status), said

    def _in_child(self, arguments: Sequence[str], points: Points, writer: int) -> None:
        code, seen = 99, set[frozenset[str]]()
        if points.strike is None:
            points.look = lambda: seen.add(served(self.state, PRODUCT))
        try:
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            with watched(points):
                code = program.main(arguments)
            if points.strike is None:
                os.write(writer, json.dumps([points.names, sorted(map(sorted, seen))]).encode())
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)

    def _here(self, words: Sequence[str], points: Points) -> int:
        """Run a command in this process, which stays warm for its children."""
        with self.log.open("w") as log, redirect_stdout(log), redirect_stderr(log), watched(points):
            return program.main(self._words(words))

    # Killing

    def kill(self, number: int) -> str:
        """Run the command and kill it at a point; the name that it told."""
        code, said = self.told(self.scenario.command, lambda writer: Points(die(writer), lambda n: n == number))
        assert code == -signal.SIGKILL, f"point {number} was not hit: {code} {self.log.read_text()}"
        return said.decode()

    def restore(self) -> None:
        """The site as it was before the command."""
        self._put_back(self._kept)

    def once(self, number: int) -> list[str]:
        """Kill at a point, look, run again, look; what is wrong."""
        self.restore()
        name = self.kill(number)
        found = [] if name == self.names[number] else [f"it says {name}"]
        found += self.amid()
        found += self.converges()
        return [f"{self.scenario.name} killed at {number} ({self.names[number]}): {one}" for one in found]

    def twice(self, number: int, chance: random.Random, share: int) -> Iterator[list[str]]:
        """Kill at a point, then at ``share`` points of the run that follows, each time from the same disk."""
        self.restore()
        self.kill(number)
        between = self._kept.with_name("between")
        self._keep(between)
        if self._is_over():
            return
        _, said = self.told(self.scenario.command, lambda _: Points())
        names: list[str] = json.loads(said)[0]
        for second in sorted(chance.sample(range(len(names)), min(share, len(names)))):
            self._put_back(between)
            found = [] if self.kill(second) == names[second] else ["another point was hit"]
            found += self.amid()
            found += self.converges()
            yield [f"{self.scenario.name} killed at {number}, then {names[second]}: {one}" for one in found]

    def amid(self) -> list[str]:
        """Right after a kill: old or new, never nothing, and one of them, unless both may be there; whole trust."""
        found = self._strange({served(self.state, PRODUCT)})
        version = load_policy(self.state).root_version
        found += [] if version in self._roots else [f"root {version} is in force"]
        return [f"right after the kill: {one}" for one in found]

    def _strange(self, seen: set[frozenset[str]]) -> list[str]:
        """What must not be at the front door at any moment."""
        fine = [frozenset({one} - {None}) for one in (self.scenario.old, self.scenario.new)]
        if self.scenario.between:
            fine.append(frozenset({self.scenario.between}))
        if self.scenario.mixed:
            fine.append(frozenset({"1.0.0", "1.1.0"}))
        if self.scenario.code:
            fine.append(frozenset({self.scenario.command[1]}))  # it served until it was found to fail
        return [f"{sorted(one) or 'nothing'} serves" for one in seen if one not in fine]

    def _looking(self) -> tuple[Points, set[frozenset[str]]]:
        """Points that kill nobody, and what is at the front door meanwhile."""
        seen: set[frozenset[str]] = set()
        return Points(look=lambda: seen.add(served(self.state, PRODUCT))), seen

    def converges(self) -> list[str]:
        """Run the same again: the end must be what it is without a kill, byte for byte.

        Many points leave the same files, times aside (before a sync, before a rename): from each it runs once.
        """
        found: list[str] = []
        if (left := fingerprint(self.site)) in self.proved:
            return found
        if not self._is_over():
            code, said = self.told(self.scenario.command, lambda _: Points())
            found = [f"meanwhile {one}" for one in self._strange({frozenset(one) for one in json.loads(said)[1]})]
            if code not in (self.scenario.code, 2 if self.scenario.command[0] == "remove" else 0):
                return [f"the next run ended with {code}: {self.log.read_text()[-600:]}"]
        found += [*unrest(self.state), *Picture.of(self.state).differs(self.reference)]
        self.proved |= set() if found else {left}
        return found

    def _is_over(self) -> bool:
        """Whether the command had come to its very end, and is one that would do something else a second time."""
        runs = Journal(self.state).runs()
        ended = len(runs) > self._runs and runs[-1].outcome == "done"
        return ended and self.scenario.command[0] in ("rollback", "confirm", "unstage", "switch")

    # Files

    def _words(self, words: Sequence[str]) -> list[str]:
        verb, *rest = words
        if verb in ("install", "stage"):
            version, *more = rest
            store = version if verb == "install" else "1.0.0"  # what changes stateful services can't be staged
            edition: dict[str, Any] = {"store": store} | dict(word.split("=") for word in more)
            if "signer" in edition:
                edition["roots"] = (self._vendor.second_root(edition["signer"]),)
            rest = [str(self._vendor.kit(version, **edition))]
        if verb == "journey":
            verb, rest = "install", [str(self._vendor.journey(*rest))]
        if verb == "trust-update":
            rest = [str(self._vendor.second_root("new"))]
        return ["--quiet", verb, str(self.state), *rest]

    def _keep(self, place: Path) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.site, place, copy_function=_copy)

    def _put_back(self, place: Path) -> None:
        shutil.rmtree(self.site)
        shutil.copytree(place, self.site, copy_function=_copy)

    def _must(self, code: int, wanted: int) -> None:
        assert code == wanted, f"{code} instead of {wanted}: {self.log.read_text()}"


def _copy(source: str, target: str) -> str:
    """By another name for the same bytes, where nobody changes them in place: only journal and lock are written to."""
    if source.endswith((".jsonl", "/lock")):
        return shutil.copyfile(source, target)
    os.link(source, target)
    return target


def _remember_what_is_pure() -> None:
    """Reading and rendering are pure, and most of a run's time: children find in memory what was made once."""
    made: dict[object, Any] = {}
    real = rendering.render_release

    def render(release: Any, site: Any, state_dir: Path, *rest: Any) -> Any:
        key = (release.digest, str(state_dir), rest[0])
        if key not in made:
            made[key] = real(release, site, state_dir, *rest)
        return made[key]

    setattr(execute, "PATIENCE", ())  # noqa: B010 - nothing on files comes back by itself
    setattr(frontdoor, "_AWAY", 0.0)  # noqa: B010
    setattr(verbs, "render_release", render)  # noqa: B010 - it is not one of its own names
    for module, name in ((rootfile, "read_root"), (roots, "read_root"), (site, "parse_site"), (Release, "parse")):
        setattr(module, name, staticmethod(lru_cache(getattr(module, name))))


@contextmanager
def campaign(name: str) -> Iterator[Campaign]:
    """A campaign in memory where the machine has room for files there."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="sealift-torture-", dir=place))
    try:
        yield Campaign(SCENARIOS[name], folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def chosen(names: Sequence[str], wanted: int, chance: random.Random) -> list[int]:
    """Every transition (both sides of each journal line, action and check), and a seeded share of what is between."""
    transitions = [number for number, name in enumerate(names) if name.endswith((": before", ": after"))]
    between = sorted(set(range(len(names))) - set(transitions))
    return sorted({*transitions, *chance.sample(between, max(0, min(wanted - len(transitions), len(between))))})


def main(words: Sequence[str]) -> int:
    """``NAME SEED WANTED AGAIN [SHARD OF]``: about WANTED points, and AGAIN second kills; the report as JSON."""
    name, (seed, wanted, again, shard, of) = words[0], [*map(int, words[1:]), 0, 1][:5]
    report, chance = Report(), random.Random(seed)
    with campaign(name) as one:
        report.all = one.names
        for number in chosen(one.names, wanted, chance)[shard::of]:
            report.problems += one.once(number)
            report.points.append(number)
        chance.seed(f"{seed} {shard}")
        while report.again < again // of:
            for found in one.twice(chance.randrange(len(one.names)), chance, 8):
                report.problems += found
                report.again += 1
    json.dump(asdict(report), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
