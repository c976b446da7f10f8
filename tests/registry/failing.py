"""Registries that fail at their n-th request, and what of a repository stands on the disk of one."""

from __future__ import annotations

import os
from pathlib import Path

from installer.registry.address import RegistryAddress
from installer.registry.client import RegistryClient
from installer.registry.patience import Patience

from .conftest import Distribution
from .doubtful import Fault, Proxy

HASTY = Patience(connect=2, answer=10, storing=30, retries=1, pause=0.01, longest_pause=1)


class FailsAt(Proxy):
    """Answers 500, as Distribution does when its disk is full, to the ``number``-th change: once or from then on."""

    number, sticky, changes = 0, False, 0
    harmless: tuple[str, ...] = ("GET", "HEAD")
    """Methods that change nothing, and count for nothing."""

    def fault(self, method: str, path: str) -> Fault | None:
        if method in self.harmless:
            return None
        with self.lock:
            self.changes += 1
            struck = self.changes >= self.number if self.sticky else self.changes == self.number
        return Fault(method, path, "500") if struck and self.number else None

    def strike(self, number: int, *, sticky: bool = False) -> None:
        """Begin to count anew; 0 never fails."""
        with self.lock:
            self.changes, self.number, self.sticky = 0, number, sticky

    @property
    def was_hit(self) -> bool:
        """Whether it came as far as the request that fails."""
        return 0 < self.number <= self.changes

    def client(self, repository: str) -> RegistryClient:
        return RegistryClient.at(RegistryAddress.parse(f"{self.url}/{repository}"), patience=HASTY)


def links(registry: Distribution, repository: str) -> dict[str, bytes]:
    """What a repository, and those below it, hold and name: tags as they stand, layers and manifests; no history of
    tags, and no upload that was begun."""
    root = registry.folder / "data/docker/registry/v2/repositories" / repository
    found: dict[str, bytes] = {}
    for folder, inner, names in os.walk(root):  # which passes over what the registry is just removing
        inner[:] = [name for name in inner if name not in ("_uploads", "index")]
        if "link" in names:
            path = Path(folder, "link")
            found[str(path.relative_to(root))] = path.read_bytes()
    return found


def tags(found: dict[str, bytes]) -> dict[str, bytes]:
    """The tags among :func:`links`, and where they lead to."""
    return {path: data for path, data in found.items() if "/tags/" in path}
