"""What the reader of a bundle promises."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyrage
import pytest

from installer.bundle import archive
from installer.bundle.age import MediaKey
from installer.bundle.archive import ArchiveWriter, BundleReader, locate_bundle
from installer.bundle.frames import FRAME_DATA
from installer.bundle.release import Release
from installer.bundle.verify import VerifiedRelease, check_content, verify_release
from installer.errors import ExitCode, SealiftError
from tests.vectors.forge import RELEASE, STRANGER, Forge
from tests.vectors.judge import installed


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


@pytest.fixture
def bundle(forge: Forge, tmp_path: Path) -> Path:
    return forge.write(tmp_path)


def refusal(path: Path) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        BundleReader(path)
    return caught.value


def test_hands_over_exactly_the_signed_content(bundle: Path, forge: Forge) -> None:
    with bundle.open("rb") as file:
        held = installed(file, forge.policy)
    assert held.pop("release.json") == forge.statement
    assert sorted(held.values()) == sorted(forge.content.values())


def test_opens_in_stock_tar_and_zstd(bundle: Path, forge: Forge) -> None:
    listed = subprocess.run(["tar", "--zstd", "-tf", bundle], capture_output=True, text=True, check=True).stdout.split()
    assert listed[0] == "release.json"
    assert set(forge.content) < set(listed)
    subprocess.run(["zstd", "-q", "-t", bundle], check=True)


def test_trusts_one_key_as_well_as_a_root(bundle: Path) -> None:
    with BundleReader(bundle) as reader:
        assert verify_release(reader, RELEASE.policy).signers[0].name == "release.pub"
    with BundleReader(bundle) as reader, pytest.raises(SealiftError) as caught:
        verify_release(reader, STRANGER.policy)
    assert (caught.value.id, caught.value.exit_code) == ("no-valid-signature", ExitCode.UNTRUSTED)


def test_quick_says_what_it_has_not_checked(bundle: Path, forge: Forge) -> None:
    with BundleReader(bundle) as reader:
        verified = verify_release(reader, forge.policy)
        skipped = check_content(reader, verified, [], quick=True)
    assert set(skipped) == set(forge.content)


def test_nobody_else_can_make_a_verified_release(forge: Forge) -> None:
    release = Release.parse(forge.statement)
    with pytest.raises(TypeError):
        VerifiedRelease(release, forge.statement, release.digest, {}, (), forge.policy)
    with BundleReader.from_file(io.BytesIO(forge.bytes()), "x") as reader:
        verified = verify_release(reader, forge.policy)
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(verified, raw=b"another")


def test_keeps_members_of_many_frames_whole(tmp_path: Path) -> None:
    large = bytes(range(256)) * (17 * 4096 + 3)  # two full frames and a piece that needs padding
    path = tmp_path / "x.bundle.tar.zst"
    with path.open("wb") as out:
        writer = ArchiveWriter(out)
        for compressed in (True, False):
            writer.member(f"large-{compressed}", len(large), [large[:9000000], large[9000000:]], compressed=compressed)
        writer.close()
    for name in ("large-True", "large-False"):
        out_bytes = subprocess.run(["tar", "--zstd", "-xOf", path, name], capture_output=True, check=True).stdout
        assert out_bytes == large


def test_never_waits_for_a_pipe_on_the_media(tmp_path: Path) -> None:
    path = tmp_path / "p.bundle.tar.zst"
    os.mkfifo(path)
    assert refusal(path).id == "media-not-a-file"


def test_refuses_a_device_or_folder_in_place_of_a_bundle(tmp_path: Path) -> None:
    assert refusal(Path("/dev/zero")).id == "media-not-a-file"
    (tmp_path / "p.bundle.tar.zst").mkdir()
    assert refusal(tmp_path / "p.bundle.tar.zst").id == "media-not-a-file"


def test_names_what_it_cannot_read(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.bundle.tar.zst").id == "media-unreadable"


def test_finds_the_only_bundle_of_a_media_folder(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / f"._{bundle.name}").write_bytes(b"what macOS leaves on sticks")
    assert locate_bundle(tmp_path) == bundle
    (tmp_path / "q-1.0.0-linux-amd64.bundle.tar.zst").write_bytes(b"")
    with pytest.raises(SealiftError) as caught:
        locate_bundle(tmp_path)
    assert caught.value.id == "not-a-bundle"


@pytest.mark.parametrize(
    "pieces", [[b"abcd\0\0"], [b"abc", b"d\0\0"], [b"abcd", b"\0\0"], [b"ab", b"cd", b"\0", b"\0"]]
)
def test_padding_is_no_content_however_a_frame_is_cut(pieces: list[bytes]) -> None:
    frame: Any = SimpleNamespace(unpack=lambda: pieces)
    assert b"".join(archive.unpadded(frame, 4)) == b"abcd"
    pieces[-1] = pieces[-1][:-1] + b"\1"
    with pytest.raises(SealiftError) as caught:
        list(archive.unpadded(frame, 4))
    assert caught.value.id == "tar-padding"


def test_each_frame_of_a_member_but_the_last_is_full() -> None:
    full = FRAME_DATA
    assert [list(archive.data_frames(size)) for size in (0, 1, full, full + 1)] == [
        [],
        [(1, 512)],
        [(full, full)],
        [(full, full), (1, 512)],
    ]


def test_opens_encrypted_media_with_the_key_that_is_brought_and_names_them_without(
    forge: Forge, tmp_path: Path
) -> None:
    key, part = MediaKey.generate(), tmp_path / "lan-chat.bundle.tar.zst.age.001"
    part.write_bytes(pyrage.encrypt(forge.bytes(), [pyrage.x25519.Recipient.from_str(key.recipient)]))
    with BundleReader(part, unlock=lambda: [key]) as reader:
        assert (reader.encrypted, reader.head.release) == (True, forge.statement)
    error = refusal(part)
    assert (error.id, error.message.split(" ")[0]) == ("media-encrypted", "lan-chat.bundle.tar.zst.age")
