"""What HAProxy answers on its sockets, read into values."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from installer.errors import SealiftError

_ENDINGS: Final = ("failed to start their listeners", "rror(s) found in", "Fatal errors found", "exited with code")


@dataclass(frozen=True)
class StatRow:
    """A line of ``show stat``: ``service`` is FRONTEND, BACKEND or a server's name. Counters start with the worker."""

    proxy: str
    service: str
    status: str
    check: str
    address: str
    current: int
    requests: int
    responses_5xx: int
    connection_errors: int
    response_errors: int

    @property
    def is_server(self) -> bool:
        """A server, not the sum of a frontend or backend."""
        return self.service not in ("FRONTEND", "BACKEND")

    @property
    def up(self) -> bool:
        """Gets traffic: HAProxy writes ``UP``, ``UP 1/3`` on the way down, ``no check``, ``OPEN``."""
        return self.status.startswith(("UP", "OPEN", "no check"))

    @property
    def healthy(self) -> bool:
        """A check of this server has passed; before its first check a server gets traffic, but nothing is known."""
        return self.up and "OK" in self.check


@dataclass(frozen=True)
class Counters:
    """What went through a product's entry points since ``worker`` started (``worker`` names the process and its start).

    ``responses_5xx`` counts what clients got, HAProxy's own 503 among them; ``connection_errors`` and
    ``response_errors`` count servers that could not be reached or broke off.
    """

    worker: str
    requests: int
    responses_5xx: int
    connection_errors: int
    response_errors: int

    def since(self, earlier: Self) -> Counters:
        """What was added since ``earlier``; all of it where HAProxy was started or reloaded in between."""
        if earlier.worker != self.worker:
            return self
        return Counters(
            self.worker,
            self.requests - earlier.requests,
            self.responses_5xx - earlier.responses_5xx,
            self.connection_errors - earlier.connection_errors,
            self.response_errors - earlier.response_errors,
        )

    @property
    def errors(self) -> int:
        """Everything that went wrong, as one number."""
        return self.responses_5xx + self.connection_errors + self.response_errors


@dataclass(frozen=True)
class Workers:
    """``show proc`` of the master: workers from before a reload, and how many reloads failed since one succeeded.

    ``current`` are those that serve: one, but for a moment while it is started.
    """

    old: tuple[int, ...]
    failed_reloads: int
    current: tuple[int, ...] = ()


def parse_info(text: str) -> dict[str, str]:
    """Names and values of ``show info``. Raises ``edge-failed`` (9) where it is none."""
    pairs = (line.partition(":") for line in text.splitlines())
    info = {name.strip(): value.strip() for name, colon, value in pairs if colon}
    if "Pid" not in info:
        raise unexpected("show info", text)
    return info


def parse_stat(text: str) -> tuple[StatRow, ...]:
    """The rows of ``show stat``. Raises ``edge-failed`` (9) where it is none."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or not lines[0].startswith("# pxname"):
        raise unexpected("show stat", text)
    lines[0] = lines[0].removeprefix("# ")
    try:
        return tuple(_row(fields) for fields in csv.DictReader(io.StringIO("\n".join(lines))))
    except (KeyError, ValueError) as error:
        raise unexpected("show stat", text) from error


def parse_workers(text: str) -> Workers:
    """Reads ``show proc``. Raises ``edge-failed`` (9) where it is none."""
    old: list[int] = []
    current: list[int] = []
    failed: int | None = None
    section = ""
    for line in text.splitlines():
        words = line.split()
        if line.startswith("#"):
            section = line.strip("# \t")
        elif len(words) > 1 and words[1] == "master" and "[failed:" in words:
            failed = int(words[words.index("[failed:") + 1].rstrip("]"))
        elif section == "old workers" and len(words) > 1 and words[1] == "worker":
            old.append(int(words[0]))
        elif section == "workers" and len(words) > 1 and words[1] == "worker":
            current.append(int(words[0]))
    if failed is None:
        raise unexpected("show proc", text)
    return Workers(tuple(old), failed, tuple(current))


def parse_map(text: str) -> list[str]:
    """The lines of ``show map`` without their addresses in memory."""
    return [line.partition(" ")[2] for line in text.splitlines() if line.startswith("0x")]


def alerts(text: str) -> tuple[str, ...]:
    """HAProxy's last complaints in its own words, each once, the one that says most first; no decoration."""
    lines = [line.partition(") :")[2].strip() for line in text.splitlines() if line.startswith("[ALERT]")]
    once = list(dict.fromkeys(reversed(lines)))[:6][::-1] or _last(text.splitlines())
    # It ends by saying that there was an error: that comes behind what the error was.
    return tuple(sorted(once, key=lambda line: any(end in line for end in _ENDINGS)))


def unexpected(question: str, answer: str) -> SealiftError:
    """The refusal of an answer that does not read."""
    return SealiftError(
        "edge-failed",
        f"haproxy gave an unexpected answer to {question}: {answer.strip()[:120]!r}",
        hint="look at its log with: docker logs",
    )


def _row(fields: dict[str, str]) -> StatRow:
    def number(name: str) -> int:
        return int(fields.get(name) or 0)

    requests = number("req_tot") if fields.get("req_tot") else number("stot")
    return StatRow(
        proxy=fields["pxname"],
        service=fields["svname"],
        status=fields["status"],
        check=fields.get("check_status") or "",
        address=fields.get("addr") or "",
        current=number("scur"),
        requests=requests,
        responses_5xx=number("hrsp_5xx"),
        connection_errors=number("econ"),
        response_errors=number("eresp"),
    )


def _last(lines: Iterable[str]) -> list[str]:
    return [line.strip() for line in lines if line.strip()][-6:]
