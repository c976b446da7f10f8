"""Indexes byte for byte with all that they list, or the platform's manifest alone; pins; what is no image."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from bundler.collect.documents import CONFIG, INDEX, MANIFEST
from bundler.collect.image import CollectedImage
from installer.errors import SealiftError
from tests.unit.bundler.layouts import TAR, LayoutMaker, tar_layer
from tests.unit.collect.archives import take, tar_of, wish

LAYER = tar_layer(file=b"content")
EMPTY = "application/vnd.oci.empty.v1+json"
OLD = "application/vnd.docker.distribution.manifest.v1+prettyjws"
PINNED_ELSEWHERE = "sha256:" + "0" * 64


@pytest.fixture
def maker(tmp_path: Path) -> LayoutMaker:
    return LayoutMaker(tmp_path / "layout")


def attestation(maker: LayoutMaker, of: dict[str, Any]) -> dict[str, Any]:
    """What BuildKit adds to an index: a manifest for no platform that says where another comes from."""
    config = maker.document({"os": "unknown", "architecture": "unknown"}, CONFIG)
    statement = maker.blob(b'{"_type":"statement"}', "application/vnd.in-toto+json")
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [statement]}
    notes = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of["digest"]}
    platform = {"os": "unknown", "architecture": "unknown"}
    return maker.document(manifest, MANIFEST) | {"platform": platform, "annotations": notes}


def manifest_of(maker: LayoutMaker, layers: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    config = maker.document({"os": "linux", "architecture": "amd64"}, CONFIG)
    return maker.document(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers} | more, MANIFEST
    )


def collected(maker: LayoutMaker, source: str = "oci:layout", **changes: object) -> CollectedImage:
    found, contents = take(source, maker.folder.parent, wish(**changes))
    for digest, data in contents.items():
        assert digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    return found


def refused(maker: LayoutMaker, source: str = "oci:layout", **changes: object) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        collected(maker, source, **changes)
    return caught.value


def test_kept_index_brings_every_child_before_itself(maker: LayoutMaker) -> None:
    amd64, arm64 = maker.image([LAYER]), maker.image([tar_layer(arm=b"x")], platform="linux/arm64")
    note = attestation(maker, amd64)
    inner = maker.indexed(amd64, note)
    outer = maker.add(maker.indexed(inner | {"platform": amd64["platform"]}, arm64))
    maker.finish()
    image = collected(maker, index="keep").image
    listed = [part.digest for part in image.manifests]
    assert listed == [one["digest"] for one in (amd64, note, inner, arm64, outer)]
    assert image.digest == outer["digest"]
    assert len(image.blobs) == 6


def test_by_default_the_platforms_manifest_travels_alone(maker: LayoutMaker) -> None:
    amd64, arm64 = maker.image([LAYER]), maker.image([LAYER], platform="linux/arm64")
    maker.add(maker.indexed(amd64, arm64, attestation(maker, amd64)))
    maker.finish()
    found = collected(maker)
    assert [part.digest for part in found.image.manifests] == [amd64["digest"]]
    assert found.digests[0] != found.digests[1] == amd64["digest"]


def test_keeping_an_index_is_refused_where_a_child_is_missing(maker: LayoutMaker) -> None:
    amd64, arm64 = maker.image([LAYER]), maker.image([LAYER], platform="linux/arm64")
    maker.add(maker.indexed(amd64, arm64))
    maker.finish()
    (maker.folder / "blobs/sha256" / arm64["digest"][7:]).unlink()
    assert collected(maker).image.digest == amd64["digest"]
    error = refused(maker, index="keep")
    assert error.id == "image-not-found"
    assert "linux/arm64" in error.message


def test_pin_may_name_index_manifest_or_image_id(maker: LayoutMaker) -> None:
    amd64 = maker.image([LAYER])
    index = maker.add(maker.indexed(amd64))
    maker.finish()
    config = json.loads((maker.folder / "blobs/sha256" / amd64["digest"][7:]).read_bytes())["config"]
    for digest in (index["digest"], amd64["digest"], config["digest"]):
        assert collected(maker, f"oci:layout@{digest}").image.digest == amd64["digest"]


def test_pin_that_fits_nothing_is_refused_and_says_what_is_there(maker: LayoutMaker) -> None:
    amd64 = maker.add(maker.image([LAYER]))
    maker.finish()
    error = refused(maker, f"oci:layout@{PINNED_ELSEWHERE}")
    assert (error.id, error.exit_code) == ("pin-mismatch", 12)
    assert amd64["digest"] in error.message
    assert PINNED_ELSEWHERE in error.message


def test_pin_chooses_among_several(maker: LayoutMaker) -> None:
    one, two = (maker.add(maker.image([tar_layer(x=text)])) for text in (b"1", b"2"))
    maker.finish()
    assert collected(maker, f"oci:layout@{two['digest']}").image.digest == two["digest"]
    assert collected(maker, f"oci:layout@{one['digest']}").image.digest == one["digest"]


def test_moved_name_is_refused_though_the_pinned_image_lies_beside(maker: LayoutMaker) -> None:
    old = maker.image([tar_layer(x=b"1")])
    maker.add(maker.image([tar_layer(x=b"2")]), ref="v1")
    maker.add(old, ref="v0")
    maker.finish()
    assert refused(maker, f"oci:layout:v1@{old['digest']}").id == "pin-mismatch"


def test_archive_of_a_layout_is_the_same_image(maker: LayoutMaker) -> None:
    maker.add(maker.image([LAYER]), ref="v1", name="docker.io/acme/web:1")
    folder = maker.finish()
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder.parent / "a.tar").write_bytes(tar_of(files))
    expected = collected(maker).image
    for source in ("oci-archive:a.tar", "oci-archive:a.tar:v1", "oci-archive:a.tar:acme/web:1", "docker-archive:a.tar"):
        assert collected(maker, source).image == expected


def test_blob_that_stands_in_its_descriptor_needs_no_file(maker: LayoutMaker) -> None:
    layer = maker.blob(LAYER, TAR)
    maker.add(manifest_of(maker, [layer | {"data": base64.b64encode(LAYER).decode()}]))
    maker.finish()
    (maker.folder / "blobs/sha256" / layer["digest"][7:]).unlink()
    assert b"".join(collected(maker).contents[layer["digest"]].chunks()) == LAYER


@pytest.mark.parametrize("data", ["AAAA", "not base64", ""])
def test_refuses_data_that_is_not_the_blob(maker: LayoutMaker, data: str) -> None:
    maker.add(manifest_of(maker, [maker.blob(LAYER, TAR) | {"data": data}]))
    maker.finish()
    assert refused(maker).id == "digest-mismatch"


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ],
)
def test_refuses_layers_that_must_not_be_passed_on(maker: LayoutMaker, kind: str) -> None:
    maker.add(manifest_of(maker, [maker.blob(LAYER, kind) | {"urls": ["https://example.com/layer"]}]))
    maker.finish()
    assert refused(maker).id == "source-unsupported"


def test_zstd_and_empty_layers_pass_as_they_are(maker: LayoutMaker) -> None:
    layers = [maker.blob(LAYER, TAR + "+zstd"), maker.blob(b"", TAR + "+gzip"), maker.blob(b"", TAR + "+gzip")]
    maker.add(manifest_of(maker, layers))
    maker.finish()
    assert [(blob.media_type, blob.size) for blob in collected(maker).image.blobs[1:]] == [
        (TAR + "+zstd", len(LAYER)),
        (TAR + "+gzip", 0),
    ]


def test_artifact_that_is_no_image_is_refused_with_its_type(maker: LayoutMaker) -> None:
    empty = maker.blob(b"{}", EMPTY)
    value = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "a/b", "config": empty, "layers": [empty]}
    maker.add(maker.document(value, MANIFEST))
    maker.finish()
    error = refused(maker)
    assert error.id == "source-unsupported"
    assert "(a/b)" in error.message


def test_old_schema_1_is_refused_with_the_way_out(maker: LayoutMaker) -> None:
    maker.add(maker.document({"schemaVersion": 1, "fsLayers": [], "history": []}, OLD))
    maker.finish()
    error = refused(maker)
    assert error.id == "source-unsupported"
    assert "schema 1" in error.message


def test_refuses_indexes_that_nest_without_end(maker: LayoutMaker) -> None:
    entry = maker.image([LAYER])
    for _ in range(6):
        entry = maker.indexed(entry) | {"platform": {"os": "linux", "architecture": "amd64"}}
    maker.add(entry)
    maker.finish()
    assert refused(maker).id == "source-unsupported"


def test_refuses_another_digest_than_sha256(maker: LayoutMaker) -> None:
    digest = "sha512:" + hashlib.sha512(LAYER).hexdigest()
    maker.add(manifest_of(maker, [{"mediaType": TAR, "digest": digest, "size": len(LAYER)}]))
    maker.finish()
    assert refused(maker).id == "source-unsupported"


def test_index_in_an_index_file_is_an_index(maker: LayoutMaker) -> None:
    index = maker.add(maker.indexed(maker.image([LAYER])))
    assert index["mediaType"] == INDEX
    maker.finish()
    assert collected(maker, index="keep").image.manifests[-1].media_type == INDEX
