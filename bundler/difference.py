"""What tells two releases apart, in words that a release engineer understands. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from installer.bundle.release import Descriptor, File, Image, Release

_LISTS: Final = ("files", "images")
_ABSENT: Final = object()


def differences(made: Release, given: Release) -> list[str]:
    """One line for each thing in which ``made`` is another release than ``given``: causes, not what follows from them.

    A line says what ``made`` has and what ``given`` had, such as ``tools/helper: mode 0755, was 0644``. Empty only
    for equal releases.
    """
    fields = list(_fields(made.model_dump(mode="json"), given.model_dump(mode="json")))
    images = list(_images(made, given))
    # The two files of the OCI layout say nothing that the images don't say.
    files = [line for role, line in _files(made, given) if not (images and role == "layout")]
    return [*fields, *images, *files]


def _fields(made: dict[str, Any], given: dict[str, Any]) -> Iterator[str]:
    """The fields of ``release.json`` but its two lists."""
    for name in made:
        if name not in _LISTS:
            yield from _values(name, made[name], given[name])


def _values(place: str, made: Any, given: Any) -> Iterator[str]:
    if isinstance(made, dict) and isinstance(given, dict):
        for name in sorted(made | given):
            yield from _values(f"{place}.{name}", made.get(name, _ABSENT), given.get(name, _ABSENT))
    elif made != given:
        yield f"{place}: {_shown(made)}, was {_shown(given)}"


def _shown(value: Any) -> str:
    if value is None or value is _ABSENT:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) and value.isprintable() else repr(value)


def _files(made: Release, given: Release) -> Iterator[tuple[str, str]]:
    """For each file that differs, its role and what differs."""
    now, before = ({file.path: file for file in release.files} for release in (made, given))
    for path in sorted(now | before):
        if path not in before:
            yield now[path].role, f"{path}: the bundle lacks it"
        elif path not in now:
            yield before[path].role, f"{path}: stands only in the bundle"
        else:
            yield from ((now[path].role, f"{path}: {what}") for what in _file(now[path], before[path]))


def _file(made: File, given: File) -> Iterator[str]:
    if made.digest != given.digest:
        yield _other_bytes(made.digest, given.digest)
    if made.mode != given.mode:
        yield f"mode {made.mode}, was {given.mode}"
    if made.role != given.role:
        yield f"role {made.role}, was {given.role}"


def _images(made: Release, given: Release) -> Iterator[str]:
    now, before = ({image.name: image for image in release.images} for release in (made, given))
    for name in sorted(now | before):
        if name not in before:
            yield f"image {name}: the bundle lacks it"
        elif name not in now:
            yield f"image {name}: stands only in the bundle"
        else:
            yield from (f"image {name}: {what}" for what in _image(now[name], before[name]))


def _image(made: Image, given: Image) -> Iterator[str]:
    """What differs in an image. A manifest names its parts: that it differs is only said where none of them does."""
    if made.reference != given.reference:
        yield f"reference {made.reference}, was {given.reference}"
    parts = list(_blobs(made.blobs, given.blobs))
    yield from parts
    if not parts and made.manifests != given.manifests:
        yield f"manifest: {_other_bytes(made.digest, given.digest)}"


def _blobs(made: tuple[Descriptor, ...], given: tuple[Descriptor, ...]) -> Iterator[str]:
    """The configuration stands first, then the layers, lowest first."""
    if len(made) != len(given):
        yield f"{len(made) - 1} layers, was {len(given) - 1}"
    for number, (one, other) in enumerate(zip(made, given, strict=False)):
        what = f"layer {number} of {len(made) - 1}" if number else "configuration"
        if one.digest != other.digest:
            yield f"{what}: {_other_bytes(one.digest, other.digest)}"
        elif one != other:
            yield f"{what}: media type {one.media_type}, was {other.media_type}"


def _other_bytes(made: str, given: str) -> str:
    """The digests are cut to what tells them apart at a glance; nothing is decided by them."""
    return f"other bytes ({_short(made)}, was {_short(given)})"


def _short(digest: str) -> str:
    kind, _, digits = digest.partition(":")
    return f"{kind} {digits[:12]}"
