"""The front door: configuration, smoke questions, the switch, watching and draining; and the record of what serves."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from installer.edge.answers import Counters
from installer.edge.files import write_pem
from installer.errors import SealiftError
from installer.performers.host import Handlers, Host
from installer.plan import actions as act
from installer.site.names import Colour
from installer.state.state import load_state
from installer.trust.lost import note_use

_POLL: Final = 0.5
_AWAY: Final = 20.0  # seconds; the engine starts what was killed within one, and pauses longer each time
_FIRST_CHECK: Final = 3.0  # seconds; a worker that has just started asks its servers within one, on an idle machine
_FEW: Final = 3
_SHARE: Final = 100  # one answer in so many may go wrong: products have their own errors


class FrontDoor:
    """Changes what people reach."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def handlers(self) -> Handlers:
        return {
            act.InstallCertificates: self._install_certificates,
            act.ApplyEdge: self._apply_edge,
            act.AskSmoke: self._ask_smoke,
            act.SetColour: self._set_colour,
            act.Watch: self._watch,
            act.Drain: self._drain,
            act.Commit: self._commit,
            act.Uncommit: self._uncommit,
        }

    def _install_certificates(self, action: act.InstallCertificates) -> None:
        for item in action.certificates:
            write_pem(self._host.edge_folder, item.product, item.entry, Path(item.certificate), Path(item.key))

    def _apply_edge(self, action: act.ApplyEdge) -> None:
        self._patiently(lambda: self._host.edge().apply(action.config))
        self._host.remember(edge_config=action.config)

    def _ask_smoke(self, action: act.AskSmoke) -> None:
        if action.part != "base":
            self._await_ready(action.product, action.part)
        for question in action.questions:
            self._host.talk.say(f"  ask {question.url}")
            self._ask(question, action.product, action.part)

    def _set_colour(self, action: act.SetColour) -> None:
        colour = action.colour
        if colour is not None:
            self._patiently(lambda: self._await_ready(action.product, colour))
        self._patiently(lambda: self._host.edge().set_colour(action.product, action.colour))

    def _watch(self, action: act.Watch) -> None:
        edge = self._host.edge()
        before = edge.errors(action.product, action.colour)
        began, known = time.monotonic(), False
        while True:
            why = _broken(edge.errors(action.product, action.colour).since(before))
            ready = edge.ready(action.product, action.colour)
            passed = time.monotonic() - began
            if why is None and not ready and known:
                why = "it stopped being healthy"
            if why is None and not ready and passed > _FIRST_CHECK:
                why = "no check of the front door has found it healthy"
            if why is not None:
                raise self._suffered(action, passed, why)
            known = known or ready
            if known and passed >= action.seconds:
                break
            time.sleep(min(_POLL, max(_POLL / 10, action.seconds - passed)))
        for question in action.questions:
            self._ask(question, action.product, action.colour)

    def _suffered(self, action: act.Watch, seconds: float, why: str) -> SealiftError:
        error = SealiftError(
            "edge-failed", f"{seconds:.0f} s after the switch: {why}", hint="the log lines of the new release say more"
        )
        return self._host.with_logs(error, action.product, action.colour)

    def _drain(self, action: act.Drain) -> None:
        edge = self._host.edge()
        deadline = time.monotonic() + action.seconds
        while (count := sum(edge.sessions(name) for name in action.backends)) and time.monotonic() < deadline:
            time.sleep(_POLL)
        self._host.talk.say(f"  {count} sessions were still open" if count else "  nobody uses it any more")

    def _commit(self, action: act.Commit) -> None:
        state = load_state(self._host.state_dir).with_product(action.product)
        floor = action.floor or state.floor
        self._host.remember(products=state.products, edge_config=action.edge_config, floor=floor, lost=False)
        note_use(self._host.state_dir)

    def _uncommit(self, action: act.Uncommit) -> None:
        others = load_state(self._host.state_dir).products
        before = {name: product for name, product in others.items() if name != action.product.product}
        if action.product.current is not None:
            before[action.product.product] = action.product
        self._host.remember(products=before, floor=action.floor, lost=action.lost)

    def _patiently(self, change: Callable[[], None]) -> None:
        """Make a change; where HAProxy is away for a moment, killed and started again by the engine, once more."""
        try:
            change()
        except SealiftError as error:
            if error.id != "edge-unreachable":
                raise
            deadline = time.monotonic() + _AWAY
            while not self._host.edge().running():
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL / 5)
            change()

    def _await_ready(self, product: str, colour: Colour) -> None:
        """HAProxy checks the servers itself; until then it has only our word."""
        edge, deadline = self._host.edge(), time.monotonic() + self._host.site.timing.health
        while not edge.ready(product, colour):
            if time.monotonic() > deadline:
                error = SealiftError(
                    "edge-failed", f"the front door does not find {colour} healthy", hint="see its logs"
                )
                raise self._host.with_logs(error, product, colour)
            time.sleep(_POLL / 5)

    def _ask(self, question: act.Question, product: str, part: str) -> None:
        try:
            self._host.ask(question)
        except SealiftError as error:
            raise self._host.with_logs(error, product, part, question.service) from error


def _broken(seen: Counters) -> str | None:
    """What people suffered since the switch, or None where it is nothing to go back for."""
    tolerated = max(_FEW, seen.requests // _SHARE)
    if seen.connection_errors + seen.response_errors > tolerated:
        return f"{seen.connection_errors + seen.response_errors} broken connections in {seen.requests} requests"
    if seen.responses_5xx > tolerated:
        return f"{seen.responses_5xx} answers 5xx in {seen.requests} requests"
    return None
