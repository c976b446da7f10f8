"""What a vector is, and the ways to make one: each changes a good bundle at one layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from installer.bundle.tarheader import tar_header
from installer.errors import ERRORS
from tests.vectors.forge import RELEASE, Forge, Frame, Member, file_of, frames_of, root_of

Make = Callable[[], bytes]


@cache
def good_root() -> bytes:
    """Trusts one key, for the product ``p``."""
    return root_of(RELEASE)


@dataclass(frozen=True)
class Vector:
    """A bundle, the root of trust it is judged by, and how that must end: ``error`` is None where it is accepted.

    ``needs_root``: who has only keys cannot tell, because the roots on the media decide.
    """

    name: str
    what: str
    error: str | None
    make: Make
    root: Make = good_root
    needs_root: bool = False

    @property
    def code(self) -> int:
        return int(ERRORS[self.error]) if self.error else 0

    @cached_property
    def bundle(self) -> bytes:
        """What :attr:`make` makes, made once for all who judge it in this process."""
        return self.make()

    @cached_property
    def trusted(self) -> bytes:
        """What :attr:`root` makes, likewise."""
        return self.root()


def good() -> bytes:
    """The base, unchanged."""
    return Forge().bytes()


def put(*place: str | int, to: Any) -> Make:
    """The field at ``place`` of the release holds ``to``."""

    def change(value: dict[str, Any]) -> None:
        node: Any = value
        for step in place[:-1]:
            node = node[step]
        node[place[-1]] = to

    return value(change)


def drop(*place: str | int) -> Make:
    """The field at ``place`` of the release is gone."""

    def change(value: dict[str, Any]) -> None:
        node: Any = value
        for step in place[:-1]:
            node = node[step]
        del node[place[-1]]

    return value(change)


def value(change: Callable[[dict[str, Any]], object]) -> Make:
    """Another release value, signed."""

    def make() -> bytes:
        forge = Forge().copy()
        change(forge.value)
        return forge.bytes()

    return make


def raw(change: Callable[[bytes], bytes]) -> Make:
    """Other bytes of release.json, signed."""

    def make() -> bytes:
        forge = Forge()
        forge.raw = change(forge.statement)
        return forge.bytes()

    return make


def signatures(change: Callable[[dict[str, bytes], bytes], dict[str, bytes]]) -> Make:
    """Other signature files; ``change`` gets the good ones and the signed bytes."""

    def make() -> bytes:
        forge = Forge()
        forge.edit_signatures = lambda made: change(made, forge.statement)
        return forge.bytes()

    return make


def packing(data: bytes) -> Make:
    """Another packing.json."""
    return lambda: Forge(packing=data).bytes()


def members(change: Callable[[list[Member]], list[Member]]) -> Make:
    """Other members."""
    return lambda: file_of(frames_of(change(Forge().members())))


def member(name: str, change: Callable[[Member], Member]) -> Make:
    """One member changed. ``name`` may be its beginning."""
    return members(lambda all_: [change(one) if one.name.startswith(name) else one for one in all_])


def frames(change: Callable[[list[Frame]], list[Frame]]) -> Make:
    """Other frames, and the index that fits them."""
    return lambda: file_of(change(Forge().frames()))


def frame(label: str, change: Callable[[bytes], bytes], content: int | None = None) -> Make:
    """The bytes of one frame changed; the index says what the frame says, or ``content``."""

    def changed(one: Frame) -> Frame:
        return replace(one, data=change(one.data), content=one.content if content is None else content)

    return frames(lambda all_: [changed(one) if one.label == label else one for one in all_])


def tail(change: Callable[[bytes], bytes]) -> Make:
    """Other bytes after the last frame; ``change`` gets the right index."""

    def make() -> bytes:
        all_ = Forge().frames()
        return file_of(all_, change(file_of(all_)[sum(len(one.data) for one in all_) :]))

    return make


def whole(change: Callable[[bytes], bytes]) -> Make:
    """Other bytes of the file."""
    return lambda: change(good())


FIELDS = {
    "name": (0, 100),
    "mode": (100, 108),
    "uid": (108, 116),
    "gid": (116, 124),
    "size": (124, 136),
    "time": (136, 148),
    "checksum": (148, 156),
    "type": (156, 157),
    "linkname": (157, 257),
    "magic": (257, 265),
    "uname": (265, 297),
    "gname": (297, 329),
    "devmajor": (329, 337),
    "devminor": (337, 345),
    "prefix": (345, 500),
    "rest": (500, 512),
}


def header(of: str = "CHANGELOG.md", /, **fields: bytes) -> Make:
    """Fields of a member's tar header hold other bytes; its checksum is right unless it is one of them."""
    return member(of, lambda one: replace(one, header=header_with(one, **fields)))


def header_with(one: Member, **fields: bytes) -> bytes:
    """The header of ``one``, with some fields replaced."""
    block = bytearray(tar_header(one.name, len(one.data), one.mode))
    for name, data in fields.items():
        start, end = FIELDS[name]
        if len(data) > end - start:
            raise ValueError(f"{name} has only {end - start} bytes")
        block[start:end] = data.ljust(end - start, b"\0")
    if "checksum" not in fields:
        total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
        block[148:156] = f"{total:06o}\0 ".encode("ascii")
    return bytes(block)
