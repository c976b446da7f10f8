"""The media changes or goes away while it is read: what is installed is one signed release whole, or nothing."""

from __future__ import annotations

import errno
import io
import random
from collections import Counter
from pathlib import Path

import pytest

from installer.bundle.frames import compress_frame
from installer.errors import ExitCode, SealiftError
from installer.media import Media, open_media
from tests.vectors.forge import Forge, Frame, file_of
from tests.vectors.judge import Collected, installed

TRIES = 1_000
SEED = 4


def release(version: str) -> Forge:
    """A validly signed release; all versions have the same sizes, so frames of one fit the other."""
    forge = Forge().copy()
    forge.value["version"] = version
    forge.content["CHANGELOG.md"] = f"# {version}\n\n- first\n".encode()
    forge.value["files"][0]["digest"] = _digest(forge.content["CHANGELOG.md"])
    return forge


def _digest(data: bytes) -> str:
    from installer.bundle.digest import Digest

    return str(Digest.of(data))


def stored(forge: Forge) -> bytes:
    """The bundle with raw frames, so that every frame of two releases has the same place in the file."""
    from tests.vectors.forge import zstd_frame
    from tests.vectors.in_frames import unpacked

    frames = [Frame(zstd_frame(unpacked(one)), one.content, one.label) for one in forge.frames()]
    return file_of(frames)


ONE, TWO = release("1.0.0"), release("2.0.0")
BYTES = (stored(ONE), stored(TWO))
POLICY = ONE.policy
WHOLE = [installed(io.BytesIO(data), POLICY) for data in BYTES]


class Fickle(io.BytesIO):
    """A stick that becomes another one, or goes away, at the n-th read."""

    def __init__(self, first: bytes, second: bytes | None, at: int) -> None:
        super().__init__(first)
        self._second, self._left = second, at

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left == 0:
            if self._second is None:
                raise OSError(errno.EIO, "Input/output error")
            place = self.tell()
            self.seek(0)
            self.write(self._second)
            self.truncate()
            self.seek(place)
        elif self._left < 0 and self._second is None:
            raise OSError(errno.ENODEV, "No such device")
        return super().read(size)


def test_a_thousand_swaps_and_pulls_install_nothing_mixed() -> None:
    assert len(BYTES[0]) == len(BYTES[1])
    chance = random.Random(SEED)
    outcomes: Counter[str] = Counter()
    for number in range(TRIES):
        pulled = number % 4 == 3
        file = Fickle(BYTES[0], None if pulled else BYTES[1], chance.randrange(1, 230))
        try:
            held = installed(file, POLICY)
        except SealiftError as error:
            assert error.exit_code in (ExitCode.MALFORMED, ExitCode.CORRUPT, ExitCode.UNTRUSTED)
            assert not pulled or error.id == "media-unreadable"
            outcomes[error.id] += 1
        else:
            assert held in WHOLE
            outcomes["whole"] += 1
    assert outcomes["whole"] > 10 and outcomes["media-unreadable"] > 100 and outcomes["digest-mismatch"] > 10


def opened(path: Path) -> Media:
    return open_media(path, POLICY)


def test_notices_another_bundle_under_the_same_name(tmp_path: Path) -> None:
    path = tmp_path / "p.bundle.tar.zst"
    path.write_bytes(BYTES[0])
    media = opened(path)
    path.write_bytes(BYTES[1])
    sink = Collected()
    with pytest.raises(SealiftError) as caught:
        media.read([sink], progress=lambda _: None)
    assert caught.value.id == "media-changed"
    assert sink.held == {}


def test_notices_another_content_behind_the_same_head(tmp_path: Path) -> None:
    path = tmp_path / "p.bundle.tar.zst"
    path.write_bytes(BYTES[0])
    media = opened(path)
    chance = random.Random(SEED)
    for _ in range(50):
        cut = chance.randrange(5000, len(BYTES[0]))
        path.write_bytes(BYTES[0][:cut] + BYTES[1][cut:])
        sink = Collected()
        try:
            media.read([sink], progress=lambda _: None)
        except SealiftError as error:
            assert error.id in ("digest-mismatch", "media-changed", "unsigned", "tar-checksum")
        wanted = {digest: data for digest, data in WHOLE[0].items() if digest != "release.json"}
        assert sink.held.items() <= wanted.items()


def test_reads_on_from_the_file_that_it_opened(tmp_path: Path) -> None:
    """A new file under the old name changes nothing for a reader that is under way."""
    path = tmp_path / "p.bundle.tar.zst"
    path.write_bytes(BYTES[0])
    other = tmp_path / "other"
    other.write_bytes(BYTES[1])
    with path.open("rb") as file:
        file.read(1)
        other.rename(path)
        file.seek(0)
        assert installed(file, POLICY) == WHOLE[0]


def test_frames_of_two_releases_are_the_same_size() -> None:
    assert compress_frame(b"x") != compress_frame(b"y")
    assert [frame.content for frame in ONE.frames()] == [frame.content for frame in TWO.frames()]
