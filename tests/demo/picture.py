"""Draws the demonstration for README: ``python -m tests.demo.picture LOG docs/demo.svg`` (LOG: its coloured output)."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

_WIDTH = 112
_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_TRANSIENT = re.compile(r"\u2501|\d/\d[\d.]* ?[kMG]?B|^\s*[kMG]B(\s+[kMG]B/s)?\s*$|^Script (started|done)")
_ACTS = ("2.1.0 comes while", "the figures of this run")


def excerpt(log: str) -> list[str]:
    """The acts worth a picture: each from its headline to the next."""
    lines = (line.rpartition("\x1b[2K")[2] for line in log.replace("\r", "").splitlines())
    shown = [line for line in lines if not _TRANSIENT.search(_CODES.sub("", line))]
    acts = re.split(r"(?m)^(?=\S*== )", "\n".join(shown))
    return [line for act in acts if any(name in act.partition("\n")[0] for name in _ACTS) for line in act.splitlines()]


def draw(log: str) -> str:
    """An SVG of a terminal with the excerpt."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in excerpt(log):
        text = Text.from_ansi(line)
        text.truncate(_WIDTH, overflow="ellipsis")
        console.print(text)
    svg = console.export_svg(title="make demo")
    return re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)  # a picture that asks nobody for fonts


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(Path(sys.argv[1]).read_text(errors="replace")), encoding="utf-8")
