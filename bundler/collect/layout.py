"""What an OCI layout lists (OCI image-spec, image-layout.md): the entry of ``index.json`` that is meant."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

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
    """The image that ``ref`` names, or the only one; else the one that the pin names, or the only one of the platform.

    Raises ``image-not-found`` (2) and what :func:`~bundler.collect.image.collect_image` raises.
    """
    if store.open("oci-layout") is None:
        raise SealiftError(
            "image-not-found", f"{store.name} is not an OCI layout: it has no file oci-layout", hint="check the path"
        )
    listed = store.open("index.json")
    if listed is None:
        raise SealiftError("image-not-found", f"{store.name} has no index.json", hint="make the layout again")
    try:
        index = read_object(read_json(listed, f"index.json of {store.name}"), f"index.json of {store.name}")
        entry = _choose(index, ref, wish, store.name)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise broken(store.name, error) from error
    full_name = entry.annotations.get(FULL_NAME, "")
    if isinstance(full_name, str) and REFERENCE.fullmatch(full_name):
        wish = replace(wish, reference=full_name)
    return collect_image(store, entry, wish)


def _choose(index: dict[str, Any], ref: str | None, wish: Wish, where: str) -> Link:
    for entry in index.get("manifests", []):
        refuse_old(entry.get("mediaType", ""), where)
    entries = [
        link(entry, where) for entry in index.get("manifests", []) if entry.get("mediaType") in INDEXES + MANIFESTS
    ]
    found = entries if ref is None else [entry for entry in entries if _is_called(entry, ref)]
    for narrower in (
        [entry for entry in found if entry.part.digest == wish.pin],
        [entry for entry in found if entry.platform == wish.platform],
    ):
        if len({entry.part.digest for entry in found}) > 1 and narrower:
            found = narrower
    if len({entry.part.digest for entry in found}) == 1:
        return found[0]
    wanted = f"called {ref}" if ref is not None else "to choose by itself"
    names = [entry.annotations.get(REF_NAME, "") for entry in entries]
    known = ", ".join(str(name) for name in names if name) or "none with a name"
    raise SealiftError(
        "image-not-found",
        f"{where} has no single image {wanted} (it has: {known})",
        hint="name one behind a colon, as in oci:FOLDER:REF" if entries else "the layout is empty",
    )


def _is_called(entry: Link, ref: str) -> bool:
    """By its short name, or by its whole name however that is completed."""
    full_name = entry.annotations.get(FULL_NAME)
    return ref in (entry.annotations.get(REF_NAME), full_name) or (
        isinstance(full_name, str) and _completed(ref) == _completed(full_name)
    )


def _completed(text: str) -> str | None:
    try:
        return str(Reference.parse(text))
    except SealiftError:
        return None
