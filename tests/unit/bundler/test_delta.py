"""A delta leaves out what sites hold, patches what changed, and is the same release for whoever can complete it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import zstandard

from bundler.cli import main
from bundler.delta import patches
from bundler.delta.holdings import Holdings
from bundler.delta.layers import Unpacked
from bundler.media.pack import Packed, pack
from bundler.verification import Verification, verify_media
from installer.bundle.archive import BundleReader
from installer.bundle.packing import Delta, read_packing
from installer.bundle.release import Release
from installer.errors import SealiftError
from installer.talk import Talk
from tests import editions
from tests.vectors.forge import RELEASE, root_of

QUIET: Final = Talk(quiet=True)
BASE: Final = editions.tree(1)
SHARED: Final = editions.layer(editions.tree(2, files=10))
OLD: Final = editions.layer(BASE)
NEW: Final = editions.layer(editions.upgraded(BASE, 7))
PACKERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "plain tar": lambda data: data,
    "gzip -6 by zlib": editions.zlib_gzip,
    "gzip -1 by zlib": lambda data: editions.zlib_gzip(data, 1),
    "gzip -9 by zlib": lambda data: editions.zlib_gzip(data, 9),
    "zstd -3, streamed": editions.zstd_stream,
    "zstd -7, streamed, sized": lambda data: editions.zstd_stream(data, 7, sized=True),
    "zstd -5, at once": lambda data: zstandard.ZstdCompressor(level=5).compress(data),
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Writes a release."""

    def write(version: str, *layers: bytes, **more: object) -> Path:
        forge = editions.edition(version, {"web": [SHARED, *layers]}, **more)  # type: ignore[arg-type]
        return editions.write(forge, tmp_path / version)

    return write


def delta_of(bundle: Path, out: Path, *since: Path) -> Packed:
    return pack(bundle, out, None, QUIET, [Holdings.of_bundle(path) for path in since])


def verified(bundle: Path, *have: Path) -> Verification:
    return verify_media(bundle, RELEASE.policy, QUIET, have=[Holdings.of_bundle(path) for path in have])


def packing_of(bundle: Path) -> Delta:
    with BundleReader(bundle) as reader:
        found = read_packing(reader.head.packing, Release.parse(reader.head.release))
    assert isinstance(found, Delta)
    return found


@pytest.mark.parametrize("packed", PACKERS)
def test_a_changed_layer_comes_as_a_patch_however_it_is_compressed(
    make: Callable[..., Path], tmp_path: Path, packed: str
) -> None:
    old, new = make("1.0.0", PACKERS[packed](OLD)), make("1.1.0", PACKERS[packed](NEW))
    made = delta_of(new, tmp_path / "out", old)
    (patch,) = packing_of(made.first).patches
    assert patch.size < len(PACKERS[packed](NEW)) * 0.1
    assert made.size < new.stat().st_size * 0.1
    assert verified(made.kit, old).not_checked == ()


def test_it_is_the_same_release_with_the_same_signatures(make: Callable[..., Path], tmp_path: Path) -> None:
    old, new = make("1.0.0", OLD), make("1.1.0", NEW)
    made = delta_of(new, tmp_path / "out", old)
    with BundleReader(new) as whole, BundleReader(made.first) as delta:
        assert (delta.head.release, delta.head.signatures) == (whole.head.release, whole.head.signatures)


def test_without_what_it_builds_on_it_is_incomplete(make: Callable[..., Path], tmp_path: Path) -> None:
    old, new = make("1.0.0", OLD), make("1.1.0", NEW)
    made = delta_of(new, tmp_path / "out", old)
    for have in ((), (make("0.9.0", editions.layer(editions.tree(9))),)):
        with pytest.raises(SealiftError) as refused:
            verified(made.first, *have)
        assert (refused.value.id, refused.value.exit_code) == ("incomplete", 4)
        assert "p 1.0.0" in refused.value.message


def test_foreign_compression_that_nobody_here_can_repeat_comes_whole(make: Callable[..., Path], tmp_path: Path) -> None:
    old, new = make("1.0.0", editions.foreign_gzip(OLD)), make("1.1.0", editions.foreign_gzip(NEW))
    made = delta_of(new, tmp_path / "out", old)
    assert packing_of(made.first).patches == ()
    assert verified(made.first, old).not_checked == ()
    assert f"blobs/sha256/{editions.sha256(editions.foreign_gzip(NEW))[7:]}" not in packing_of(made.first).absent


def test_the_old_layer_may_be_compressed_by_anybody(make: Callable[..., Path], tmp_path: Path) -> None:
    old, new = make("1.0.0", editions.foreign_gzip(OLD)), make("1.1.0", editions.zlib_gzip(NEW))
    made = delta_of(new, tmp_path / "out", old)
    assert len(packing_of(made.first).patches) == 1
    verified(made.first, old)


def test_one_file_serves_several_old_versions(make: Callable[..., Path], tmp_path: Path) -> None:
    older = make("0.9.0", editions.layer(editions.upgraded(BASE, 99)))
    old, new = make("1.0.0", OLD), make("1.1.0", NEW)
    made = delta_of(new, tmp_path / "out", old, older)
    packing = packing_of(made.first)
    assert packing.since == ("p 0.9.0", "p 1.0.0")
    assert len(packing.patches) == 2
    assert len({patch.target for patch in packing.patches}) == 1
    verified(made.first, old)
    verified(made.first, older)


