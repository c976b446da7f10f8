"""What a release needs of registry, engine and disk is known before a byte is written."""

from __future__ import annotations

import json

import pytest

from installer.registry.address import RegistryAddress
from installer.registry.images import (
    Needs,
    beside,
    bytes_needed,
    keep_tag,
    keep_tags,
    product_images,
    relocate,
    repository_of,
)

from .cargo import Cargo, Picture, digest, layer

SHARED = layer("shared", 50_000)


@pytest.fixture
def cargo() -> Cargo:
    return Cargo(
        [
            Picture("gateway", [SHARED, layer("gateway", 20_000)], packed=True),
            Picture("store", [SHARED]),
            Picture("door", [layer("door", 30_000)], packed=True),
        ],
        edge={"haproxy": "door"},
    )


def sizes(cargo: Cargo, *names: str) -> int:
    return sum(len(cargo.contents[name]) for name in cargo.blobs_of(names))


def test_counts_registry_engine_and_archives_each_for_itself(cargo: Cargo) -> None:
    missing = cargo.blobs_of(["gateway", "store"])
    layers = {name for picture in cargo.pictures for name in [digest(part) for part, _, _ in picture.blobs[1:]]}
    unpacked = {digest(part): plain or 0 for one in cargo.pictures for part, _, plain in one.blobs[1:]}
    configs = sum(3 * len(one.blobs[0][0]) for one in cargo.pictures)

    needs = bytes_needed(cargo.release, missing)
    assert needs.registry == sizes(cargo, "gateway", "store")
    assert needs.engine == sum(unpacked[name] for name in layers) + configs
    assert needs.state_dir == sizes(cargo, "door")


def test_needs_nothing_for_what_is_there(cargo: Cargo) -> None:
    everything = cargo.blobs_of(["gateway", "store", "door"])
    assert bytes_needed(cargo.release, set(), everything) == Needs(0, 0, sizes(cargo, "door"))


def test_guesses_the_size_of_layers_that_the_release_does_not_tell(cargo: Cargo) -> None:
    layers = [blob for image in cargo.release.images for blob in image.blobs]
    known = bytes_needed(cargo.release, set()).engine
    images = [
        image.model_copy(update={"blobs": tuple(b.model_copy(update={"uncompressed": None}) for b in image.blobs)})
        for image in cargo.release.images
    ]
    release = cargo.release.model_copy(update={"images": tuple(images)})
    guessed = bytes_needed(release, set()).engine
    assert guessed == 3 * sum({part.digest: part.size for part in layers}.values()) > known


def test_an_image_that_product_and_edge_share_goes_into_the_registry_too(cargo: Cargo) -> None:
    assert [image.name for image in product_images(cargo.release)] == ["gateway", "store"]
    value = cargo.release.model_dump(mode="json")
    value["services"] = {"proxy": {"image": "door"}}
    shared = type(cargo.release).model_validate_json(json.dumps(value))
    assert [image.name for image in product_images(shared)] == ["door", "gateway", "store"]


def test_relocation_keeps_every_digest(cargo: Cargo) -> None:
    address = RegistryAddress.parse("https://registry.site/ward")
    for name, reference in relocate(cargo.release, address).items():
        assert reference == f"registry.site:443/ward/lan-chat/{name}@{cargo.release.image(name).digest}"


def test_what_lies_beside_an_image_goes_into_its_repository_under_its_own_tag(cargo: Cargo) -> None:
    address = RegistryAddress.parse("https://registry.site/ward")
    tag = f"sha256-{'0' * 64}.sig"
    gateway = cargo.release.image("gateway")
    signature = gateway.model_copy(update={"name": "beside-1", "reference": f"gateway:{tag}"})
    release = cargo.release.model_copy(update={"images": (signature, *cargo.release.images)})
    assert beside(signature) == ("gateway", tag)
    assert repository_of(release, signature, address) == "ward/lan-chat/gateway"
    assert keep_tags(release, signature)[signature.digest] == tag
    assert set(relocate(release, address)) == {"gateway", "store"}
    assert signature in product_images(release)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("web", f"gateway:sha256-{'0' * 64}.sig"),
        ("beside-1", "gateway:1.0"),
        ("beside-1", f"host/gateway:sha256-{'0' * 64}"),
        ("beside-1", f"gateway:sha256-{'0' * 63}"),
    ],
)
def test_an_ordinary_image_lies_beside_none(cargo: Cargo, name: str, reference: str) -> None:
    image = cargo.release.image("gateway").model_copy(update={"name": name, "reference": reference})
    assert beside(image) is None


def test_the_longest_names_still_make_a_tag(cargo: Cargo) -> None:
    longest = cargo.release.model_copy(update={"product": "p" * 40, "version": "1.2.3-" + "x" * 58})
    assert len(keep_tag(longest)) <= 128
