"""Frames on several threads: the bytes of one thread, and no failure gets lost on the way."""

from __future__ import annotations

import hashlib
import io
import random
import threading
import time
from collections.abc import Iterator

import pytest

from bundler.writing.press import Hashed, Press
from installer.bundle.archive import ArchiveWriter
from installer.bundle.frames import FRAME_DATA, Buffer

NOISE = random.Random(7).randbytes(FRAME_DATA + 4321)
MEMBERS = [
    ("a/text", b"the same words " * 900_000, False),
    ("b/packed", NOISE, True),
    *((f"c/{number}", bytes([number]) * number * 7, bool(number % 2)) for number in range(40)),
    ("d/last", NOISE[:FRAME_DATA], False),
]


@pytest.fixture(autouse=True)
def _no_thread_stays_behind() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def write(archive: ArchiveWriter, step: int) -> None:
    for name, data, packed in MEMBERS:
        archive.member(name, len(data), chunks(data, step), compressed=packed)
    archive.close()


@pytest.mark.parametrize(("jobs", "step"), [(1, 1 << 20), (2, 999_999), (7, 131_073)])
def test_writes_the_same_bytes_with_any_number_of_threads_and_any_chunks(jobs: int, step: int) -> None:
    plain, pressed = io.BytesIO(), io.BytesIO()
    write(ArchiveWriter(plain), 1 << 20)
    hashed = Hashed(pressed)
    with Press(hashed, jobs) as press:
        write(press, step)
    assert pressed.getvalue() == plain.getvalue()
    assert hashed.sha256 == hashlib.sha256(plain.getvalue()).hexdigest()
    hashed.close()
    assert press.written == len(plain.getvalue())


class Full:
    """Takes so many bytes, and then none."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, data: Buffer) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, "no space left on device")
        return len(data)


@pytest.mark.parametrize("short", [1, 1000, 8_000_000, 16_000_000])
def test_a_write_that_fails_on_its_thread_fails_the_whole(short: int) -> None:
    whole = io.BytesIO()
    write(ArchiveWriter(whole), 1 << 20)
    room = len(whole.getvalue()) - short
    with pytest.raises(OSError, match="no space"), Press(Full(room), 2) as press:
        write(press, 1 << 20)


def test_holds_a_bounded_number_of_frames_while_the_disk_is_slow() -> None:
    class Slow:
        taken = 0

        def write(self, data: Buffer) -> int:
            time.sleep(0.002)
            Slow.taken += len(data)
            return len(data)

    ahead = []

    def watched(data: bytes) -> Iterator[bytes]:
        read = 0
        for chunk in chunks(data, 1 << 20):
            yield chunk
            read += len(chunk)
            ahead.append(read - Slow.taken)

    data = bytes(6 * FRAME_DATA)
    with Press(Slow(), 2) as press:
        press.member("a", len(data), watched(data), compressed=True)
        press.close()
    assert max(ahead) <= 4 * FRAME_DATA
