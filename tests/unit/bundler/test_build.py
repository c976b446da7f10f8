"""``bundle build`` on OCI layouts: signed first, written once, whole or not there, the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.build import Request, build, plan
from bundler.built import Built
from bundler.signing.sign import generate
from bundler.verification import inspect_media, verify_media
from installer.bundle.archive import BundleReader
from installer.bundle.trust import TrustPolicy
from installer.errors import SealiftError
from installer.talk import Talk
from tests.unit.bundler.layouts import SHARED_LAYER, make_product

QUIET = Talk(quiet=True)


@pytest.fixture(autouse=True)
def _no_key_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEALIFT_KEY", "SEALIFT_PASSPHRASE", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("release", "second"):
        generate(folder, name, "word")
    return folder


def request(root: Path, keys: Path | None, version: str = "v2.1.0", *more: str, force: bool = False) -> Request:
    manifest = root / "manifests/board/release.yaml"
    if not manifest.exists():
        make_product(root)
    used = tuple(keys / f"{name}.key" for name in ("release", *more)) if keys else ()
    installer = manifest.parent / "install"
    return Request(version, root, None, used, None, installer, root / "out", force)


def make(root: Path, keys: Path, version: str = "v2.1.0", *more: str, force: bool = False) -> Built:
    return build(request(root, keys, version, *more, force=force), lambda _: "word", QUIET)


def refused(root: Path, keys: Path | None, version: str = "v2.1.0") -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        build(request(root, keys, version), lambda _: "word", QUIET)
    output = root / "out"
    assert not output.exists() or all(path.name != "board-v2.1.0" for path in output.iterdir())
    return caught.value


def test_media_folder_holds_everything_an_operator_needs(tmp_path: Path, keys: Path) -> None:
    built = make(tmp_path, keys)
    names = {str(path.relative_to(built.kit)) for path in built.kit.rglob("*") if path.is_file()}
    bundle = "board-2.1.0-linux-amd64.bundle.tar.zst"
    assert names == {bundle, "install", "install.sigstore.json", "README.txt", "SHA256SUMS"} | {
        "signatures/release.sigstore.json"
    }
    assert os.access(built.kit / "install", os.X_OK)
    for line in (built.kit / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((built.kit / name).read_bytes()).hexdigest() == digest
    assert list((tmp_path / "out").iterdir()) == [built.kit]


def test_bundle_passes_the_verifier_of_the_site(tmp_path: Path, keys: Path) -> None:
    built = make(tmp_path, keys)
    policy = TrustPolicy.from_key((keys / "release.pub").read_bytes(), "release")
    found = verify_media(built.kit, policy, QUIET)
    assert found.verified.digest == built.digest
    assert found.not_checked == ()
    release = found.verified.release
    assert [image.name for image in release.images] == ["edge-haproxy", "web", "worker"]
    assert release.edge.haproxy == "edge-haproxy"
    assert release.created == "2026-11-03T00:00:00Z"
    paths = [file.path for file in release.files]
    assert "binaries/linux-amd64/ctl" in paths
    assert "templates/conf/app.json" in paths
    assert "program/install" in paths


def test_number_of_threads_changes_no_byte(tmp_path: Path, keys: Path) -> None:
    asked = [replace(request(tmp_path / str(jobs), keys), jobs=jobs) for jobs in (1, 8)]
    one, eight = (build(each, lambda _: "word", QUIET).bundle.read_bytes() for each in asked)
    assert one == eight


def test_inspect_with_a_key_shows_only_what_that_key_has_signed(tmp_path: Path, keys: Path) -> None:
    built = make(tmp_path, keys)
    policy = TrustPolicy.from_key((keys / "release.pub").read_bytes(), "release")
    table, value = inspect_media(built.kit, policy)
    assert (value["signatures_hold"], value["verified"]) == (True, False)
    assert value["signers"] == [{"key": str(policy.roles["release"].keys[0].fingerprint), "name": "release"}]
    assert "content is NOT checked" in table.title
    other = TrustPolicy.from_key((keys / "second.pub").read_bytes(), "second")
    with pytest.raises(SealiftError) as caught:
        inspect_media(built.kit, other)
    assert caught.value.id == "no-valid-signature"
    _, unasked = inspect_media(built.kit)
    assert (unasked["signatures_hold"], unasked["signers"]) == (False, [])


def test_inspect_reads_the_head_alone(tmp_path: Path, keys: Path) -> None:
    built = make(tmp_path, keys)
    with BundleReader(built.bundle) as reader:
        head = reader.position
    with built.bundle.open("r+b") as file:
        file.truncate(head)
    policy = TrustPolicy.from_key((keys / "release.pub").read_bytes(), "release")
    assert inspect_media(built.bundle, policy)[1]["signatures_hold"]


def test_altered_program_beside_the_bundle_is_refused(tmp_path: Path, keys: Path) -> None:
    built = make(tmp_path, keys)
    (built.kit / "install").write_text("#!/bin/sh\nevil\n")
    policy = TrustPolicy.from_key((keys / "release.pub").read_bytes(), "release")
    with pytest.raises(SealiftError) as caught:
        verify_media(built.kit, policy, QUIET)
    assert caught.value.id == "digest-mismatch"
    assert verify_media(built.bundle, policy, QUIET).not_checked == ("install beside the bundle",)


def test_two_builds_from_two_folders_are_the_same_bytes(tmp_path: Path, keys: Path) -> None:
    one, two = (make(tmp_path / name, keys) for name in ("one", "two"))
    for path in one.kit.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (two.kit / path.relative_to(one.kit)).read_bytes(), path.name


def test_shared_layer_is_stored_once(tmp_path: Path, keys: Path) -> None:
    built = make(tmp_path, keys)
    shared = f"blobs/sha256/{hashlib.sha256(SHARED_LAYER).hexdigest()}"
    names = [name for name, _ in built.assembly.release.members()]
    assert names.count(shared) == 1
    users = [
        image.name for image in built.assembly.release.images if any(b.digest[7:] == shared[13:] for b in image.blobs)
    ]
    assert users == ["web", "worker"]


def test_layout_index_gives_every_image_a_short_unique_and_a_long_name(tmp_path: Path, keys: Path) -> None:
    built = make(tmp_path, keys)
    index = json.loads(b"".join(built.assembly.parts["index.json"].content.chunks()))
    notes = [entry["annotations"] for entry in index["manifests"]]
    assert [one["org.opencontainers.image.ref.name"] for one in notes] == ["edge-haproxy", "web", "worker"]
    assert notes[1]["io.containerd.image.name"] == "docker.io/board/web:1"


def test_every_signer_has_a_file_of_its_own(tmp_path: Path, keys: Path) -> None:
    built = make(tmp_path, keys, "v2.1.0", "second")
    with BundleReader(built.bundle) as reader:
        assert list(reader.head.signatures) == ["signatures/release.sigstore.json", "signatures/second.sigstore.json"]
    assert (built.kit / "install.second.sigstore.json").exists()


def test_refuses_to_build_without_a_key(tmp_path: Path) -> None:
    error = refused(tmp_path, None)
    assert (error.id, int(error.exit_code)) == ("no-signing-key", 2)
    assert "bundle keygen" in error.hint


def test_key_of_the_manifest_is_enough(tmp_path: Path, keys: Path) -> None:
    asked = request(tmp_path, None)
    manifest = tmp_path / "manifests/board/release.yaml"
    manifest.write_text(
        manifest.read_text() + f"sign: {{keys: [{os.path.relpath(keys, manifest.parent)}/release.key]}}\n"
    )
    assert build(asked, lambda _: "word", QUIET).signers == ("release",)


def test_key_of_the_environment_wins_over_the_manifest(
    tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(tmp_path, None)
    manifest = tmp_path / "manifests/board/release.yaml"
    manifest.write_text(manifest.read_text() + "sign: {keys: [nowhere.key]}\n")
    monkeypatch.setenv("SEALIFT_KEY", str(keys / "second.key"))
    assert build(asked, lambda _: "word", QUIET).signers == ("second",)


def test_refuses_a_wrong_passphrase(tmp_path: Path, keys: Path) -> None:
    with pytest.raises(SealiftError) as caught:
        build(request(tmp_path, keys), lambda _: "other", QUIET)
    assert caught.value.id == "passphrase-wrong"


@pytest.mark.parametrize("missing", ["bin/linux-amd64/ctl", "helper", "UPGRADE.md", "install"])
def test_refuses_when_an_input_is_missing(tmp_path: Path, keys: Path, missing: str) -> None:
    (make_product(tmp_path).parent / missing).unlink()
    error = refused(tmp_path, keys)
    assert error.id in ("input-missing", "installer-missing")
    assert missing in error.message


def test_refuses_a_link_among_the_templates(tmp_path: Path, keys: Path) -> None:
    (make_product(tmp_path).parent / "templates/leak").symlink_to("/etc/hostname")
    assert refused(tmp_path, keys).id == "template-invalid"


def test_refuses_template_names_that_a_stick_cannot_tell_apart(tmp_path: Path, keys: Path) -> None:
    folder = make_product(tmp_path).parent / "templates"
    (folder / "App.json").write_text("1")
    (folder / "app.json").write_text("2")
    assert refused(tmp_path, keys).id == "manifest-invalid"


def test_refuses_a_path_that_the_format_cannot_hold(tmp_path: Path, keys: Path) -> None:
    (make_product(tmp_path).parent / "templates/with space.json").write_text("1")
    assert refused(tmp_path, keys).id == "manifest-invalid"


def test_damaged_layer_leaves_nothing_behind(tmp_path: Path, keys: Path) -> None:
    blobs = make_product(tmp_path).parent / "layouts/web/blobs/sha256"
    layer = sorted(blobs.iterdir(), key=lambda path: path.stat().st_size)[-2]  # the largest has a twin elsewhere
    data = bytearray(layer.read_bytes())
    data[600] ^= 1
    layer.write_bytes(data)
    assert refused(tmp_path, keys).id == "digest-mismatch"
    assert list((tmp_path / "out").iterdir()) == []


def test_same_release_may_be_built_again(tmp_path: Path, keys: Path) -> None:
    assert make(tmp_path, keys).digest == make(tmp_path, keys).digest


def test_refuses_another_release_under_the_same_version(tmp_path: Path, keys: Path) -> None:
    first = make(tmp_path, keys)
    (tmp_path / "manifests/board/UPGRADE.md").write_text("changed\n")
    with pytest.raises(SealiftError) as caught:
        make(tmp_path, keys)
    assert caught.value.id == "output-exists"
    assert verify_media(first.kit, TrustPolicy.from_key((keys / "release.pub").read_bytes(), "r"), QUIET)
    assert make(tmp_path, keys, force=True).digest != first.digest


def test_refuses_two_builds_of_one_kit_at_a_time(tmp_path: Path, keys: Path) -> None:
    from bundler.media.kit import partial_kit

    with partial_kit(tmp_path / "out", "board-v2.1.0"):
        with pytest.raises(SealiftError) as caught:
            make(tmp_path, keys)
        assert caught.value.id == "locked"


def test_what_a_killed_build_left_is_swept_away(tmp_path: Path, keys: Path) -> None:
    stale = tmp_path / "out/board-v2.1.0.partial"
    (stale / "signatures").mkdir(parents=True)
    (stale / "half.bundle.tar.zst.partial").write_text("half")
    built = make(tmp_path, keys)
    assert list((tmp_path / "out").iterdir()) == [built.kit]
    assert not list(built.kit.rglob("*.partial"))


def test_plan_needs_no_key_and_writes_nothing(tmp_path: Path) -> None:
    assembly = plan(request(tmp_path, None), QUIET)
    assert assembly.release.version == "2.1.0"
    assert not (tmp_path / "out").exists()


def test_candidate_is_built_for_its_own_channel(tmp_path: Path, keys: Path) -> None:
    built = make(tmp_path, keys, "v2.1.0-rc.1")
    assert built.kit.name == "board-v2.1.0-rc.1"
    assert built.assembly.release.channel == "candidate"
