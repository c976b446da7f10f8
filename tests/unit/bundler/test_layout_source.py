"""Images out of OCI layouts: the right one, whole, of the type that was pinned, or none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pytest import MonkeyPatch

from bundler.collect import layout
from bundler.collect.content import Content
from bundler.collect.image import Wish
from bundler.collect.images import open_sources
from bundler.collect.layout import INDEX, MANIFEST, CollectedImage, collect_from_layout
from bundler.collect.sources import Layout
from bundler.collect.store import LayoutStore, read_json
from installer.errors import SealiftError
from installer.talk import Talk
from tests.unit.bundler.layouts import CONFIG, TAR, LayoutMaker, tar_layer

LAYER = tar_layer(file=b"content")


def take(folder: Path, ref: str | None = None, platform: str = "linux/amd64") -> CollectedImage:
    store = LayoutStore.of_folder(f"oci:{folder}", folder)
    return collect_from_layout(store, ref, Wish("web", platform, "fallback/web:1"))


def refused(folder: Path, ref: str | None = None, platform: str = "linux/amd64") -> str:
    with pytest.raises(SealiftError) as caught:
        take(folder, ref, platform)
    return caught.value.id


@pytest.fixture
def maker(tmp_path: Path) -> LayoutMaker:
    return LayoutMaker(tmp_path / "layout")


def test_takes_the_only_image_with_all_blobs(maker: LayoutMaker) -> None:
    descriptor = maker.add(maker.image([LAYER]), name="docker.io/acme/web:1")
    found = take(maker.finish())
    assert found.image.digest == descriptor["digest"]
    assert found.image.reference == "docker.io/acme/web:1"
    assert [blob.media_type for blob in found.image.blobs] == [CONFIG, TAR]
    assert found.image.blobs[1].uncompressed == len(LAYER)
    assert b"".join(found.contents[found.image.blobs[1].digest].chunks()) == LAYER


def test_list_of_a_layout_is_read_once_for_all_of_its_images(maker: LayoutMaker, monkeypatch: MonkeyPatch) -> None:
    names = [f"app-{number}" for number in range(4)]
    wanted = [maker.add(maker.image([tar_layer(file=name.encode())]), ref=name)["digest"] for name in names]
    folder, read = maker.finish(), list[str]()

    def counted(content: Content, what: str) -> bytes:
        read.append(what)
        return read_json(content, what)

    monkeypatch.setattr(layout, "read_json", counted)
    with open_sources(Talk(quiet=True), folder) as sources:
        found = [sources.collect(Layout(folder, name, None), Wish(name, "linux/amd64", f"{name}:1")) for name in names]
    assert [one.image.digest for [one] in found] == wanted
    assert read == [f"index.json of oci:{folder}"]


def test_compressed_layers_have_no_known_uncompressed_size(maker: LayoutMaker) -> None:
    maker.add(maker.image([LAYER], packed=True))
    assert take(maker.finish()).image.blobs[1].uncompressed is None


def test_index_is_followed_to_the_platforms_manifest(maker: LayoutMaker) -> None:
    amd64, arm64 = maker.image([LAYER]), maker.image([LAYER], platform="linux/arm64")
    maker.add(
        maker.indexed(maker.indexed(arm64, amd64) | {"platform": {"os": "linux", "architecture": "amd64"}}, arm64)
    )
    folder = maker.finish()
    assert take(folder).image.digest == amd64["digest"]
    assert take(folder, platform="linux/arm64").image.digest == arm64["digest"]


def test_refuses_a_platform_that_is_not_there(maker: LayoutMaker) -> None:
    maker.add(maker.indexed(maker.image([LAYER])))
    assert refused(maker.finish(), platform="linux/arm64") == "platform-missing"


def test_refuses_an_image_for_another_platform(maker: LayoutMaker) -> None:
    maker.add(maker.image([LAYER], platform="linux/arm64"))
    assert refused(maker.finish()) == "platform-missing"


def test_takes_the_image_of_that_name_and_refuses_to_guess(maker: LayoutMaker) -> None:
    one, two = (maker.image([tar_layer(x=text)]) for text in (b"1", b"2"))
    maker.add(one, ref="one")
    maker.add(two, ref="two")
    folder = maker.finish()
    assert take(folder, "two").image.digest == two["digest"]
    assert refused(folder) == "image-not-found"
    assert refused(folder, "three") == "image-not-found"


def test_refuses_what_is_no_layout(tmp_path: Path) -> None:
    assert refused(tmp_path) == "image-not-found"


def test_refuses_a_missing_blob(maker: LayoutMaker) -> None:
    maker.add(maker.image([LAYER]))
    folder = maker.finish()
    max((folder / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size).unlink()
    assert refused(folder) == "image-not-found"


def test_refuses_a_blob_of_another_size(maker: LayoutMaker) -> None:
    maker.add(maker.image([LAYER]))
    folder = maker.finish()
    layer = max((folder / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    layer.write_bytes(layer.read_bytes() + b"x")
    assert refused(folder) == "digest-mismatch"


def test_refuses_a_manifest_that_is_not_its_digest(maker: LayoutMaker) -> None:
    descriptor = maker.add(maker.image([LAYER]))
    folder = maker.finish()
    path = folder / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")
    path.write_bytes(path.read_bytes().replace(b'"schemaVersion": 2', b'"schemaVersion": 3'))
    assert refused(folder) == "digest-mismatch"


def _both(maker: LayoutMaker) -> dict[str, Any]:
    config = maker.document({"os": "linux", "architecture": "amd64"}, CONFIG)
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [], "manifests": []}


def test_refuses_a_document_that_is_index_and_manifest_at_once(maker: LayoutMaker) -> None:
    maker.add(maker.document(_both(maker), MANIFEST))
    assert refused(maker.finish()) == "source-unsupported"


def test_refuses_a_manifest_pinned_as_an_index(maker: LayoutMaker) -> None:
    image = maker.image([LAYER])
    maker.add(image | {"mediaType": INDEX})
    assert refused(maker.finish()) == "source-unsupported"


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.pop("config"),
        lambda value: value.update(layers="none"),
        lambda value: value["config"].update(digest="sha256:../../../etc/passwd"),
        lambda value: value["config"].update(digest="md5:" + "0" * 64),
        lambda value: value["config"].update(size="big"),
        lambda value: value["config"].update(mediaType="\x1b[31m"),
    ],
)
def test_refuses_a_broken_manifest_without_a_traceback(maker: LayoutMaker, change: Any) -> None:
    value = _both(maker)
    del value["manifests"]
    change(value)
    maker.add(maker.document(value, MANIFEST))
    assert refused(maker.finish()) in ("source-unsupported", "digest-malformed")


def test_refuses_an_index_with_a_doubled_key(maker: LayoutMaker) -> None:
    maker.add(maker.image([LAYER]))
    folder = maker.finish()
    text = (folder / "index.json").read_text()
    (folder / "index.json").write_text(text.replace('"schemaVersion"', '"manifests": [], "schemaVersion"'))
    assert refused(folder) == "source-unsupported"


def test_ignores_what_is_no_image(maker: LayoutMaker) -> None:
    maker.index.append(maker.blob(b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"))
    descriptor = maker.add(maker.image([LAYER]))
    folder = maker.finish()
    assert take(folder).image.digest == descriptor["digest"]
    assert json.loads((folder / "index.json").read_text())["manifests"][0]["mediaType"].endswith("gzip")
