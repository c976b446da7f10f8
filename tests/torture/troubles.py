"""What can go wrong around an upgrade, in each of its phases, on a real engine: ``make troubles MINUTES=30``.

A cell is a phase and a trouble. As the phase begins the trouble strikes; the run must end with a code that is true, old
or new must serve once the engine is back, and the same command again must end as if nothing had happened. A power cut
takes the run with it. One line of the results file is one cell; those that are there are not tried again. Several sites
share the work (``HOUSES=2``), each with an engine of its own. The table: ``python -m tests.torture.troubles`` with a
results file alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from installer.edge.runtime import EdgeRuntime
from installer.state.journal import Journal
from installer.state.state import load_state
from tests.e2e.site.host import Site
from tests.e2e.site.vendor import Edition
from tests.torture.house import TROUBLES, House
from tests.torture.real import commit_of_the_sources, settle_vendor

PHASES: Final = {
    "blue-green": (
        *("load", "base", "start", "health", "preview", "smoke", "switch", "bake", "drain", "retire", "commit"),
    ),
    "rolling": (
        *("load", "base", "start-1", "health-1", "smoke-1", "shift-1", "watch-1", "drain-1", "stop-1"),
        *("start-2", "shift-2", "drain-2", "stop-2", "switch", "bake", "retire", "commit"),
    ),
}
_COMPOSE: Final = """\
services:
  board: {image: "{{ images.board }}", stop_grace_period: 0s}
  store:
    image: "{{ images.board }}"
    command: ["/bin/busybox", "sleep", "100000"]
    stop_grace_period: 0s
    environment: {EDITION: "VERSION"}
    volumes: ["data:/data"]
volumes: {data: {}}
"""
_SERVICES: Final = (
    "{board: {image: board, replicas: 2, health: {http: ':3000/status'}}, store: {image: board, state: shared}}"
)
_PREPARING: Final = ("load",)
"""Steps that keep their own error: nothing that runs was touched."""


class Matrix:
    """Cells on one house; what was found is in ``results``."""

    def __init__(self, root: Path, results: Path, shard: int = 0, of: int = 1) -> None:
        self._vendor = settle_vendor(root)
        self._results, self._shard, self._of = results, shard, of
        self.done = {(one["strategy"], one["phase"], one["trouble"]) for one in read(results)}
        self._made = len(self.done)
        self.house = House.build(root)
        try:
            self.site.trust(self._vendor)
            self.site.installed(self._kit(edge=True))
        except BaseException:
            self.house.pull_down()
            raise

    @property
    def site(self) -> Site:
        return self.house.site

    def cells(self) -> Iterator[tuple[str, str, str]]:
        """Those that are not done, and are this site's share."""
        left = [
            (strategy, phase, trouble)
            for trouble in TROUBLES
            for strategy, phases in PHASES.items()
            for phase in phases
            if (strategy, phase, trouble) not in self.done
        ]
        yield from left[self._shard :: self._of]

    def cell(self, strategy: str, phase: str, trouble: str) -> dict[str, Any]:
        """Try one; what came of it."""
        began, old, kit = time.monotonic(), self.site.door(), self._kit()
        new = self._version
        process = self.house.run = self.site.start("install", str(kit), "--strategy", strategy, "--json")
        where = self._reached(process, phase)
        mend = TROUBLES[trouble](self.house) if where else None
        out, err = process.communicate(timeout=300)
        said = json.loads(out or "{}")
        if mend:
            mend()
        found = [] if where else [f"{phase} was never reached: {said}"]
        found += self._judged(process.returncode, said, old, new)
        found += self._agree()
        found += self._converges(kit, strategy, new)
        line = {"strategy": strategy, "phase": phase, "trouble": trouble, "struck": bool(mend), "where": where}
        line |= {"code": process.returncode, "problems": found, "talk": err[-1500:] if found else ""}
        line |= {"seconds": round(time.monotonic() - began, 1), "commit": commit_of_the_sources()}
        with self._results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return line

    @property
    def _version(self) -> str:
        return f"1.{self._made}.0"

    def _kit(self, **more: Any) -> Path:
        self._made += 1
        compose = _COMPOSE.replace("VERSION", self._version)
        return self._vendor.kit(Edition(self._version, compose=compose, services=_SERVICES, **more))

    def _reached(self, process: subprocess.Popen[str], phase: str) -> str:
        """Wait until the phase begins; the step that was under way a moment later."""
        journal = Journal(self.site.state)
        while process.poll() is None:
            run = journal.unfinished()
            begun = run.begun if run else ()
            if any(step == phase or (step.startswith(f"{phase}-") and "-" not in phase) for step in begun):
                return begun[-1]
            time.sleep(0.003)
        return ""

    def _judged(self, code: int, said: dict[str, Any], old: str, new: str) -> list[str]:
        """Whether the exit code is true: who serves by it, once the engine has brought everything back."""
        fine = {0: (new,), 7: (old,), 9: (old,), 10: (old,), 11: (old, new), -signal.SIGKILL: (old, new)}.get(code, ())
        deadline = time.monotonic() + 60
        while (door := self.site.door()) not in (old, new) and time.monotonic() < deadline:
            time.sleep(0.2)
        found = [] if door in fine else [f"it ended with {code} ({said.get('error')}), and {door} serves"]
        if code > 0 and "serving" not in said["error"]["message"].partition(":")[0]:
            found.append(f"it does not say what serves: {said['error']['message']}")
        return found

    def _agree(self) -> list[str]:
        """What HAProxy would start with is what it does; between runs, what the state says too."""
        edge = EdgeRuntime(self.site.state / "edge")
        disk, live = edge.colours_on_disk(), edge.colours()
        found = [] if disk == live else [f"the map on disk says {disk}, and HAProxy {live}"]
        if Journal(self.site.state).unfinished() is None:
            active = load_state(self.site.state).products["board"].active
            found += [] if live == {"board": active} else [f"the state says {active}, and HAProxy {live}"]
        return found

    def _converges(self, kit: Path, strategy: str, new: str) -> list[str]:
        answer = self.site.sealift("install", str(kit), "--strategy", strategy)
        if answer.code:
            return [f"the next run ended with {answer.code}: {answer.value}"]
        (status,) = self.site.done("status")["products"]
        found = [] if self.site.door() == new else [f"{self.site.door()} serves after all"]
        found += self._agree()
        found += [] if self.site.parts() == {status["active"], "base"} else [f"containers of {self.site.parts()}"]
        found += [] if status["healthy"] and not status["pending"] else [f"status: {status}"]
        left = [path for path in self.site.state.rglob("*") if path.name.endswith((".new", ".draft", ".tmp", ".old"))]
        return found + [f"left over: {path}" for path in left if "registry/data" not in str(path)]


