"""Kills the site program at every point of a scenario, and lets it run again: ``python -m tests.torture.campaign``.

One warm process forks a child for each run. A child dies by SIGKILL at its point; the next one runs the same command.
"""

from __future__ import annotations

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
from pathlib import Path
from typing import Any, Final

from installer import rendering
from installer import upgrade as verbs
from installer.journal import Journal
from installer.state import load_state
from installer.truststore import provision
from tests.contract import program
from tests.contract.editions import Vendor
from tests.torture.points import Points, die, watched
from tests.torture.rest import Picture, served, unrest

PRODUCT: Final = "board"


@dataclass(frozen=True)
class Scenario:
    """``before`` are the commands that lead there, ``command`` the one that is killed.

    ``old`` and ``new`` are the versions that serve before and after it; ``code`` is how it ends when nobody kills it.
    ``mixed``: both may be at the door while it works.
    """

    name: str
    before: tuple[tuple[str, ...], ...]
    command: tuple[str, ...]
    old: str | None
    new: str | None
    code: int = 0
    strategy: str = "blue-green"
    mixed: bool = False


_FIRST: Final = (("install", "1.0.0"),)
_BOTH: Final = (*_FIRST, ("install", "1.1.0"))

SCENARIOS: Final = {
    one.name: one
    for one in (
        Scenario("first-install", (), ("install", "1.0.0"), None, "1.0.0"),
        Scenario("first-install-fails", (), ("install", "1.0.0", "mute"), None, None, code=10),
        Scenario("blue-green", _FIRST, ("install", "1.1.0"), "1.0.0", "1.1.0"),
        Scenario("blue-green-fails", _FIRST, ("install", "1.1.0", "mute-outside"), "1.0.0", "1.0.0", code=10),
        Scenario("rolling", _FIRST, ("install", "1.1.0"), "1.0.0", "1.1.0", strategy="rolling", mixed=True),
        Scenario(
            "rolling-fails",
            _FIRST,
            ("install", "1.1.0", "mute-outside"),
            "1.0.0",
            "1.0.0",
            code=10,
            strategy="rolling",
            mixed=True,
        ),
        Scenario("rollback", _BOTH, ("rollback",), "1.1.0", "1.0.0"),
        Scenario("remove", _BOTH, ("remove", PRODUCT), "1.1.0", None),
    )
}


@dataclass
class Report:
    """What a campaign found. ``points`` are the names of those that were really hit."""

    points: list[str] = field(default_factory=list)
    again: int = 0
    problems: list[str] = field(default_factory=list)


