"""Docker archives (``docker save`` before engine 25, skopeo, crane, kaniko): ``manifest.json``, configurations, layers.

They know no manifest, so one is made, the same each time. The digests of uncompressed layers stand in the
configuration (``rootfs.diff_ids``, OCI image-spec, config.md); compressed ones are read once more to learn theirs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from bundler.collect.content import Bytes, Content, digest_of
from bundler.collect.documents import CONFIG, LAYER, MANIFEST, Link
from bundler.collect.image import CollectedImage, Wish, broken, collect_image
from bundler.collect.layout import collect_from_layout
from bundler.collect.reference import Reference
from bundler.collect.store import HeldStore, LayoutStore, read_json
from bundler.collect.tarfiles import Tar
from installer.bundle.digest import Digest
from installer.bundle.release import Descriptor
from installer.bundle.strictjson import canonical
from installer.errors import SealiftError

_HEX: Final = re.compile(r"(?:.*/)?([0-9a-f]{64})(?:\.json)?")
_KINDS: Final = ((b"\x1f\x8b", "+gzip"), (b"\x28\xb5\x2f\xfd", "+zstd"))


def collect_from_docker_archive(tar: Tar, ref: str | None, wish: Wish) -> CollectedImage:
    """The image that ``ref`` names, or the only one. An archive that is an OCI layout too is read as that.

    Raises ``image-not-found`` (2), and what :func:`~bundler.collect.image.collect_image` raises.
    """
    if tar.open("oci-layout") is not None:
        return collect_from_layout(LayoutStore(tar.name, tar.open), ref, wish)
    listed = tar.open("manifest.json")
    if listed is None:
        raise SealiftError(
            "image-not-found",
            f"{tar.name} is no docker-archive: it has no manifest.json",
            hint="make it by docker save",
        )
    try:
        entry = _choose(json.loads(read_json(listed, f"manifest.json of {tar.name}")), ref, tar.name)
        store, link = _converted(tar, entry)
        tags = [tag for tag in entry.get("RepoTags") or [] if ref is None or _completed(tag) == _completed(ref)]
        reference = str(tags[0]) if len(tags) == 1 else wish.reference
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise broken(tar.name, error) from error
    return collect_image(store, link, replace(wish, reference=reference))


def _choose(entries: Any, ref: str | None, name: str) -> dict[str, Any]:
    wanted = None if ref is None else _completed(ref)
    found = [
        entry for entry in entries if wanted is None or wanted in [_completed(tag) for tag in entry["RepoTags"] or []]
    ]
    if len(found) == 1:
        return dict(found[0])
    known = ", ".join(str(tag) for entry in entries for tag in entry["RepoTags"] or []) or "none with a name"
    what = f"called {ref}" if ref is not None else "to choose by itself"
    raise SealiftError(
        "image-not-found",
        f"{name} has no single image {what} (it has: {known[:300]})",
        hint="name one behind a second colon, as in docker-archive:FILE:NAME:TAG",
    )


def _converted(tar: Tar, entry: dict[str, Any]) -> tuple[HeldStore, Link]:
    """The image as an OCI manifest with its content."""
    config = read_json(_need(tar, entry["Config"]), f"configuration of {tar.name}")
    digest = str(Digest.of(config))
    called = _HEX.fullmatch(entry["Config"])
    if called and digest != f"sha256:{called[1]}":
        raise SealiftError("digest-mismatch", f"{entry['Config']} of {tar.name} is damaged: its name is not its digest")
    contents: dict[str, Content] = {digest: Bytes(config)}
    layers = []
    diff_ids: Sequence[str] = json.loads(config)["rootfs"].get("diff_ids") or []
    for path, diff_id in zip(entry["Layers"] or [], diff_ids, strict=True):
        content = _need(tar, path)
        suffix = _suffix(content)
        found = str(digest_of(content) if suffix else Digest.parse(diff_id))
        contents[found] = content
        layers.append(_descriptor(LAYER + suffix, found, content.size))
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, digest, len(config)),
            "layers": layers,
        }
    )
    part = Descriptor(media_type=MANIFEST, digest=str(Digest.of(manifest)), size=len(manifest))
    return HeldStore(tar.name, contents | {part.digest: Bytes(manifest)}), Link(part)


def _suffix(content: Content) -> str:
    """How a layer is compressed, as media types spell it; empty for a plain tar."""
    start = next(content.chunks(), b"")
    return next((suffix for magic, suffix in _KINDS if start.startswith(magic)), "")


def _need(tar: Tar, path: Any) -> Content:
    content = tar.follow(path) if isinstance(path, str) else None
    if content is None:
        raise SealiftError(
            "image-not-found", f"{tar.name} is incomplete: it lacks {str(path)[:200]}", hint="make the archive again"
        )
    return content


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _completed(text: str) -> str:
    try:
        return str(Reference.parse(text))
    except SealiftError:
        return text
