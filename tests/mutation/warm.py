"""Tries mutants in forks of one process that has collected and run all tests already: a tenth of a second each.

A plugin for pytest, which collects as ever and then hands its loop over. First every test runs once on the unchanged
code, and mutmut's trampolines tell which functions it calls. Then each mutant is asked in a fork: only the tests that
are about its module and call its function, those first that have killed others of it, up to the first that fails.
``SEALIFT_MUTANTS`` names a file of mutants, one a line, ``SEALIFT_ANSWERS`` the file that gets a line ``name code`` for
each. Codes as pytest's, :data:`LATE` where time ran out or nothing moved, :data:`NO_TEST` where nobody calls it.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from _pytest.runner import runtestprotocol
from mutmut.state import state
from mutmut.utils.format_utils import mangled_name_from_mutant_name as function_of

from tests.mutation.killer import BY_ERROR, LANED, REPEATS, promising
from tests.mutation.table import KILLERS

SIDE_BY_SIDE: Final = os.cpu_count() or 1
WIDE: Final = os.environ.get("SEALIFT_WIDE") == "1"
"""Whether each mutant is asked of all tests that call its function, not of those about its module alone."""
LATE, NO_TEST = 24, 33
_STUCK: Final = 30.0
"""Seconds without a tick of CPU time, while every thread sleeps, after which a fork is taken to hang."""
VARIABLE: Final = "MUTANT_UNDER_TEST"
_ON_LANES: Final = frozenset({"lanes", "verify", "archive", "frames"})
"""Modules of which a member on a lane can show what no other shows."""


@dataclass
class Known:
    """What the unchanged run has shown: who calls a function, and how long a test takes in CPU seconds."""

    callers: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    seconds: dict[str, float] = field(default_factory=dict)
    kills: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """How many mutants of a function each test has killed; of all functions under the empty name."""
    files: dict[str, int] = field(default_factory=dict)
    """The place of each test's file in the order in which pytest was given them."""

    def slowest(self, count: int) -> list[str]:
        """For the log."""
        tests = sorted(self.seconds, key=lambda test: -self.seconds[test])[:count]
        return [f"{self.seconds[test]:.1f} {test}" for test in tests]

    def tests(self, mutant: str) -> list[str]:
        """The tests for a mutant, in the order in which they are to be asked."""
        kills, first = self.kills[function_of(mutant)], promising(mutant)
        module = mutant.removeprefix("installer.bundle.").partition(".")[0]

        def counts(test: str) -> bool:
            name = test.rpartition("[")[2].rstrip("]")
            if LANED in test and module not in (_ON_LANES if WIDE else {"lanes"}):
                return False
            if not WIDE and test.partition("::")[0] not in KILLERS[module]:
                return False
            return name in first or name not in (BY_ERROR if first and not WIDE else REPEATS)

        def order(test: str) -> tuple[int, bool, bool, int, int, float]:
            likely = test.rpartition("[")[2].rstrip("]") in first
            # File by file: what the tests of a file share is made once.
            return (
                -kills[test],
                not likely,
                module not in test,
                self.files[test],
                -self.kills[""][test],
                self.seconds[test],
            )

        return sorted(filter(counts, self.callers[function_of(mutant)]), key=order)


@dataclass
class Fork:
    """A mutant that is being asked. ``told`` gets the name of the test that failed."""

    mutant: str
    told: int
    moved: float
    ticks: int = 0


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Instead of running the tests once: learn, then ask."""
    if session.testsfailed:
        raise session.Interrupted("a test cannot be collected")
    items = {item.nodeid: item for item in session.items}
    known = learn(session.items)
    mutants = Path(os.environ["SEALIFT_MUTANTS"]).read_text(encoding="utf-8").split()
    with Path(os.environ["SEALIFT_ANSWERS"]).open("a", encoding="utf-8") as answers:
        for mutant, code in ask(mutants, items, known):
            answers.write(f"{mutant} {code}\n")
            answers.flush()
    return True


def learn(items: Sequence[pytest.Item]) -> Known:
    """Run each test once. Raises ``pytest.UsageError`` where one fails: it could kill nothing."""
    known = Known()
    os.environ[VARIABLE] = "stats"
    files = list(dict.fromkeys(item.path for item in items))
    known.files = {item.nodeid: files.index(item.path) for item in items}
    for item, following in zip(items, [*items[1:], None], strict=True):
        state()._stats.clear()
        began = time.process_time()
        if failed(item, following):
            raise pytest.UsageError(f"{item.nodeid} fails on the unchanged code")
        known.seconds[item.nodeid] = time.process_time() - began
        for function in state()._stats:
            known.callers[function].add(item.nodeid)
    os.environ[VARIABLE] = ""
    gc.collect()
    gc.freeze()  # else each fork copies what it only looks at
    print(f"{len(items)} tests take {sum(known.seconds.values()):.0f} s, the slowest", *known.slowest(10), sep="\n")
    return known


def failed(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Run one test, and keep what it and ``following`` share."""
    return any(report.failed for report in runtestprotocol(item, nextitem=following, log=False))


def ask(mutants: Sequence[str], items: dict[str, pytest.Item], known: Known) -> Iterator[tuple[str, int]]:
    """Every mutant with its exit code, as they come in."""
    forks: dict[int, Fork] = {}
    waiting = list(reversed(mutants))
    while waiting or forks:
        while waiting and len(forks) < SIDE_BY_SIDE:
            mutant = waiting.pop()
            tests = known.tests(mutant)
            if tests:
                forks.update([begin(mutant, [items[test] for test in tests], sum(known.seconds[t] for t in tests))])
            else:
                yield mutant, NO_TEST
        for pid, status in ended(forks):
            fork = forks.pop(pid)
            killer = os.read(fork.told, 4096).decode()
            os.close(fork.told)
            for function in (function_of(fork.mutant), ""):  # of this one, and of all
                known.kills[function][killer] += bool(killer)
            code = os.waitstatus_to_exitcode(status)
            yield fork.mutant, LATE if code < 0 else code


def begin(mutant: str, items: list[pytest.Item], seconds: float) -> tuple[int, Fork]:
    """Start a fork that runs ``items``, which take about ``seconds`` of CPU time together."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, Fork(mutant, reading, time.monotonic())
    try:
        limit = int(4 * seconds) + 10
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
        resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, 16 * 2**30))
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silence, descriptor)
        os.environ[VARIABLE] = mutant
        for item, following in zip(items, [*items[1:], None], strict=True):
            if failed(item, following):
                os.write(writing, item.nodeid.encode()[:4096])
                os._exit(1)
        os._exit(0)
    finally:
        os._exit(3)  # whatever got out of pytest: the change is noticed


def ended(forks: dict[int, Fork]) -> Iterator[tuple[int, int]]:
    """Forks that have ended, with their status; those that hang are ended."""
    done = 0
    while not done:
        for pid, fork in list(forks.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                done += 1
                yield pid, status
            elif hangs(pid, fork):
                os.kill(pid, signal.SIGKILL)
        if not done:
            time.sleep(0.005)


def hangs(pid: int, fork: Fork) -> bool:
    """Whether all threads of a fork have slept for long without using the processor: they wait for each other."""
    now = time.monotonic()
    if now < fork.moved + 1:
        return False
    ticks, asleep = 0, True
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            words = (thread / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
        ticks, asleep = ticks + int(words[11]) + int(words[12]), asleep and words[0] == "S"
    if ticks != fork.ticks or not asleep:
        fork.moved, fork.ticks = now, ticks
    return now > fork.moved + _STUCK
