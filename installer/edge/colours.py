"""Telling HAProxy the colours.

The current worker takes them into its map. A worker from before a reload keeps the client connections it has, and each
may bring one more request: it is told too. Where its configuration is older than the colour, its servers are pointed
at the addresses of that colour. So no request reaches a colour that was switched off, whenever its connection began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from installer.edge import answers, files
from installer.edge.answers import StatRow
from installer.edge.control import Control
from installer.edge.render import COLOUR_MAP
from installer.errors import SealiftError
from installer.names import Colour

Rows = tuple[StatRow, ...]


def colours(control: Control) -> dict[str, Colour]:
    """The colour map of the current worker."""
    return _read(control.ask)


def tell(control: Control, wanted: Mapping[str, Colour]) -> None:
    """Make every worker's map say ``wanted``, and read the current one's back. Raises ``edge-failed`` (9)."""
    _write(control.ask, wanted)
    found = colours(control)
    if found != wanted:
        raise SealiftError(
            "edge-failed", f"haproxy has the colours {found}, not {dict(wanted)}", hint="run the same command again"
        )
    old = control.workers().old
    current = answers.parse_stat(control.ask("show stat")) if old else ()
    for pid in old:
        _tell_old(control, pid, wanted, current)


def _tell_old(control: Control, pid: int, wanted: Mapping[str, Colour], current: Rows) -> None:
    def ask_old(question: str) -> str:
        return control.master(f"@!{pid} {question}")

    rows = control.old_stat(pid)
    have = _read(ask_old)
    able = {product: colour for product, colour in wanted.items() if _knows(rows, product, colour)}
    stuck = {product: colour for product, colour in have.items() if product in wanted and product not in able}
    _write(ask_old, stuck | able)
    for product, colour in (stuck | able).items():
        _point(ask_old, product, (colour, rows), (wanted[product], current))


def _point(ask: Callable[[str], str], product: str, old: tuple[Colour, Rows], new: tuple[Colour, Rows]) -> None:
    """Let the servers of the old worker's colour have the addresses that the current worker knows for the new one."""
    targets = _servers(new[1], product, new[0])
    for entry, servers in _servers(old[1], product, old[0]).items():
        for number, server in enumerate(servers):
            if not targets.get(entry):
                continue
            target = targets[entry][number % len(targets[entry])]
            name = f"{server.proxy}/{server.service}"
            if server.address != target.address:
                address, _, port = target.address.rpartition(":")
                ask(f"set server {name} addr {address.strip('[]')} port {port}")
            if not server.up:
                ask(f"set server {name} health up")  # an old worker checks nothing any more


def _servers(rows: Rows, product: str, colour: Colour) -> dict[str, list[StatRow]]:
    found: dict[str, list[StatRow]] = {}
    for row in rows:
        parts = row.proxy.split(".")
        if row.is_server and len(parts) == 3 and (parts[0], parts[2]) == (product, colour):
            found.setdefault(parts[1], []).append(row)
    return found


def _knows(rows: Rows, product: str, colour: Colour) -> bool:
    """Whether all of the product's entry points in this worker have servers of the colour."""
    fronts = [row.proxy for row in rows if row.service == "FRONTEND" and row.proxy.startswith(f"{product}.")]
    entries = {name.split(".")[1] for name in fronts}
    return bool(entries) and entries <= _servers(rows, product, colour).keys()


def _read(ask: Callable[[str], str]) -> dict[str, Colour]:
    return files.parse_colours(answers.parse_map(ask(f"show map {COLOUR_MAP}")))


def _write(ask: Callable[[str], str], wanted: Mapping[str, Colour]) -> None:
    have = _read(ask)
    for product, colour in wanted.items():
        if product not in have:
            ask(f"add map {COLOUR_MAP} {product} {colour}")
        elif have[product] != colour:
            ask(f"set map {COLOUR_MAP} {product} {colour}")
    for product in have.keys() - wanted.keys():
        ask(f"del map {COLOUR_MAP} {product}")
