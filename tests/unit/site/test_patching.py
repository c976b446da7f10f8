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
from pathlib import Path
from typing import Any, Final

import pytest

from bundler.delta.layers import Unpacked
from bundler.delta.patches import make_patch
from installer.bundle.packing import Encoding, Gzip, Patch, Plain, Zstd
from installer.errors import SealiftError
from installer.patching import confine
from installer.patching import rebuild as parent
from installer.patching.encoders import version_of
from installer.patching.rebuild import Rebuilder
from installer.patching.segments import CONTENT, FRAME, HEADER_BYTES, PREFIX, Segment
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
        "size": len(data),
        "target": editions.sha256(NEW),
        "unpacked": len(NEW),
    }
    return Patch(**values | fields)


def applied(folder: Path, patch: Patch, data: bytes, base: bytes = OLD) -> bytes:
    return b"".join(Rebuilder(Held(base), folder).rebuild(patch, [data]))


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


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_gives_the_new_layer_whatever_the_old_one_is_packed_in(tmp_path: Path, made: bytes, base: bytes) -> None:
    assert applied(tmp_path, told(made, base), made, base) == NEW
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


@pytest.mark.parametrize("base", OTHERS.values(), ids=OTHERS)
def test_refuses_an_old_layer_that_is_another_one(tmp_path: Path, made: bytes, base: bytes) -> None:
    with pytest.raises(SealiftError) as refused:
        applied(tmp_path, told(made, base), made, base)
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
    patch = told(out.getvalue(), base, base_unpacked=len(base), unpacked=len(base))
    for chunk in Rebuilder(Slow(base), tmp_path).rebuild(patch, [out.getvalue()]):
        found.append(chunk)
        seen.set()
    assert b"".join(found) == base


def test_no_room_for_the_old_layer_is_a_full_disk(tmp_path: Path, made: bytes) -> None:
    room = tmp_path / "room"
    room.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", room], check=True)
    try:
        with pytest.raises(SealiftError) as refused:
            applied(room, told(made), made)
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