def test_what_only_some_sites_hold_is_carried(make: Callable[..., Path], tmp_path: Path) -> None:
    extra = editions.layer(editions.tree(50, files=3))
    older, old, new = make("0.9.0", OLD), make("1.0.0", OLD, extra), make("1.1.0", NEW, extra)
    made = delta_of(new, tmp_path / "out", old, older)
    assert f"blobs/sha256/{editions.sha256(extra)[7:]}" not in packing_of(made.first).absent
    verified(made.first, older)
    verified(made.first, old)


def test_the_program_and_tools_that_a_site_has_are_left_out(make: Callable[..., Path], tmp_path: Path) -> None:
    old, new = make("1.0.0", OLD), make("1.1.0", NEW)
    (new.parent / "install").write_bytes(b"#!/bin/sh\n" * 2000)
    (new.parent / "README.txt").write_text("how to run install\n")
    made = delta_of(new, tmp_path / "out", old)
    assert {"program/install", "tools/compose"} <= set(packing_of(made.first).absent)
    assert not (made.kit / "install").exists()
    assert "p 1.0.0" in (made.kit / "README.txt").read_text()


def test_what_readers_need_is_always_carried(make: Callable[..., Path], tmp_path: Path) -> None:
    old = make("1.0.0", OLD)
    new = make("1.1.0", NEW, files={"docs/same.md": ("doc", "0644", b"as ever\n")})
    packing = packing_of(delta_of(new, tmp_path / "out", old).first)
    carried = packing.carried(Release.parse(statement_of(new)))
    assert {"CHANGELOG.md", "templates/p/compose.yaml.j2", "docs/same.md", "index.json", "oci-layout"} <= set(carried)


def statement_of(bundle: Path) -> bytes:
    with BundleReader(bundle) as reader:
        return reader.head.release


def test_sites_with_nothing_in_common_are_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    new = make("1.1.0", NEW)
    with pytest.raises(SealiftError) as refused:
        pack(new, tmp_path / "out", None, QUIET, [Holdings("other 3.0.0", frozenset({"sha256:" + "a" * 64}))])
    assert refused.value.id == "bad-option"
    assert not (tmp_path / "out/p-v1.1.0").exists()


def test_a_delta_out_of_a_delta_is_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    old, new = make("1.0.0", OLD), make("1.1.0", NEW)
    made = delta_of(new, tmp_path / "out", old)
    with pytest.raises(SealiftError) as refused:
        delta_of(made.first, tmp_path / "again", old)
    assert refused.value.id == "incomplete"


def test_a_delta_can_be_cut_into_parts_and_joined_again(make: Callable[..., Path], tmp_path: Path) -> None:
    old, new = make("1.0.0", OLD), make("1.1.0", NEW, editions.layer(editions.tree(60, files=20)))
    made = delta_of(new, tmp_path / "out", old)
    cut = pack(made.kit, tmp_path / "cut", 64 * 1024, QUIET)
    assert cut.parts > 1
    verified(cut.kit, old)
    joined = pack(cut.kit, tmp_path / "joined", None, QUIET)
    assert joined.first.read_bytes() == made.first.read_bytes()


def test_a_base_that_is_damaged_in_the_old_bundle_is_no_base(make: Callable[..., Path], tmp_path: Path) -> None:
    old, new = make("1.0.0", OLD), make("1.1.0", NEW)
    made = delta_of(new, tmp_path / "out", old)
    raw = bytearray(old.read_bytes())
    at = raw.find(OLD[5000:5040])
    raw[at] ^= 1
    old.write_bytes(raw)
    with pytest.raises(SealiftError) as refused:
        verified(made.first, old)
    assert refused.value.exit_code in (3, 4)


def test_a_holding_whose_bytes_are_not_at_hand_is_reported_as_not_checked(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    old, new = make("1.0.0", OLD), make("1.1.0", OLD, files={"docs/new.md": ("doc", "0644", b"new\n")})
    made = delta_of(new, tmp_path / "out", old)
    told = Holdings("p 1.0.0", Holdings.of_bundle(old).digests)
    found = verify_media(made.first, RELEASE.policy, QUIET, have=[told])
    assert found.not_checked == ("4 members that sites are said to hold",)


def test_have_on_the_command_line_names_bundles_and_media_folders(
    make: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = make("1.0.0", OLD), make("1.1.0", NEW)
    made = delta_of(new, tmp_path / "out", old)
    (tmp_path / "root.json").write_bytes(root_of(RELEASE))

    def verify(*words: str | Path) -> tuple[int, dict[str, Any]]:
        code = main(["--json", "verify", str(made.kit), "--trust", str(tmp_path / "root.json"), *map(str, words)])
        return code, json.loads(capsys.readouterr().out)

    code, alone = verify()
    assert (code, alone["error"]["id"]) == (4, "incomplete") and "--have" in alone["error"]["hint"]
    for place in (old, old.parent):
        code, value = verify("--have", place)
        assert (code, value["verified"], value["version"], value["not_checked"]) == (0, True, "1.1.0", [])
    assert verify("--have", make("0.9.0", editions.layer(editions.tree(9))))[0] == 4
    assert verify("--have", make("0.9.0", editions.layer(editions.tree(9))), "--have", old)[0] == 0
    code, value = verify("--have", tmp_path / "root.json")
    assert code in (3, 5) and "error" in value, "a root is no receipt"


def test_a_patch_that_wants_more_memory_than_it_may_have_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patches, "MEMORY", 48 * 1024 * 1024)
    out = io.BytesIO()
    old, new = (Unpacked([bytes(size)], tmp_path) for size in (40_000_000, 40_000_001))
    with old, new, pytest.raises(SealiftError) as caught:
        patches.make_patch(old, new, out)
    assert (caught.value.id, caught.value.exit_code) == ("patch-too-large", 3)
