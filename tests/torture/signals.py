"""Ctrl-C, SIGTERM, a terminal that goes away, at lines of the journal, on files: ``python -m tests.torture.signals``.

The run must end with 130 and say who serves, that must be so, and the same command again must end as if nobody had
pressed a key.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from typing import Any, Final

from installer.errors import ExitCode
from tests.torture.campaign import PRODUCT, Campaign, campaign
from tests.torture.points import Points
from tests.torture.rest import served

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FIRST_LINE: Final = re.compile(
    r"error: (?P<who>.+?) is serving; (?:nothing has to be done before morning|somebody must look at this soon): "
)


@dataclass
class Report:
    """``tried``: after which line of the journal, and which signal."""

    lines: list[str] = field(default_factory=list)
    tried: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def once(one: Campaign, number: int, which: signal.Signals) -> list[str]:
    """Send it to the run at a point; what is wrong then, and after the next run."""
    one.restore()

    def strike(_: str, call: str, arguments: tuple[Any, ...]) -> None:
        os.kill(os.getpid(), which)

    code, _ = one.told(one.scenario.command, lambda _: Points(strike, lambda n: n == number))
    words = one.log.read_text()
    found = [] if code == ExitCode.INTERRUPTED else [f"it ended with {code}"]
    line = _FIRST_LINE.search(words)
    said = line["who"].split(" or ") if line else []
    seen = {f"{PRODUCT} {version}" for version in served(one.state, PRODUCT)} or {"nothing"}
    found += [] if seen <= {*said} else [f"{sorted(seen)} serves, and it says {said}"]
    found += [] if "Traceback" not in words else ["it shows a traceback"]
    found += one.converges()
    return [f"{one.scenario.name}, {which.name} at {one.names[number]}: {what}\n{words[-700:]}" for what in found]


def main(words: Sequence[str]) -> int:
    """``NAME`` of a scenario, and after each how many lines (1: all)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and nohup this one
    report = Report()
    with campaign(words[0]) as one:
        numbers = [number for number, name in enumerate(one.names) if re.fullmatch("journal .*: after", name)]
        report.lines = [one.names[number] for number in numbers]
        numbers = numbers[:: int(words[1])]
        for number, which in zip(numbers, cycle(_SIGNALS), strict=False):
            report.problems += once(one, number, which)
            report.tried.append((one.names[number], which.name))
    json.dump(asdict(report), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
