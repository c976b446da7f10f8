"""``bundle build --check``: the same sources give the same bytes, and what differs is named."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from bundler.build import Request, build
from bundler.built import Built
from bundler.check import Check, check
from bundler.signing.sign import generate
from installer.bundle import frames
from installer.bundle.archive import ArchiveWriter, BundleReader
from installer.errors import SealiftError
from installer.talk import Talk
from tests.unit.bundler.layouts import SHARED_LAYER, LayoutMaker, make_product, tar_layer

QUIET = Talk(quiet=True)


@pytest.fixture(autouse=True)
def _environment_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SEALIFT_KEY", "SEALIFT_PASSPHRASE", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """The folder of a product's manifest."""
    return make_product(tmp_path).parent


@pytest.fixture
def asked(product: Path, tmp_path: Path) -> Request:
    """What is asked for: without a key, as everything is that only checks."""
    return Request("v2.1.0", tmp_path, None, (), None, product / "install", tmp_path / "out")


@pytest.fixture
def built(asked: Request, tmp_path: Path) -> Built:
    generate(tmp_path / "keys", "release", "word")
    return build(replace(asked, keys=(tmp_path / "keys/release.key",)), lambda _: "word", QUIET)


@pytest.fixture
def again(asked: Request, built: Built, tmp_path: Path) -> Callable[[], Check]:
    """Checks what was built; nothing is left behind, in the scratch folder or beside the media folder."""

    def run() -> Check:
        before = sorted(path for path in tmp_path.rglob("*"))
        found = check(asked, built.bundle, QUIET, {})
        assert sorted(path for path in tmp_path.rglob("*")) == before
        return found

    return run


def rewrite(bundle: Path, change: Callable[[str, bytes], bytes], *, compressed: bool = False) -> None:
    """Write a bundle's members again, each with the bytes that ``change`` gives; the sizes stay."""
    out = io.BytesIO()
    writer = ArchiveWriter(out)
    with BundleReader(bundle) as reader:
        head = {"release.json": reader.head.release, **reader.head.signatures, "packing.json": reader.head.packing}
        for name, data in head.items():
            writer.member(name, len(data), [change(name, data)])
        while (header := reader.next_header()) is not None:
            data = change(header.name, b"".join(reader.data(header.size)))
            writer.member(header.name, header.size, [data], mode=header.mode, compressed=compressed)
    writer.close()
    bundle.write_bytes(out.getvalue())


def test_same_sources_give_the_same_bytes_without_a_key(again: Callable[[], Check], built: Built) -> None:
    found = again()
    assert found.as_json() == {
        "reproducible": True,
        "differences": [],
        "bundle": str(built.bundle),
        "digest": str(built.digest),
    }


def test_takes_the_media_folder_too(asked: Request, built: Built) -> None:
    assert check(asked, built.kit, QUIET, {}).reproducible


def test_leaves_signatures_aside(asked: Request, built: Built, tmp_path: Path) -> None:
    generate(tmp_path / "keys", "second", "word")
    keys = (tmp_path / "keys/release.key", tmp_path / "keys/second.key")
    countersigned = build(replace(asked, keys=keys, output=tmp_path / "two"), lambda _: "word", QUIET)
    assert countersigned.bundle.read_bytes() != built.bundle.read_bytes()
    assert check(asked, countersigned.bundle, QUIET, {}).reproducible


def test_takes_the_time_of_the_bundle_unless_another_is_asked_for(asked: Request, built: Built, product: Path) -> None:
    changelog = product / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("2026-11-03", "2026-11-04"))
    changed = check(asked, built.bundle, QUIET, {})
    assert [line.partition(":")[0] for line in changed.differences] == ["CHANGELOG.md"]
    asked_for = check(asked, built.bundle, QUIET, {"SOURCE_DATE_EPOCH": "1800000000"})
    assert asked_for.differences[0] == "created: 2027-01-15T08:00:00Z, was 2026-11-03T00:00:00Z"


def test_takes_the_platform_of_the_bundle(asked: Request, built: Built, product: Path) -> None:
    manifest = product / "release.yaml"
    manifest.write_text(manifest.read_text().replace("[linux/amd64]", "[linux/amd64, linux/arm64]"))
    assert check(asked, built.bundle, QUIET, {}).reproducible