class Campaign:
    """One scenario below ``root``: a site, a picture of how it was before, and how it must be after."""

    def __init__(self, scenario: Scenario, root: Path) -> None:
        self.scenario = scenario
        self.site, self._kept = root / "site", root / "kept"
        self.log = root / "log"
        self._vendor = Vendor(root / "vendor")
        self.state = program.settle(self.site, scenario.strategy)
        provision(self.state, *self._vendor.root())
        for words in (*scenario.before, scenario.command):
            self._words(words)  # builds the media
        _remember_what_is_pure()
        for words in scenario.before:
            self._must(self._here(words, Points()), 0)
        self._keep(self._kept)
        counted = Points()
        self._must(self._here(scenario.command, counted), scenario.code)
        self.names = counted.names
        assert threading.active_count() == 1  # children are forked from here
        self.reference = Picture.of(self.state)
        assert not (found := unrest(self.state)), found

    # One run in a child

    def run(self, words: Sequence[str], points: Callable[[int], Points] | None = None) -> int:
        """Run a command in a child; its exit code, or minus the signal that ended it. Names go to the log's pipe."""
        code, _ = self.told(words, points)
        return code

    def told(self, words: Sequence[str], points: Callable[[int], Points] | None = None) -> tuple[int, bytes]:
        """The same, with what the child told through the pipe whose end ``points`` was given."""
        arguments = self._words(words)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            self._in_child(arguments, points(writer) if points else None, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status), said

    def _in_child(self, arguments: Sequence[str], points: Points | None, writer: int) -> None:
        code = 99
        try:
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if points is None:
                code = program.main(arguments)
            else:
                with watched(points):
                    code = program.main(arguments)
                if points.strike is None:
                    os.write(writer, json.dumps(points.names).encode())
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
        names: list[str] = json.loads(said)
        for second in sorted(chance.sample(range(len(names)), min(share, len(names)))):
            self._put_back(between)
            found = [] if self.kill(second) == names[second] else ["another point was hit"]
            found += self.amid()
            found += self.converges()
            yield [f"{self.scenario.name} killed at {number}, then {names[second]}: {one}" for one in found]

    def amid(self) -> list[str]:
        """Right after a kill: old or new, never nothing, and one of them, unless both may be there."""
        seen = served(self.state, PRODUCT)
        fine = [frozenset({one} - {None}) for one in (self.scenario.old, self.scenario.new)]
        if self.scenario.mixed:
            fine.append(frozenset({"1.0.0", "1.1.0"}))
        if self.scenario.code:
            fine.append(frozenset({self.scenario.command[1]}))  # it served until it was found to fail
        return [] if seen in fine else [f"right after the kill {set(seen)} serves"]

    def converges(self) -> list[str]:
        """Run the same again: the end must be what it is without a kill, byte for byte."""
        if not self._is_over():
            code = self.run(self.scenario.command)
            if code not in (self.scenario.code, 2 if self.scenario.command[0] == "remove" else 0):
                return [f"the next run ended with {code}: {self.log.read_text()[-600:]}"]
        return [*unrest(self.state), *Picture.of(self.state).differs(self.reference)]

    def _is_over(self) -> bool:
        """Whether the command had come to its very end, so that a second rollback would be another one."""
        product = load_state(self.state).products.get(PRODUCT)
        version = product.current.version if product and product.current else None
        over = Journal(self.state).unfinished() is None
        return self.scenario.command[0] == "rollback" and over and version == self.scenario.new

    # Files

    def _words(self, words: Sequence[str]) -> list[str]:
        verb, *rest = words
        if verb == "install":
            rest = [str(self._vendor.kit(rest[0], fault="".join(rest[1:]), store=rest[0]))]
        return ["--quiet", verb, str(self.state), *rest]

    def _keep(self, place: Path) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.site, place)

    def _put_back(self, place: Path) -> None:
        shutil.rmtree(self.site)
        shutil.copytree(place, self.site)

    def _must(self, code: int, wanted: int) -> None:
        assert code == wanted, f"{code} instead of {wanted}: {self.log.read_text()}"


def _remember_what_is_pure() -> None:
    """Rendering is pure and half of a run's time: children find in memory what was made once."""
    made: dict[object, Any] = {}
    real = rendering.render_release

    def render(release: Any, site: Any, state_dir: Path, *rest: Any) -> Any:
        key = (release.digest, str(state_dir), rest[0])
        if key not in made:
            made[key] = real(release, site, state_dir, *rest)
        return made[key]

    setattr(verbs, "render_release", render)  # noqa: B010 - it is not one of its own names


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


def main(words: Sequence[str]) -> int:
    """``NAME SEED FIRST STEP SECONDS``: every STEP-th point from FIRST; then that many second kills."""
    name, seed, first, step, second = words[0], *map(int, words[1:])
    report, chance = Report(), random.Random(seed)
    with campaign(name) as one:
        for number in range(first, len(one.names), step):
            report.problems += one.once(number)
            report.points.append(one.names[number])
        while report.again < second:
            number = chance.randrange(len(one.names))
            for found in one.twice(number, chance, 8):
                report.problems += found
                report.again += 1
        json.dump(asdict(report) | {"all": one.names}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
