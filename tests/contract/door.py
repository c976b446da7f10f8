"""A front door kept in files: what it would start with, and what its worker knows. The same rules as HAProxy's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pydantic import TypeAdapter

from installer.edge.answers import Counters
from installer.edge.config import Backend, EdgeConfig, Frontend
from installer.errors import SealiftError
from installer.plan.actions import Question
from installer.site.names import Colour
from tests.contract.world import World

_CONFIG: Final = TypeAdapter(EdgeConfig)


@dataclass(frozen=True)
class FileDoor:
    """The front door of a world."""

    world: World

    def start(self, config: EdgeConfig) -> None:
        """Configuration first, then the worker."""
        if not (self.world.root / "edge/disk.map").exists():
            self.world.put("edge/disk.map", b"{}")
        self.world.put("edge/disk.cfg", _CONFIG.dump_json(config))
        self._reload()

    def restart(self) -> None:
        """What the engine does when it died: the new worker knows what stands on disk."""
        self._reload()

    def stop(self) -> None:
        """No worker, and no file."""
        self.world.drop("edge/live.cfg")
        self.world.drop("edge")

    def running(self) -> bool:
        return (self.world.root / "edge/live.cfg").exists()

    def serves(self, config: EdgeConfig) -> bool:
        text = _CONFIG.dump_json(config)
        return self._text("disk.cfg") == text == self._text("live.cfg")

    def apply(self, config: EdgeConfig) -> None:
        self._refuse_stopped()
        if not self.serves(config):
            self.world.put("edge/disk.cfg", _CONFIG.dump_json(config))
            self._reload()
        self.world.put("edge/live.map", self._text("disk.map"))

    def colours(self) -> dict[str, Colour]:
        self._refuse_stopped()
        return self._map("live.map")

    def colours_on_disk(self) -> dict[str, Colour]:
        return self._map("disk.map")

    def set_colour(self, product: str, colour: Colour | None) -> None:
        self._refuse_stopped()
        if colour is not None and not self._backends(product, colour):
            raise SealiftError("edge-failed", f"no {colour} servers for {product}", hint="install it again")
        wanted = {name: kept for name, kept in self.colours_on_disk().items() if name != product}
        if colour is not None:
            wanted[product] = colour
        self.world.put("edge/disk.map", json.dumps(wanted).encode())
        self.world.put("edge/live.map", json.dumps(wanted).encode())

    def ready(self, product: str, colour: Colour) -> bool:
        backends = self._backends(product, colour)
        sick = ("absent", "unhealthy")
        return bool(backends) and all(
            any(self.world.fault(server.address) not in sick for server in back.servers) for back in backends
        )

    def sessions(self, backend: str) -> int:
        return 0

    def errors(self, product: str, colour: Colour | None = None) -> Counters:
        return Counters("1", 100, 0, 0, 0)

    def ask(self, question: Question) -> None:
        """Raises ``edge-failed`` (9) where one of the servers behind that address would not answer."""
        if not self.running():
            raise SealiftError("edge-failed", f"no answer from {question.url}", hint="look")
        place = question.url.split("/")[2]
        for front in self._live().frontends:
            if place in front.binds:
                colour = front.preview_colour if place == front.preview_bind else self.colours().get(front.product)
                wrong = ("absent", "unhealthy", "mute", *(("mute-outside",) if place == front.bind else ()))
                if any(fault in wrong for fault in self._faults(front, colour)):
                    break
                return
        raise SealiftError("edge-failed", f"smoke test {question.url} got no answer", hint="look at the release")

    def versions(self, product: str) -> set[str]:
        """Which versions people may reach at the entry points; empty where nobody serves."""
        if not self.running():
            return set()
        colour = self.colours().get(product)
        addresses = {
            one.address
            for back in self._live().backends
            for one in back.servers
            if back.colour == colour and back.product == product
        }
        seen = [one for _, one in self.world.containers() if addresses & set(one.addresses.values())]
        return {one.version for one in seen}

    def _faults(self, front: Frontend, colour: Colour | None) -> list[str]:
        found = [
            self.world.fault(server.address) or ""
            for back in self._live().backends
            if (back.product, back.entry, back.colour) == (front.product, front.entry, colour)
            for server in back.servers
        ]
        return found or ["absent"]

    def _backends(self, product: str, colour: Colour) -> list[Backend]:
        return [back for back in self._live().backends if (back.product, back.colour) == (product, colour)]

    def _live(self) -> EdgeConfig:
        self._refuse_stopped()
        return _parsed(self._text("live.cfg"))

    def _map(self, name: str) -> dict[str, Colour]:
        found: dict[str, Colour] = json.loads(self._text(name) or b"{}")
        return found

    def _text(self, name: str) -> bytes:
        try:
            return (self.world.root / "edge" / name).read_bytes()
        except FileNotFoundError:
            return b""

    def _reload(self) -> None:
        """The new worker reads what stands on disk."""
        self.world.put("edge/live.map", self._text("disk.map"))
        self.world.put("edge/live.cfg", self._text("disk.cfg"))

    def _refuse_stopped(self) -> None:
        if not self.running():
            raise SealiftError("edge-unreachable", "the front door does not run", hint="start it")


@lru_cache(maxsize=64)
def _parsed(raw: bytes) -> EdgeConfig:
    return _CONFIG.validate_json(raw)