def test_names_a_program_whose_bytes_changed(again: Callable[[], Check], product: Path) -> None:
    (product / "bin/linux-amd64/ctl").write_text("#!/bin/sh\nexit 1\n")
    (line,) = again().differences
    now, was = (hashlib.sha256(text).hexdigest()[:12] for text in (b"#!/bin/sh\nexit 1\n", b"#!/bin/sh\n"))
    assert line == f"binaries/linux-amd64/ctl: other bytes (sha256 {now}, was sha256 {was})"


def test_names_a_mode_and_files_that_came_or_went(again: Callable[[], Check], product: Path) -> None:
    (product / "templates/conf/app.json").chmod(0o755)
    (product / "templates/conf/new.json").write_text("{}\n")
    assert again().differences == (
        "templates/conf/app.json: mode 0755, was 0644",
        "templates/conf/new.json: the bundle lacks it",
    )
    (product / "templates/conf/new.json").unlink()
    (product / "templates/conf/app.json").unlink()
    assert again().differences == ("templates/conf/app.json: stands only in the bundle",)


def test_names_the_field_of_a_rule_that_changed(again: Callable[[], Check], product: Path) -> None:
    manifest = product / "release.yaml"
    text = manifest.read_text().replace("replicas: 2", "replicas: 3").replace("description: mail", "description: post")
    manifest.write_text(text)
    assert again().differences == ("services.web.replicas: 3, was 2", "inputs.smtp.host.description: post, was mail")


def test_names_the_layer_of_an_image(again: Callable[[], Check], product: Path) -> None:
    shutil.rmtree(product / "layouts/web")
    maker = LayoutMaker(product / "layouts/web")
    maker.add(maker.image([SHARED_LAYER, tar_layer(web=b"other" * 60)]), name="docker.io/board/web:1")
    maker.finish()
    found = again().differences
    assert [line.partition(" (")[0] for line in found] == [
        "image web: configuration: other bytes",
        "image web: layer 2 of 2: other bytes",
    ]


def test_names_layers_and_images_that_came_or_went(again: Callable[[], Check], product: Path) -> None:
    shutil.rmtree(product / "layouts/web")
    maker = LayoutMaker(product / "layouts/web")
    maker.add(maker.image([SHARED_LAYER]), name="docker.io/board/web:2")
    maker.finish()
    manifest = product / "release.yaml"
    extra = '  extra: {from: "oci:layouts/web"}\n'
    manifest.write_text(manifest.read_text().replace("  web: {from", f"{extra}  web: {{from"))
    assert [line.partition(" (")[0] for line in again().differences] == [
        "image extra: the bundle lacks it",
        "image web: reference docker.io/board/web:2, was docker.io/board/web:1",
        "image web: 1 layers, was 2",
        "image web: configuration: other bytes",
    ]


def test_names_members_that_are_not_what_the_bundle_lists(again: Callable[[], Check], built: Built) -> None:
    rewrite(built.bundle, lambda name, data: data.upper() if name == "docs/UPGRADE.md" else data)
    assert again().differences == (
        "docs/UPGRADE.md: the bundle holds something else than its release.json lists: it is damaged",
    )


def test_names_the_packing(again: Callable[[], Check], built: Built) -> None:
    rewrite(built.bundle, lambda name, data: b"x" * len(data) if name == "packing.json" else data)
    assert "packing.json: other bytes" in again().differences


def test_names_what_another_compressor_packed(
    again: Callable[[], Check], built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(frames, "LEVEL", 19)
        rewrite(built.bundle, lambda _, data: data)
    found = again().differences
    assert found
    assert all(
        line.endswith(f"the same content, compressed to other bytes (here zstandard {zstandard.__version__})")
        for line in found
    )


def test_refuses_a_bundle_that_cannot_be_read(asked: Request, built: Built) -> None:
    built.bundle.write_bytes(built.bundle.read_bytes()[:-40])
    with pytest.raises(SealiftError) as caught:
        check(asked, built.bundle, QUIET, {})
    assert caught.value.id == "truncated"
