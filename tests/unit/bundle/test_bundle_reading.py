"""What the reader of a bundle promises, and what it refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from installer.bundle.archive import BundleReader
from installer.bundle.content import Sink, Writer
from installer.bundle.release import Descriptor, File, Release
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import VerifiedRelease, check_content, verify_release
from installer.errors import ExitCode, SealiftError
from tests.unit.bundle.forge import Forge, Key


class Collected(Sink):
    """Keeps what arrived, by digest; nothing that was not finished counts."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def open(self, member: File | Descriptor) -> Writer:
        held, parts = self.held, list[bytes]()

        class Keep(Writer):
            def write(self, chunk: bytes) -> None:
                parts.append(chunk)

            def finish(self) -> None:
                held[member.digest] = b"".join(parts)

            def abort(self) -> None:
                parts.clear()

        return Keep()

    def close(self) -> None:
        pass


def read(path: Path, policy: TrustPolicy) -> tuple[VerifiedRelease, dict[str, bytes]]:
    sink = Collected()
    with BundleReader(path) as reader:
        verified = verify_release(reader, policy)
        assert check_content(reader, verified, [sink]) == ()
    return verified, sink.held


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


@pytest.fixture
def bundle(forge: Forge, tmp_path: Path) -> Path:
    return forge.write(tmp_path)


def refusal(path: Path, policy: TrustPolicy) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        read(path, policy)
    return caught.value


def test_hands_over_exactly_the_signed_content(bundle: Path, forge: Forge) -> None:
    verified, held = read(bundle, forge.key.policy)
    assert verified.release.product == "p"
    assert sorted(held.values()) == sorted(forge.content.values())


def test_opens_in_stock_tar_and_zstd(bundle: Path, forge: Forge) -> None:
    listed = subprocess.run(["tar", "--zstd", "-tf", bundle], capture_output=True, text=True, check=True).stdout.split()
    assert listed[0] == "release.json"
    assert set(forge.content) < set(listed)
    subprocess.run(["zstd", "-q", "-t", bundle], check=True)


def test_writes_back_what_it_parsed_byte_for_byte(forge: Forge) -> None:
    assert Release.parse(forge.raw).to_bytes() == forge.raw


def test_refuses_the_signature_of_another_key(bundle: Path) -> None:
    error = refusal(bundle, Key().policy)
    assert (error.id, error.exit_code) == ("no-valid-signature", ExitCode.UNTRUSTED)


def test_checks_the_signature_before_it_parses_the_release(forge: Forge, tmp_path: Path) -> None:
    bundle = bytearray(forge.write(tmp_path).read_bytes())
    broken = Forge(key=forge.key)
    good = forge.raw
    broken.value = {**forge.value, "unknown": 1}
    assert len(bundle) and good != broken.raw
    with pytest.raises(SealiftError) as caught:
        Key().policy.judge("release", broken.raw, broken.signatures())
    assert caught.value.id == "no-valid-signature"


def test_refuses_a_release_with_an_unknown_field_although_it_is_signed(forge: Forge) -> None:
    from installer.bundle.strictjson import canonical

    with pytest.raises(SealiftError) as caught:
        Release.parse(canonical({**forge.value, "unknown": 1}))
    assert caught.value.id == "release-unknown-field"


def test_refuses_what_is_not_a_bundle(tmp_path: Path, forge: Forge) -> None:
    path = tmp_path / "x.bundle.tar.zst"
    for content in (b"", b"hello world, this is no bundle", b"PK\x03\x04" + bytes(600)):
        path.write_bytes(content)
        error = refusal(path, forge.key.policy)
        assert error.exit_code in (ExitCode.MALFORMED, ExitCode.CORRUPT)
        assert error.id in ("not-a-bundle", "truncated")


def test_refuses_every_truncation(bundle: Path, forge: Forge, tmp_path: Path) -> None:
    data = bundle.read_bytes()
    cut = tmp_path / "cut.bundle.tar.zst"
    for length in sorted({*range(0, len(data), 37), len(data) - 1}):
        cut.write_bytes(data[:length])
        assert refusal(cut, forge.key.policy).exit_code in (ExitCode.MALFORMED, ExitCode.CORRUPT)


def test_refuses_trailing_data(bundle: Path, forge: Forge) -> None:
    bundle.write_bytes(bundle.read_bytes() + b"x")
    assert refusal(bundle, forge.key.policy).id == "trailing-data"


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_refuses_a_flipped_byte_or_installs_exactly_the_signed_content(
    forge: Forge, tmp_path: Path, data: st.DataObject
) -> None:
    raw = bytearray(forge.bytes())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "flipped.bundle.tar.zst"
    path.write_bytes(raw)
    try:
        _, held = read(path, forge.key.policy)
    except SealiftError as error:
        assert error.exit_code in (ExitCode.MALFORMED, ExitCode.CORRUPT, ExitCode.UNTRUSTED)
    else:
        assert sorted(held.values()) == sorted(forge.content.values())


def test_quick_says_what_it_has_not_checked(bundle: Path, forge: Forge) -> None:
    with BundleReader(bundle) as reader:
        verified = verify_release(reader, forge.key.policy)
        skipped = check_content(reader, verified, [], quick=True)
    assert set(skipped) == set(forge.content)


def test_nobody_else_can_make_a_verified_release(forge: Forge) -> None:
    release = Release.parse(forge.raw)
    with pytest.raises(TypeError):
        VerifiedRelease(release, forge.raw, release.digest, {}, (), "nowhere")


def test_keeps_members_of_many_frames_whole(tmp_path: Path) -> None:
    from installer.bundle.archive import ArchiveWriter

    forge = Forge()
    large = bytes(range(256)) * (17 * 4096 + 3)  # two full frames and a piece that needs padding
    path = tmp_path / "x.bundle.tar.zst"
    with path.open("wb") as out:
        writer = ArchiveWriter(out)
        for compressed in (True, False):
            writer.member(f"large-{compressed}", len(large), [large[:9000000], large[9000000:]], compressed=compressed)
        writer.close()
    assert forge
    for name in ("large-True", "large-False"):
        out_bytes = subprocess.run(["tar", "--zstd", "-xOf", path, name], capture_output=True, check=True).stdout
        assert out_bytes == large