def read(results: Path) -> list[dict[str, Any]]:
    """Every cell that was tried."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(results: Path) -> str:
    """Phases by troubles, in Markdown: exit codes, ``·`` where there was nobody to strike, ``**!**`` what was wrong."""
    seen = {(one["strategy"], one["phase"], one["trouble"]): one for one in read(results)}
    lines = [f"| phase | {' | '.join(TROUBLES)} |", "|---" * (len(TROUBLES) + 1) + "|"]
    for strategy, phases in PHASES.items():
        for phase in phases:
            cells = [_shown(seen.get((strategy, phase, trouble))) for trouble in TROUBLES]
            lines.append(f"| {strategy}: {phase} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(one: dict[str, Any] | None) -> str:
    if one is None:
        return ""
    if one["problems"]:
        return "**!**"
    return str(one["code"]) if one["struck"] else "·"


def _end(*_: object) -> None:
    raise KeyboardInterrupt


def work(results: Path, minutes: float, shard: int, of: int) -> None:
    """One site's share of what is left."""
    end = time.monotonic() + minutes * 60
    with tempfile.TemporaryDirectory(prefix="sealift-troubles-") as folder:
        matrix = Matrix(Path(folder), results, shard, of)
        try:
            for cell in matrix.cells():
                if time.monotonic() > end:
                    break
                print(json.dumps(matrix.cell(*cell)), flush=True)
        finally:
            matrix.house.pull_down()


def _shared(results: Path, minutes: str, houses: int) -> None:
    """As many processes as there are sites; they end with us."""
    words = (sys.executable, "-m", "tests.torture.troubles", str(results), minutes)
    running = [subprocess.Popen([*words, str(number), str(houses)]) for number in range(houses)]
    try:
        for process in running:
            process.wait()
    except KeyboardInterrupt:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def main(words: list[str]) -> int:
    """``RESULTS [MINUTES]``: go on for so long, or show the table; 1 where anything was wrong."""
    results, *rest = Path(words[0]), *words[1:]
    signal.signal(signal.SIGTERM, _end)  # what was started is taken down
    if len(rest) == 3:
        work(results, float(rest[0]), int(rest[1]), int(rest[2]))
        return 0
    if rest:
        _shared(results, rest[0], int(os.environ.get("HOUSES") or 2))
    print(table(results))
    lines = read(results)
    wrong = [one for one in lines if one["problems"]]
    print(
        f"{len(lines)} of {len(TROUBLES) * sum(map(len, PHASES.values()))} tried; what ended badly: {wrong or 'none'}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
