"""A disk that is full or broken from the n-th write, fsync or rename on, or just then: every n of journal and state.

``python -m tests.torture.refusals NAME``: the report as JSON. The run must end with the right code and say what serves,
old or new must serve, and the next run on a mended disk must end as if nothing had happened.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from installer.errors import ExitCode
from tests.torture.campaign import Campaign, campaign
from tests.torture.points import BROKEN, FULL, Points, below, place_of

_KINDS: Final = {"ENOSPC": FULL, "EIO": BROKEN}
_CODES: Final = (ExitCode.HOST, ExitCode.ROLLED_BACK, ExitCode.OPERATOR_NEEDED)


@dataclass
class Report:
    """``points`` counts the calls of journal and state; ``tried`` lists how each run ended: call, kind, exit code."""

    points: int = 0
    tried: list[tuple[str, str, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Refusals:
    """Refuses calls of one campaign's command."""

    one: Campaign

    @property
    def counts(self) -> Callable[[str, tuple[Any, ...]], bool]:
        """Calls on the journal's folder, on the copies of the state, and on their drafts."""
        state = self.one.state
        inside = below(state)

        def mine(call: str, arguments: tuple[Any, ...]) -> bool:
            if not inside(call, arguments):
                return False
            name = place_of(arguments[0]).removeprefix(f"{state}").removeprefix("/")
            return name in ("", "journal") or name.startswith(("journal/", "state.", ".state."))

        return mine

    def names(self) -> list[str]:
        """Every such call of the command."""
        self.one.restore()
        _, said = self.one.told(self.one.scenario.command, lambda _: Points(counts=self.counts))
        found: list[str] = json.loads(said)[0]
        return found

    def once(self, number: int, kind: str, *, sticky: bool) -> tuple[int, list[str]]:
        """Refuse the call, and with ``sticky`` all that follow; the exit code, and what is wrong."""
        self.one.restore()

        def points(_: int) -> Points:
            at = (lambda n: n >= number) if sticky else (lambda n: n == number)
            return Points(_KINDS[kind], at, self.counts)

        code, _ = self.one.told(self.one.scenario.command, points)
        words = self.one.log.read_text()
        found = [] if code in _CODES else [f"it ended with {code}: {words[-500:]}"]
        if code != ExitCode.HOST and "serving" not in words:
            found.append(f"it does not say what serves: {words[-500:]}")
        return code, [*found, *self.one.amid(), *self.one.converges()]


def every(one: Campaign) -> Iterator[tuple[str, str, int, list[str]]]:
    """Every call: the disk is full once, it is full from then on, and it is broken: once or from then on, by turns."""
    refusals = Refusals(one)
    for number, name in enumerate(refusals.names()):
        for kind, sticky in (("ENOSPC", False), ("ENOSPC", True), ("EIO", number % 2 == 1)):
            how = f"{kind} {'from then on' if sticky else 'once'}"
            code, found = refusals.once(number, kind, sticky=sticky)
            yield name, how, code, [f"{one.scenario.name}, {name} {how}: {what}" for what in found]


def main(words: Sequence[str]) -> int:
    """``NAME`` of a scenario."""
    report = Report()
    with campaign(words[0]) as one:
        report.points = len(Refusals(one).names())
        for name, how, code, found in every(one):
            report.tried.append((name, how, code))
            report.problems += found
    json.dump(asdict(report), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
