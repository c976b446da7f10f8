"""Tars as engines and others make them, honest and hostile, and how images are taken from them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bundler.collect.image import CollectedImage, Wish
from bundler.collect.images import open_sources
from bundler.collect.sources import parse_source
from installer.talk import Talk
from tests.unit.bundler.layouts import tar_layer

LAYERS = (tar_layer(base=b"base " * 300), tar_layer(top=b"top"))
WISH = Wish("web", "linux/amd64", "fallback/web:1")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tar_of(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A tar of these; a ``TarInfo`` goes in as it is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, member in members.items():
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if isinstance(member, tarfile.TarInfo) else member
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def link_to(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """A link."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def configuration(layers: Sequence[bytes] = LAYERS, platform: str = "linux/amd64") -> bytes:
    system, architecture = platform.split("/")
    diff_ids = [f"sha256:{sha256(layer)}" for layer in layers]
    value = {"os": system, "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    return json.dumps(value).encode()


def docker_archive(
    layers: Sequence[bytes] = LAYERS,
    *,
    tags: Sequence[str] = ("acme/web:1",),
    config: bytes | None = None,
    stored: Sequence[bytes] | None = None,
) -> dict[str, bytes | tarfile.TarInfo]:
    """The members of what ``docker save`` gave before engine 25. ``stored``: the layers as they lie there."""
    config = configuration(layers) if config is None else config
    paths = [f"{sha256(layer)}/layer.tar" for layer in layers]
    named = f"{sha256(config)}.json"
    listed = json.dumps([{"Config": named, "RepoTags": list(tags), "Layers": paths}]).encode()
    members: dict[str, bytes | tarfile.TarInfo] = dict(zip(paths, stored or layers, strict=True))
    return members | {named: config, "manifest.json": listed}


def take(source: str, base: Path, wish: Wish = WISH) -> tuple[CollectedImage, dict[str, bytes]]:
    """The image, and its contents as they would be written."""
    with open_sources(Talk(quiet=True), base) as sources:
        (found,) = sources.collect(parse_source(source, base), wish)
        return found, {digest: b"".join(content.chunks()) for digest, content in found.contents.items()}


def wish(**changes: object) -> Wish:
    return replace(WISH, **changes)  # type: ignore[arg-type]


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)
