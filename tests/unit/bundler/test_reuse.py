"""What did not change since an earlier bundle is taken from it: never believed, never needed, never other bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bundler.build import Request, assembled, build, draft
from bundler.collect.content import Content
from bundler.durable import PARTIAL
from bundler.media.kit import LEFTOVER
from bundler.signing.sign import generate
from bundler.writing import press
from bundler.writing import reuse as reusing
from bundler.writing.assemble import Assembly
from bundler.writing.reuse import ENCODER, Earlier, Reuse
from bundler.writing.write import Writer
from installer.bundle.archive import BundleReader
from installer.bundle.frames import Frame
from installer.errors import SealiftError
from installer.talk import Talk
from tests.unit.bundler.layouts import make_product

QUIET = Talk(quiet=True)


@dataclass
class Remote:
    """Content that somebody else has to send; ``sent`` tells how often."""

    content: Content
    sent: list[int]

    @property
    def size(self) -> int:
        return self.content.size

    def chunks(self) -> Iterator[bytes]:
        self.sent.append(self.size)
        yield from self.content.chunks()


@dataclass
class Place:
    """A product, what goes into its release, and a bundle of it."""

    assembly: Assembly
    bundle: Path
    sent: list[int]

    def write(self, name: str, *earlier: Path, warn: Callable[[str], None] = lambda _: None) -> bytes:
        """Write the release again, with these bundles at hand; the file's bytes."""
        self.sent.clear()
        path = self.bundle.with_name(name)
        with Reuse(earlier) as reuse:
            Writer(reuse=reuse, warn=warn).write(path, self.assembly, {})
        return path.read_bytes()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Assembly]:
    """What goes into a release whose blobs are here."""
    manifest = make_product(tmp_path)
    asked = Request("v2.1.0", tmp_path, installer=manifest.parent / "install")
    with assembled(asked, draft(asked), tmp_path, QUIET) as assembly:
        yield assembly


@pytest.fixture
def place(local: Assembly, tmp_path: Path) -> Place:
    """Its blobs come from somewhere else."""
    sent: list[int] = []
    parts = {
        name: replace(part, content=Remote(part.content, sent)) if name.startswith("blobs/") else part
        for name, part in local.parts.items()
    }
    found = Place(Assembly(local.release, parts), tmp_path / "first.bundle.tar.zst", sent)
    found.write(found.bundle.name)
    assert sent
    return found


def test_blobs_of_an_earlier_bundle_are_not_sent_again(place: Place) -> None:
    assert place.write("second", place.bundle) == place.bundle.read_bytes()
    assert place.sent == []


def test_a_blob_that_the_earlier_bundle_lacks_comes_from_its_source(place: Place, tmp_path: Path) -> None:
    name = next(name for name in place.assembly.parts if name.startswith("blobs/"))
    earlier = Earlier.open(place.bundle)
    assert earlier is not None and name in earlier.places
    whole = place.bundle.read_bytes()
    earlier.reader.close()
    last = max(position for position, _ in earlier.places.values())
    place.bundle.write_bytes(whole[:last])  # cut short before the last one
    assert place.write("second", place.bundle) == whole
    assert len(place.sent) == 1


@pytest.mark.parametrize("encoder", [ENCODER.encode(), b"another", None])
def test_frames_are_carried_over_only_from_the_same_encoder(
    place: Place, monkeypatch: pytest.MonkeyPatch, encoder: bytes | None
) -> None:
    if encoder is None:
        os.removexattr(place.bundle, "user.sealift.encoder")
    else:
        os.setxattr(place.bundle, "user.sealift.encoder", encoder)
    carried: list[str] = []
    frames = Earlier.frames

    def carry(self: Earlier, name: str, size: int) -> Iterator[tuple[int, Frame]]:
        carried.append(name)
        return frames(self, name, size)

    monkeypatch.setattr(Earlier, "frames", carry)
    assert place.write("second", place.bundle) == place.bundle.read_bytes()
    assert place.sent == []
    assert bool(carried) == (encoder == ENCODER.encode())


def test_a_damaged_earlier_bundle_costs_time_and_nothing_else(place: Place) -> None:
    whole = place.bundle.read_bytes()
    with BundleReader(place.bundle) as reader:
        first = reader.position
    told: list[str] = []
    for position in range(first, len(whole), 997):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        place.bundle.write_bytes(damaged)
        assert place.write("second", place.bundle, warn=told.append) == whole
    assert any("is damaged, so nothing is taken from it" in line for line in told)


def test_an_earlier_bundle_that_is_none_is_passed_over(place: Place, tmp_path: Path) -> None:
    whole = place.bundle.read_bytes()
    for content in (b"", b"no bundle", whole[:100], whole[:2000]):
        (tmp_path / "none").write_bytes(content)
        assert place.write("second", tmp_path / "none", tmp_path / "absent") == whole


def test_local_blobs_are_read_where_they_are(local: Assembly, tmp_path: Path) -> None:
    first = tmp_path / "first"
    Writer().write(first, local, {})
    with Reuse([first]) as reuse:
        listed = [(name, member) for name, member in local.release.members() if name.startswith("blobs/")]
        for name, member in listed:
            found = reuse.find(name, member, local.parts[name])
            assert (found is None) == local.parts[name].packed


def key(folder: Path) -> Path:
    generate(folder, "release", "word")
    return folder / "release.key"


def asked(root: Path) -> Request:
    manifest = make_product(root)
    return Request("v2.1.0", root, None, (key(root),), None, manifest.parent / "install", root / "out")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SealiftError("registry-unreachable", "it does not answer")])
def test_an_interrupted_build_leaves_what_the_next_one_goes_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    request = asked(tmp_path)
    members = reusing.Reuse.find
    count = 0

    def find(self: Reuse, *arguments: object) -> Earlier | None:
        nonlocal count
        count += 1
        if count == 5:
            raise error
        return members(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(reusing.Reuse, "find", find)
        patch.setattr(press, "_BATCH", 0)  # small as it is, it is written at once
        with pytest.raises(type(error)):
            build(request, lambda _: "word", QUIET)
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name == f"board-v2.1.0{PARTIAL}"
    assert [path.name for path in folder.iterdir()] == [LEFTOVER]
    earlier = Earlier.open(folder / LEFTOVER)
    assert earlier is not None
    earlier.reader.close()
    built = build(request, lambda _: "word", QUIET)
    assert list((tmp_path / "out").iterdir()) == [built.kit]
    assert not (built.kit / LEFTOVER).exists()
