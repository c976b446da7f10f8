"""Telling HAProxy the colours.

The current worker takes them into its map. A worker from before a reload keeps the client connections it has, and each
may bring one more request: its map is told to hand all of them over to the current worker, which knows. So no request
reaches a colour that was switched off, whenever its connection began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from installer.edge import answers, files
from installer.edge.control import Control
from installer.edge.render import COLOUR_MAP, HANDOVER
from installer.errors import SealiftError
from installer.site.names import Colour

Ask = Callable[[str], str]


def colours(control: Control) -> dict[str, Colour]:
    """The colour map of the current worker."""
    return files.parse_colours(answers.parse_map(control.ask(f"show map {COLOUR_MAP}")))


def tell(control: Control, wanted: Mapping[str, Colour]) -> None:
    """Make the current worker's map say ``wanted`` and read it back. Raises ``edge-failed`` (9)."""
    _write(control.ask, wanted)
    found = colours(control)
    if found != wanted:
        raise SealiftError(
            "edge-failed", f"haproxy has the colours {found}, not {dict(wanted)}", hint="run the same command again"
        )
    for pid in control.workers().old:
        hand_over(control, pid, wanted)


def hand_over(control: Control, pid: int, wanted: Mapping[str, Colour] | None = None) -> None:
    """Let this worker give all further requests to who has its sockets now."""

    def ask_old(question: str) -> str:
        return control.master(f"@!{pid} {question}")

    _write(ask_old, dict.fromkeys((wanted or {}).keys() | _read(ask_old).keys(), HANDOVER))


def _read(ask: Ask) -> dict[str, str]:
    lines = (line.partition(" ") for line in answers.parse_map(ask(f"show map {COLOUR_MAP}")))
    return {product: value for product, _, value in lines}


def _write(ask: Ask, wanted: Mapping[str, str]) -> None:
    have = _read(ask)
    for product, value in wanted.items():
        if product not in have:
            ask(f"add map {COLOUR_MAP} {product} {value}")
        elif have[product] != value:
            ask(f"set map {COLOUR_MAP} {product} {value}")
    for product in have.keys() - wanted.keys():
        ask(f"del map {COLOUR_MAP} {product}")
