"""The process that applies a patch: within its bounds, never beyond them, and able to do nothing else."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.delta.layers import Unpacked
from bundler.delta.patches import make_patch
from installer.bundle.packing import Encoding, Gzip, Patch, Plain, Zstd
from installer.errors import SealiftError
from installer.patching import base, confine
from installer.patching import rebuild as parent
from installer.patching.base import Base, InMemory
from installer.patching.encoders import version_of
from installer.patching.rebuild import Rebuilder, no_files
from installer.patching.segments import CONTENT, FRAME, HEADER_BYTES, HELD, PREFIX, Malformed, Segment, reach_of
from installer.patching.worker import order_of
from installer.patching.zstdlib import zstd
from tests import editions

OLD: Final = editions.layer(editions.tree(3, files=12))
NEW: Final = editions.layer(editions.upgraded(editions.tree(3, files=12), 4))


class Held:
    """Old layers in memory."""

    def __init__(self, *layers: bytes) -> None:
        self.layers = {editions.sha256(data): data for data in layers}

    def has(self, digest: str) -> bool:
        return digest in self.layers

    def read(self, digest: str) -> Iterator[bytes]:
        yield self.layers[digest]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The patch from OLD to NEW."""
    out, folder = io.BytesIO(), tmp_path_factory.mktemp("patch")
    with Unpacked([OLD], folder) as old, Unpacked([NEW], folder) as new:
        make_patch(old, new, out)
    return out.getvalue()


def told(data: bytes, base: bytes = OLD, encoding: Encoding | None = None, **fields: Any) -> Patch:
    """What packing.json says of a patch."""
    values: dict[str, Any] = {
        "base": editions.sha256(base),
        "base_unpacked": len(OLD),
        "digest": editions.sha256(data),
        "encoding": encoding or Plain(),
        "reach": len(OLD),
        "size": len(data),
        "target": editions.sha256(NEW),
        "unpacked": len(NEW),
    }
    return Patch(**values | fields)


def applied(folder: Path, patch: Patch, data: bytes, base: bytes = OLD, way: str = "in memory") -> bytes:
    """What a patch gives; the old layer comes by a pipe and is kept in memory or in a file, or lies on this host."""
    if way == "in a file":
        patch = patch.model_copy(update={"reach": HELD + 1})
    place = folder.parent / f"{folder.name}-{patch.base[-8:]}"
    if way == "on this host":
        place.write_bytes(base)
    rebuilder = Rebuilder(Held(base), folder, (lambda _: place.open("rb")) if place.exists() else no_files)
    return b"".join(rebuilder.rebuild(patch, [data]))


