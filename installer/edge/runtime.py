"""The running front door: what it says, and the few ways to change it.

Rules:
- The colour map is written to disk first, then told to HAProxy, then read back. So a start or reload at any moment
  finds the colour that was decided last, and doing it again mends whatever a kill left in between.
- A reload is asynchronous: for some milliseconds the old worker still answers, and what it is told is lost. So a
  reload ends only when another worker answers with the configuration that was asked for.
- Workers from before a reload still serve their connections. They hand new requests over; a drain counts them.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installer.commands import Command
from installer.durable import sync_folder
from installer.edge import answers, colours, files
from installer.edge.answers import Counters, StatRow
from installer.edge.config import EdgeConfig
from installer.edge.control import Control, predecessors
from installer.edge.ports import refuse_taken
from installer.edge.render import HANDOVER, listens_on, mark, render
from installer.errors import SealiftError
from installer.site.names import COLOURS, Colour
from installer.system import run

_POLL: Final = 0.02  # seconds
_RELOAD: Final = 20.0  # seconds; HAProxy itself tries for one second to bind an address


@dataclass(frozen=True)
class EdgeRuntime:
    """The front door of one state dir; ``folder`` is the edge's folder.

    ``check`` validates the candidate configuration in the folder, ``words`` prints HAProxy's log; both come from
    :mod:`installer.edge.container` and are needed to change the configuration only.
    """

    folder: Path
    check: Command | None = None
    words: Command | None = None

    # What it says

    def show_info(self) -> dict[str, str]:
        """``show info`` of the current worker. Raises ``edge-unreachable``, ``edge-failed`` (9), as all of these do."""
        return answers.parse_info(self._control.ask("show info"))

    def show_stat(self) -> tuple[StatRow, ...]:
        """``show stat`` of the current worker."""
        return answers.parse_stat(self._control.ask("show stat"))

    def colours(self) -> dict[str, Colour]:
        """The colour of each product, as the current worker has it."""
        return colours.colours(self._control)

    def colours_on_disk(self) -> dict[str, Colour]:
        """The colour of each product, as the next start will have it."""
        return files.read_colours(self.folder)

    def running(self) -> bool:
        """Whether a worker answers."""
        try:
            self.show_info()
        except SealiftError:
            return False
        return True

    def serves(self, config: EdgeConfig) -> bool:
        """Whether the current worker runs exactly this configuration, and the next start will."""
        text = render(config)
        return files.read_config(self.folder) == text and self._mark() == mark(text)

    def ready(self, product: str, colour: Colour) -> bool:
        """Whether each backend of the product in this colour has a server that passed a check of HAProxy's."""
        rows = self.show_stat()
        wanted = _backends(rows, product, colour)
        return bool(wanted) and wanted <= {row.proxy for row in rows if row.is_server and row.healthy}

    def sessions(self, backend: str) -> int:
        """Sessions that a backend (``lan-chat.web.blue``) serves now, in workers from before a reload too.

        ``lan-chat.web.blue/gateway-1`` asks about one of its servers.
        """
        backend, _, server = backend.partition("/")
        old = [self._control.old_stat(pid) for pid in self._control.workers().old]
        old += self._stats_of_predecessors()
        return sum(
            row.current
            for rows in (self.show_stat(), *old)
            for row in rows
            if row.proxy == backend and row.service == (server or "BACKEND")
        )

    def errors(self, product: str, colour: Colour | None = None) -> Counters:
        """What went through the product's entry points so far; compare two with :meth:`Counters.since`.

        With a colour, the trouble with servers is that of this colour alone: not of sessions that linger on the other.
        """
        worker = _worker(self.show_info())
        rows = self.show_stat()
        doors = {f"{product}.{entry}{end}" for entry in _entries(rows, product) for end in ("", f".{HANDOVER}")}
        fronts = [row for row in rows if row.service == "FRONTEND" and row.proxy in doors]
        wanted = set().union(*(_backends(rows, product, one) for one in ((colour,) if colour else COLOURS)))
        backs = [row for row in rows if row.service == "BACKEND" and row.proxy in wanted]
        return Counters(
            worker=worker,
            requests=sum(row.requests for row in fronts),
            responses_5xx=sum(row.responses_5xx for row in fronts),
            connection_errors=sum(row.connection_errors for row in backs),
            response_errors=sum(row.response_errors for row in backs),
        )

    # Changing it

    def set_colour(self, product: str, colour: Colour | None) -> None:
        """Let all entry points of a product serve this colour; None lets nobody serve (503).

        Returns when disk and HAProxy agree. Refuses (``edge-failed``) a colour that the running configuration has no
        backends for, with nothing changed.
        """
        if colour is not None:
            self._refuse_unknown(product, colour)
        wanted = {name: kept for name, kept in self.colours_on_disk().items() if name != product}
        if colour is not None:
            wanted[product] = colour
        files.write_colours(self.folder, wanted)
        self.sync()

    def sync(self) -> None:
        """Tell HAProxy the colours that stand on disk, and read them back. For every worker, also the old ones."""
        colours.tell(self._control, self.colours_on_disk())

    def reload(self) -> None:
        """Let a new worker take over with the configuration on disk; returns when it answers and knows the colours.

        Raises ``edge-failed`` (9) with HAProxy's own words where it does not come up; the old worker then goes on.
        """
        text = files.read_config(self.folder) or ""
        before = _worker(self.show_info())
        failed = self._control.workers().failed_reloads
        self._control.master("reload")
        deadline = time.monotonic() + _RELOAD
        while not self._changed(before, mark(text)):
            if time.monotonic() > deadline or self._failed_more(failed):
                raise self._failure("haproxy did not take the new configuration", "the old one goes on serving")
            time.sleep(_POLL)
        self.sync()

    def prepare(self, config: EdgeConfig) -> None:
        """Check a configuration and put it in place for the next start or reload. What runs is not touched.

        Raises ``port-taken`` (7), or ``edge-failed`` (9) with HAProxy's own words; the old file then stays.
        """
        if self.check is None:
            raise SealiftError("edge-failed", "no image of haproxy is known to check with", hint="install a release")
        text = render(config)
        refuse_taken(listens_on(text), self._own_ports())
        files.write_file(self.folder, files.CANDIDATE, text.encode())
        checked = run(self.check, check=False)
        if checked.code != 0:
            (self.folder / files.CANDIDATE).unlink(missing_ok=True)
            words = answers.alerts(checked.err or checked.out)
            raise _failed("haproxy refuses the configuration", words, "nothing was changed")
        (self.folder / files.CANDIDATE).rename(self.folder / files.CONFIG)
        sync_folder(self.folder)

    def apply(self, config: EdgeConfig) -> None:
        """Bring a configuration into service without losing a request; nothing is done where it serves already.

        On any failure the old configuration is back on disk and its worker goes on serving.
        """
        files.tidy_edge(self.folder)
        if self.serves(config):
            self.sync()
            return
        old = files.read_config(self.folder)
        self.show_info()  # nobody there to reload: say so before anything changes
        self.prepare(config)
        try:
            self.reload()
        except SealiftError:
            if old is not None:
                self._put_back(old)
            raise
        files.drop_pems(self.folder, render(config), old or "")

    def await_running(self, timeout: float = 15.0) -> None:
        """Return when a worker answers, within ``timeout`` seconds. Raises ``edge-failed`` (9) with HAProxy's words."""
        deadline = time.monotonic() + timeout
        while not self.running():
            if time.monotonic() > deadline:
                raise self._failure(f"haproxy does not answer after {timeout:.0f} s", "see its log with: docker logs")
            time.sleep(_POLL)
        self.sync()

    # Inside

    def _stats_of_predecessors(self) -> list[tuple[StatRow, ...]]:
        """Of front doors that handed their sockets over and still serve what they have."""
        found: list[tuple[StatRow, ...]] = []
        for before in predecessors(self.folder):
            with suppress(SealiftError):  # it has ended
                workers = before.workers(patience=0)
                found += [before.old_stat(pid) for pid in (*workers.current, *workers.old)]
        return found

    @property
    def _control(self) -> Control:
        return Control(self.folder)

    def _mark(self) -> str | None:
        try:
            return mark(f"  description {self.show_info().get('description', '')}")
        except SealiftError:
            return None

    def _changed(self, before: str, wanted: str | None) -> bool:
        try:
            return _worker(self.show_info()) != before and self._mark() == wanted
        except SealiftError:
            return False

    def _failed_more(self, before: int) -> bool:
        try:
            return self._control.workers(patience=0).failed_reloads > before
        except SealiftError:
            return False

    def _own_ports(self) -> frozenset[int] | None:
        """Ports that the running worker holds; None where that is not known."""
        text = files.read_config(self.folder)
        if text is None or not self.running():
            return frozenset()
        return frozenset(port for _, port in listens_on(text)) if self._mark() == mark(text) else None

    def _refuse_unknown(self, product: str, colour: Colour) -> None:
        # An entry point that only the other release has may lack this colour: it is answered by nobody.
        if not _backends(self.show_stat(), product, colour):
            raise SealiftError(
                "edge-failed",
                f"the front door has nothing to switch to: no {colour} servers for {product}",
                hint="nothing was changed; install the release again",
            )

    def _put_back(self, old: str) -> None:
        files.write_file(self.folder, files.CONFIG, old.encode())
        try:
            self.reload()  # a master whose reload failed leaves its waiting state by one that succeeds
        except SealiftError:
            return  # the caller tells of the first failure; the old worker is still there

    def _failure(self, what: str, hint: str) -> SealiftError:
        words: tuple[str, ...] = ()
        if self.words is not None:
            said = run(self.words, check=False)
            words = answers.alerts(said.err + said.out)
        return _failed(what, words, hint)


def _worker(info: dict[str, str]) -> str:
    return f"{info['Pid']}@{info.get('Start_time_sec', '')}"


def _failed(what: str, words: tuple[str, ...], hint: str) -> SealiftError:
    return SealiftError("edge-failed", what + (f": {words[0]}" if words else ""), hint=hint, details=words)


def _backends(rows: tuple[StatRow, ...], product: str, colour: Colour) -> set[str]:
    """The product's backends in this colour."""
    names = (row.proxy.split(".") for row in rows if row.service == "BACKEND")
    return {".".join(name) for name in names if len(name) == 3 and (name[0], name[2]) == (product, colour)}


def _entries(rows: tuple[StatRow, ...], product: str) -> set[str]:
    """The product's entry points, by its frontends; a preview's name has one part more."""
    names = (row.proxy.split(".") for row in rows if row.service == "FRONTEND")
    return {name[1] for name in names if len(name) == 2 and name[0] == product}
