"""What an OCI layout lists (OCI image-spec, image-layout.md): the entry of ``index.json`` that is meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from bundler.collect.documents import INDEX, INDEXES, MANIFEST, MANIFESTS, Link, link, read_object, refuse_old
from bundler.collect.image import CollectedImage, Wish, broken, collect_image
from bundler.collect.reference import Reference
from bundler.collect.store import LayoutStore, read_json
from installer.errors import SealiftError

__all__ = ["FULL_NAME", "INDEX", "MANIFEST", "REFERENCE", "REF_NAME", "CollectedImage", "collect_from_layout"]

REF_NAME: Final = "org.opencontainers.image.ref.name"
FULL_NAME: Final = "io.containerd.image.name"
REFERENCE: Final = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}")
"""What a release can hold as an image's reference."""


def collect_from_layout(store: LayoutStore, ref: str | None, wish: Wish) -> CollectedImage:
    """As :meth:`Listing.collect`, of a layout that is asked once."""
    return Listing.read(store).collect(ref, wish)


@dataclass(frozen=True)
class Listing:
    """What ``index.json`` of a layout lists, read once: one of a thousand images is asked for each of them."""

    store: LayoutStore
    entries: tuple[Link, ...]
    called: Mapping[str | Reference, list[int]]
    """Places of the entries by their names as they stand there, and by what their whole names mean."""

    @classmethod
    def read(cls, store: LayoutStore) -> Self:
        """The listing of ``store``. Raises ``image-not-found``, ``source-unsupported`` (2), ``too-large`` (3)."""
        if store.open("oci-layout") is None:
            message = f"{store.name} is not an OCI layout: it has no file oci-layout"
            raise SealiftError("image-not-found", message, hint="check the path")
        listed = store.open("index.json")
        if listed is None:
            raise SealiftError("image-not-found", f"{store.name} has no index.json", hint="make the layout again")
        try:
            index = read_object(read_json(listed, f"index.json of {store.name}"), f"index.json of {store.name}")
            entries = tuple(_entries(index, store.name))
            called: dict[str | Reference, list[int]] = {}
            for place, entry in enumerate(entries):
                short = {name for name in [entry.annotations.get(REF_NAME)] if isinstance(name, str)}
                for name in short | _names(entry.annotations.get(FULL_NAME)):
                    called.setdefault(name, []).append(place)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise broken(store.name, error) from error
        return cls(store, entries, called)

    def collect(self, ref: str | None, wish: Wish) -> CollectedImage:
        """The image that ``ref`` names, or the only one; else the one that the pin names, or the only one of the
        platform.

        Raises ``image-not-found`` (2) and what :func:`~bundler.collect.image.collect_image` raises.
        """
        entry = self._choose(ref, wish)
        full_name = entry.annotations.get(FULL_NAME, "")
        if isinstance(full_name, str) and REFERENCE.fullmatch(full_name):
            wish = replace(wish, reference=full_name)
        return collect_image(self.store, entry, wish)

    def _choose(self, ref: str | None, wish: Wish) -> Link:
        found = [*self.entries] if ref is None else self._called(ref)
        for narrower in (
            [entry for entry in found if entry.part.digest == wish.pin],
            [entry for entry in found if entry.platform == wish.platform],
        ):
            if len({entry.part.digest for entry in found}) > 1 and narrower:
                found = narrower
        if len({entry.part.digest for entry in found}) == 1:
            return found[0]
        wanted = f"called {ref}" if ref is not None else "to choose by itself"
        names = [entry.annotations.get(REF_NAME, "") for entry in self.entries]
        known = ", ".join(str(name) for name in names if name) or "none with a name"
        raise SealiftError(
            "image-not-found",
            f"{self.store.name} has no single image {wanted} (it has: {known})",
            hint="name one behind a colon, as in oci:FOLDER:REF" if self.entries else "the layout is empty",
        )

    def _called(self, ref: str) -> list[Link]:
        places = {place for name in _names(ref) for place in self.called.get(name, ())}
        return [self.entries[place] for place in sorted(places)]


def _entries(index: dict[str, Any], where: str) -> Iterator[Link]:
    for entry in index.get("manifests", []):
        refuse_old(entry.get("mediaType", ""), where)
    for entry in index.get("manifests", []):
        if entry.get("mediaType") in INDEXES + MANIFESTS:
            yield link(entry, where)


def _names(name: Any) -> set[Any]:
    """A name as it stands, and what it means where it can be completed."""
    try:
        return {name, Reference.parse(name)} if isinstance(name, str) else set()
    except SealiftError:
        return {name}
