"""What a site on files must be at rest, and what must hold at every moment."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from installer.site.names import other
from installer.state.journal import Journal
from installer.state.state import ProductState, load_state
from tests.contract.door import FileDoor
from tests.contract.driver import world_of

_PASSING = ("state/journal", "state/state.", "state/lock", "state/trials/")
_VARYING = ("sequence", "journal")
_DRAWN = re.compile(r"\.[0-9a-f]{8}\.new$|\.\d+\.")
"""What of a draft's name is drawn, or the number of a process."""
_TOLD = re.compile(
    rb"\d{4}-\d\d-\d\dT[\d:.+Z]+|(?<=\"wall\":)[\d.]+|(?<=\"uptime\":)[\d.]+"
    rb"|(?:(?<=^)|(?<=\n))[0-9a-f]{64}(?= \{)|(?<=\"sha256\":\")[0-9a-f]{64}(?=\"\}\n)"
)
"""Times, and the seals over lines that hold some."""
_RUN = re.compile(rb"(?<=\"run\":\")[0-9a-f]{8}")


@dataclass(frozen=True)
class Picture:
    """Every file of the site by its content, and the state by what it says; times and numbers of writes aside."""

    files: dict[str, str]
    state: Any

    @classmethod
    def of(cls, state_dir: Path) -> Picture:
        root = state_dir.parent
        files = {}
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if path.is_file() and not name.startswith(_PASSING) and not _is_draft_of_the_world(name):
                files[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            elif path.is_dir() and name.startswith("state/"):
                files[name] = "folder"
        value = load_state(state_dir).model_dump(mode="json")
        for product in value["products"].values():
            product.pop("since")
            for part, varying in (("staged", ("since",)), ("trial", ("boot", "uptime", "wall"))):
                for name in varying if product[part] else ():
                    product[part].pop(name)
        return cls(files, {key: item for key, item in value.items() if key not in _VARYING})

    def differs(self, other: Picture) -> list[str]:
        """What is here and not there, or another."""
        names = sorted(set(self.files) | set(other.files))
        found = [name for name in names if self.files.get(name) != other.files.get(name)]
        found = [f"{name}: {self.files.get(name)} instead of {other.files.get(name)}" for name in found]
        return found + ([] if self.state == other.state else [f"state: {json.dumps(self.state)} / {other.state}"])


def fingerprint(root: Path) -> str:
    """All that the next run finds below ``root``, whoever wrote it and when: names and bytes, without times, the seals
    over them, drawn names, and what a dead process left in its lock."""
    found, runs = hashlib.sha256(), dict[bytes, bytes]()
    for path in sorted(root.rglob("*"), key=lambda path: _DRAWN.sub(".", str(path))):
        name, status = _DRAWN.sub(".", str(path.relative_to(root))), path.lstat()
        data = path.read_bytes() if path.is_file() and path.name != "lock" else b""
        if name.startswith("state/"):
            data = _TOLD.sub(b"", data)
            data = _RUN.sub(lambda match: runs.setdefault(match[0], b"run %d" % len(runs)), data)
        found.update(f"{name}\0{status.st_mode}\0{len(data)}\0".encode() + data)
    return found.hexdigest()


def _is_draft_of_the_world(name: str) -> bool:
    """An engine cleans up after itself; only what the state dir holds is ours."""
    return name.startswith("world/") and "/." in name


def _stands_by(product: ProductState) -> bool:
    """Whether the other colour is up: it was staged, or it comes back unless somebody confirms."""
    return product.staged is not None or product.trial is not None


def served(state_dir: Path, product: str) -> frozenset[str]:
    """The versions at the front door now."""
    return frozenset(FileDoor(world_of(state_dir)).versions(product))


def unrest(state_dir: Path) -> list[str]:
    """What must not be once a run has come to its end: an unfinished run, a door that disagrees, drafts of files."""
    state, door = load_state(state_dir), FileDoor(world_of(state_dir))
    found = [] if Journal(state_dir).unfinished() is None else ["the journal has an unfinished run"]
    drafts = [path for path in state_dir.rglob("*") if path.name.endswith((".new", ".draft", ".tmp", ".old"))]
    found += [f"left over: {path}" for path in drafts]
    colours = {name: product.active for name, product in state.products.items()}
    if door.running():
        if not door.colours() == door.colours_on_disk() == colours:
            found.append(f"colours: state {colours}, disk {door.colours_on_disk()}, door {door.colours()}")
        if state.edge_config is None or not door.serves(state.edge_config):
            found.append("the front door has another configuration than the state")
    elif state.products:
        found.append("the front door does not run")
    for product in state.products.values():
        wanted = {product.active, "base"} | (
            {other(product.active)} if _stands_by(product) and product.active else set()
        )
        seen = {one.part for _, one in world_of(state_dir).containers() if one.product == product.product}
        if seen != wanted:
            found.append(f"{product.product} has containers of {seen}")
        current = product.current.version if product.current else None
        if served(state_dir, product.product) != {current}:
            found.append(f"{served(state_dir, product.product)} at the door, {current} in the state")
    return found