WAYS: Final = ("in memory", "in a file", "on this host")
BASES: Final = {
    "plain": OLD,
    "gzip": editions.zlib_gzip(OLD),
    "other gzip": editions.foreign_gzip(OLD),
    "zstd": editions.zstd_stream(OLD),
    "two members": editions.zlib_gzip(OLD[:9]) + editions.zlib_gzip(OLD[9:]),
}
OTHERS: Final = {
    "none": b"",
    "short": OLD[:-1],
    "long": OLD + b"x",
    "cut": editions.zlib_gzip(OLD)[:-4],
    "bomb": editions.zlib_gzip(OLD + bytes(5_000_000)),
    "garbage": b"\x1f\x8bnot gzip at all",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_gives_the_new_layer_whatever_the_old_one_is_packed_in(
    tmp_path: Path, made: bytes, base: bytes, way: str
) -> None:
    assert applied(tmp_path, told(made, base), made, base, way) == NEW
    assert list(tmp_path.iterdir()) == []


def test_a_patch_much_smaller_than_the_layer(made: bytes) -> None:
    assert len(made) < len(NEW) * 0.1


def _frame(content: bytes, prefix: bytes = b"") -> bytes:
    return zstd.compress(content, zstd_dict=zstd.ZstdDict(prefix, is_raw=True).as_prefix if prefix else None)


def _segment(content: bytes, frame: bytes, offset: int = 0, length: int = 0, said: int | None = None) -> bytes:
    return Segment(offset, length, len(content) if said is None else said, len(frame)).to_bytes() + frame


MALFORMED: Final[dict[str, Callable[[bytes], bytes]]] = {
    "empty": lambda made: b"",
    "ends within a header": lambda made: made[: HEADER_BYTES - 1],
    "ends within a frame": lambda made: made[:-1],
    "more after the last segment": lambda made: made + b"x",
    "a frame that is none": lambda made: made[:HEADER_BYTES] + b"x" * (len(made) - HEADER_BYTES),
    "leans on more than there is": lambda made: _segment(NEW, _frame(NEW), len(OLD), 1),
    "leans from far away": lambda made: _segment(NEW, _frame(NEW), 2**64 - 1, 0),
    "a prefix beyond its bound": lambda made: _segment(NEW, _frame(NEW), 0, PREFIX + 1),
    "a segment beyond its bound": lambda made: _segment(NEW, _frame(NEW), said=CONTENT + 1),
    "a frame beyond its bound": lambda made: Segment(0, 0, len(NEW), FRAME + 1).to_bytes(),
    "a segment of nothing": lambda made: _segment(b"", _frame(b"")),
    "more than the layer": lambda made: _segment(NEW + b"x", _frame(NEW + b"x")),
    "gives less than it says": lambda made: _segment(NEW, _frame(NEW[:-1])),
    "gives more than it says": lambda made: _segment(NEW, _frame(NEW + b"x")),
    "a bomb": lambda made: _segment(NEW, _frame(bytes(400_000_000))),
    "two frames in one": lambda made: _segment(NEW, _frame(NEW) + _frame(b"x")),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_refuses_a_patch_that_breaks_its_form(tmp_path: Path, made: bytes, what: str) -> None:
    data = MALFORMED[what](made)
    with pytest.raises(SealiftError) as refused:
        applied(tmp_path, told(data), data)
    assert (refused.value.id, refused.value.exit_code) == ("patch-malformed", 3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("base", OTHERS.values(), ids=OTHERS)
def test_refuses_an_old_layer_that_is_another_one(tmp_path: Path, made: bytes, base: bytes, way: str) -> None:
    with pytest.raises(SealiftError) as refused:
        applied(tmp_path, told(made, base), made, base, way)
    assert refused.value.id == "patch-malformed"


def test_refuses_what_wants_more_memory_than_a_patch_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(CONTENT)
    data = _segment(content, _frame(content))
    packed = Zstd(at_once=True, checksum=False, level=1, library=version_of("zstd") or "", sized=True)
    patch = told(data, unpacked=CONTENT, encoding=packed)

    def little(*order: Any) -> bytes:
        return order_of(*order).replace(b'"memory":536870912', b'"memory":50000000')

    monkeypatch.setattr(parent, "order_of", little)
    with pytest.raises(SealiftError) as refused:
        applied(tmp_path, patch, data)
    assert (refused.value.id, refused.value.exit_code) == ("patch-too-large", 3)


def test_refuses_what_takes_more_time_than_a_patch_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(CONTENT)
    data = _segment(content, _frame(content)) * 60
    monkeypatch.setattr(parent, "order_of", lambda *order: order_of(*order).replace(b'"seconds":', b'"seconds":1,"x":'))
    gzip = Gzip(header="1f8b0800000000000003", level=9, library=version_of("gzip") or "")
    with pytest.raises(SealiftError) as refused:
        applied(tmp_path, told(data, unpacked=60 * CONTENT, encoding=gzip), data)
    assert refused.value.id == "patch-too-large"


def test_another_version_of_the_compressor_is_told_before_anything_is_read(tmp_path: Path, made: bytes) -> None:
    patch = told(made, encoding=Gzip(header="1f8b0800000000000003", level=6, library="0.9"))
    with pytest.raises(SealiftError) as refused:
        applied(tmp_path, patch, made)
    assert (refused.value.id, refused.value.exit_code) == ("patch-encoder", 6)


def test_what_reading_the_old_layer_raises_comes_through(tmp_path: Path, made: bytes) -> None:
    class Gone(Held):
        def read(self, digest: str) -> Iterator[bytes]:
            yield OLD[:1000]
            raise SealiftError("registry-unreachable", "the registry went away", hint="x")

    with pytest.raises(SealiftError) as refused:
        list(Rebuilder(Gone(OLD), tmp_path).rebuild(told(made), [made]))
    assert refused.value.id == "registry-unreachable"


def test_the_new_layer_comes_while_the_old_one_still_does(tmp_path: Path) -> None:
    piece = 4 * 1024 * 1024
    halves = (random.Random(1).randbytes(piece), random.Random(2).randbytes(piece))
    out, base = io.BytesIO(), b"".join(halves)
    for number, half in enumerate(halves):
        out.write(_segment(half, _frame(half, half), number * piece, piece))
    seen = threading.Event()

    class Slow(Held):
        def read(self, digest: str) -> Iterator[bytes]:
            yield halves[0]
            assert seen.wait(60), "nothing came before all of the old layer was there"
            yield halves[1]

    found = []
    patch = told(out.getvalue(), base, base_unpacked=len(base), reach=len(base), unpacked=len(base))
    for chunk in Rebuilder(Slow(base), tmp_path).rebuild(patch, [out.getvalue()]):
        found.append(chunk)
        seen.set()
    assert b"".join(found) == base


def test_of_a_large_old_layer_no_more_is_kept_than_a_patch_reaches_back(tmp_path: Path) -> None:
    """400 MB through a process that may have 200: as one layer, kept whole, it has no room there."""
    piece = random.Random(3).randbytes(8 * 1024 * 1024)
    out, base = io.BytesIO(), piece * 50
    for number in range(50):
        out.write(_segment(piece, _frame(piece, piece), number * len(piece), len(piece)))
    patch = told(out.getvalue(), base, base_unpacked=len(base), unpacked=len(base), reach=len(piece))

    def little(*order: Any) -> bytes:
        return order_of(*order).replace(b'"memory":536870912', b'"memory":200000000')

    with pytest.MonkeyPatch.context() as bent:
        bent.setattr(parent, "order_of", little)
        assert applied(tmp_path, patch, out.getvalue(), base) == base
        bent.setattr(parent, "HELD", 2**40)
        with pytest.raises(SealiftError) as refused:
            applied(tmp_path, patch.model_copy(update={"reach": len(base)}), out.getvalue(), base)
    assert refused.value.id == "patch-too-large"


def test_a_segment_that_leans_further_back_than_the_patch_may_reach_is_refused(tmp_path: Path) -> None:
    piece = random.Random(4).randbytes(1000)
    base = piece * 3
    back = _segment(piece, _frame(piece, base[500:1500]), 500, 1000)
    data = _segment(piece, _frame(piece, piece), 2000, 1000) + back
    patch = told(data, base, base_unpacked=len(base), unpacked=2000, reach=2500)
    assert applied(tmp_path, patch, data, base) == piece * 2
    with pytest.raises(SealiftError) as refused:
        applied(tmp_path, patch.model_copy(update={"reach": 2499}), data, base)
    assert refused.value.id == "patch-malformed"


@settings(max_examples=400)
@given(
    st.lists(st.sampled_from([1, 40]), min_size=5, max_size=40),
    st.lists(st.tuples(st.sampled_from([-1, 0, 0, 0, 9]), st.integers(0, 60)), min_size=2, max_size=20),
    st.integers(1, 40),
    st.integers(0, 60),
)
def test_what_is_kept_in_memory_is_what_was_there_or_is_said_to_be_gone(
    sizes: list[int], wanted: list[tuple[int, int]], reach: int, ahead: int
) -> None:
    """However much is read ahead between two stretches, in a ring that is as small as it may be."""
    whole, furthest, ends = random.Random(5).randbytes(sum(sizes)), 0, list(accumulate(sizes))
    pieces = [whole[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    with pytest.MonkeyPatch.context() as small:
        small.setattr(base, "PIECE", 40)
        small.setattr(base, "_AHEAD", ahead)
        old = Base(InMemory(reach, len(whole)), len(whole), iter(pieces))
        for more, length in wanted:
            offset = max(0, furthest - reach + more)
            furthest = max(furthest, offset + length)
            if offset < furthest - reach or offset + length > len(whole):
                with pytest.raises(Malformed):
                    old.stretch(offset, length)
                return
            assert old.stretch(offset, length) == whole[offset : offset + length]
            for _ in range(5):
                old.unpack_ahead()
        old.read_to_end()


def test_no_room_for_the_old_layer_is_a_full_disk(tmp_path: Path, made: bytes) -> None:
    room = tmp_path / "room"
    room.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", room], check=True)
    try:
        with pytest.raises(SealiftError) as refused:
            applied(room, told(made), made, way="in a file")
    finally:
        subprocess.run(["umount", room], check=True)
    assert (refused.value.id, refused.value.exit_code) == ("disk-full", 7)


FORBIDDEN: Final = {
    "open a file": "open('/etc/passwd')",
    "write a file": "os.open('x', os.O_CREAT | os.O_WRONLY)",
    "open a socket": "socket.socket()",
    "start a process": "os.fork()",
    "become another program": "os.execv('/bin/true', ['true'])",
    "signal somebody": "os.kill(os.getppid(), 0)",
    "raise its limits": "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))",
    "rename": "os.rename('a', 'b')",
}


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_once_confined_it_cannot(deed: str, tmp_path: Path) -> None:
    code = (
        "import os, socket, resource\nfrom installer.patching.confine import confine\n"
        f"confine(2**29, 60, 1000)\nos.write(1, b'confined')\n{FORBIDDEN[deed]}\nos.write(1, b' and free')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    assert done.stdout == b"confined"
    assert done.returncode < 0 or b"OSError" in done.stderr, done.stderr


def test_a_machine_without_a_filter_applies_nothing() -> None:
    with pytest.raises(OSError, match="riscv64"):
        confine.filter_of("riscv64")
    refused = parent.refusal(3, "patch-unconfined")
    assert (refused.id, refused.exit_code) == ("patch-unconfined", 7)


def test_what_comes_out_is_judged_by_its_digest_alone(tmp_path: Path) -> None:
    data = _segment(NEW, _frame(bytes(len(NEW))))
    assert hashlib.sha256(applied(tmp_path, told(data), data)).hexdigest() != hashlib.sha256(NEW).hexdigest()


def test_how_far_a_patch_reaches_back_is_told_by_its_segments() -> None:
    places = [(0, 100), (50, 100), (400, 100), (380, 60), (420, 10)]
    assert reach_of(Segment(offset, length, 1, 1) for offset, length in places) == 120
    assert reach_of([]) == 0


def test_a_patch_of_a_large_layer_begins_small_and_reaches_back_no_further_than_memory_does(tmp_path: Path) -> None:
    """So that there is something to send at once, and the old layer need not lie on the disk."""
    blocks = [random.Random(number).randbytes(1024 * 1024) for number in range(80)]
    base, new = b"".join(blocks), b"".join([b"added" * 1000, *blocks[:40], b"more", *blocks[40:]])
    out = io.BytesIO()
    with Unpacked([base], tmp_path) as old, Unpacked([new], tmp_path) as target:
        reach = make_patch(old, target, out)
    data = out.getvalue()
    first = Segment.parse(data[:HEADER_BYTES], len(base), len(new))
    assert first.content == 4 * 1024 * 1024
    assert reach <= HELD and len(data) < 200_000
    patch = told(data, base, base_unpacked=len(base), unpacked=len(new), reach=reach)
    assert applied(tmp_path, patch, data, base) == new


def test_a_layer_whose_halves_changed_places_still_makes_a_small_patch(tmp_path: Path) -> None:
    blocks = [random.Random(number).randbytes(1024 * 1024) for number in range(160)]
    base, new = b"".join(blocks), b"".join([*blocks[96:], *blocks[:96]])
    out = io.BytesIO()
    with Unpacked([base], tmp_path) as old, Unpacked([new], tmp_path) as target:
        reach = make_patch(old, target, out)
    data = out.getvalue()
    assert reach > HELD and len(data) < len(new) * 0.3
    patch = told(data, base, base_unpacked=len(base), unpacked=len(new), reach=reach)
    assert applied(tmp_path, patch, data, base) == new
