"""Archives of edge images: written as the blobs stream by, loaded by real engines, kept only when whole."""

from __future__ import annotations

import json
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from installer.errors import SealiftError
from installer.registry.archive import EdgeImage, ImageArchiveSink, archive_path, kept_archive
from installer.registry.bundled import load_image

from .cargo import MIB, Cargo, Picture, digest, layer


def edge_cargo() -> Cargo:
    """Two edge images of our own, unlike those of any other test, that share a layer; and a product image."""
    stem, shared = uuid.uuid4().hex, layer(uuid.uuid4().hex, MIB + 3)
    door = Picture("door", [shared, layer(f"door {stem}")], packed=True, index=True)
    shelf = Picture("shelf", [shared, layer(f"shelf {stem}")])
    pictures = [door, shelf, Picture("gateway", [layer(stem)])]
    return Cargo(pictures, edge={"haproxy": "door", "registry": "shelf"})


def write(cargo: Cargo, folder: Path) -> dict[str, EdgeImage]:
    sink = ImageArchiveSink(cargo.release, ["door", "shelf"], folder)
    cargo.stream(sink)
    sink.close()
    return sink.archives()


@pytest.fixture
def cargo(engine: docker.DockerClient) -> Iterator[Cargo]:
    """An :func:`edge_cargo` whose images the engine forgets at the end."""
    made = edge_cargo()
    yield made
    for picture in made.pictures:
        try:
            engine.images.remove(picture.config, force=True)
        except docker.errors.ImageNotFound:
            continue


@pytest.mark.e2e
def test_engine_loads_each_archive_under_the_right_id(
    cargo: Cargo, engine: docker.DockerClient, tmp_path: Path
) -> None:
    archives = write(cargo, tmp_path)
    for picture in cargo.pictures[:2]:
        archive = archives[picture.name]
        assert (archive.config, archive.manifest) == (picture.config, picture.manifest)
        subprocess.run(["docker", "load", "--quiet", "--input", archive.path], check=True, capture_output=True)
        image = engine.images.get(archive.tag)
        assert image.id in archive.ids
        assert image.labels == {"picture": picture.name}


@pytest.mark.e2e
def test_image_comes_back_from_its_archive_after_a_prune(
    cargo: Cargo, engine: docker.DockerClient, tmp_path: Path
) -> None:
    archive = write(cargo, tmp_path)["shelf"]
    image_id = load_image(archive)
    assert image_id in archive.ids
    archive.path.rename(tmp_path / "elsewhere")
    assert load_image(archive) == image_id, "read again although the engine has it"
    (tmp_path / "elsewhere").rename(archive.path)

    engine.images.remove(image_id, force=True)
    assert load_image(archive) == image_id


@pytest.mark.e2e
def test_refuses_an_archive_with_another_image_in_it(cargo: Cargo, engine: docker.DockerClient, tmp_path: Path) -> None:
    archives = write(cargo, tmp_path)
    archives["door"].path.rename(archives["shelf"].path)
    with pytest.raises(SealiftError) as refusal:
        load_image(archives["shelf"])
    assert refusal.value.id == "engine-failed"


@pytest.mark.e2e
def test_archive_is_an_oci_layout_too(tmp_path: Path) -> None:
    made = edge_cargo()
    archive = write(made, tmp_path / "edge")["door"]

    done = subprocess.run(
        ["skopeo", "inspect", "--config", f"oci-archive:{archive.path}"], check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout)["config"]["Labels"] == {"picture": "door"}
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", f"docker-archive:{archive.path}"], check=True, capture_output=True
    )
    assert json.loads(raw.stdout)["config"]["digest"] == made.pictures[0].config


def test_old_engines_find_all_that_they_read(tmp_path: Path) -> None:
    made = edge_cargo()
    archive = write(made, tmp_path / "edge")["shelf"]

    with tarfile.open(archive.path) as tar:
        members = {member.name: member for member in tar.getmembers()}
        listing = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert all(member.isreg() and not member.pax_headers for member in members.values())
    assert listing[0]["Config"] == "blobs/sha256/" + made.pictures[1].config.removeprefix("sha256:")
    assert listing[0]["Layers"] == [f"blobs/sha256/{digest(part)[7:]}" for part in made.pictures[1].layers]
    assert {listing[0]["Config"], *listing[0]["Layers"], "oci-layout", "index.json"} <= set(members)


def test_wants_nothing_where_the_archives_are_there(tmp_path: Path) -> None:
    made = edge_cargo()
    first = write(made, tmp_path)
    stamps = {archive.path.stat().st_mtime_ns for archive in first.values()}

    sink = ImageArchiveSink(made.release, ["door", "shelf"], tmp_path)
    assert sink.needed == frozenset()
    assert [member for _, member in made.release.members() if sink.open(member)] == []
    sink.close()
    assert sink.archives() == first
    assert {archive.path.stat().st_mtime_ns for archive in first.values()} == stamps


def test_writes_a_damaged_archive_again(tmp_path: Path) -> None:
    made = edge_cargo()
    path = write(made, tmp_path)["shelf"].path
    whole = path.read_bytes()
    path.write_bytes(whole[:-700] + b"x" + whole[-699:])
    assert kept_archive(tmp_path, made.release.image("shelf")) is None

    write(made, tmp_path)
    assert path.read_bytes() == whole


def test_leaves_nothing_of_an_altered_image(tmp_path: Path) -> None:
    made = edge_cargo()
    sink = ImageArchiveSink(made.release, ["door", "shelf"], tmp_path)
    with pytest.raises(ValueError, match="altered"):
        made.stream(sink, altered=digest(made.pictures[0].blobs[1][0]))
    sink.close()
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("shelf-")] == []


def test_refuses_a_bundle_that_ends_early(tmp_path: Path) -> None:
    made = edge_cargo()
    del made.contents[made.pictures[1].config]
    sink = ImageArchiveSink(made.release, ["shelf"], tmp_path)
    with pytest.raises(KeyError):
        made.stream(sink)
    with pytest.raises(SealiftError) as refusal:
        sink.close()
    assert refusal.value.id == "truncated"
    assert list(tmp_path.iterdir()) == []


def test_refuses_an_image_for_another_platform(tmp_path: Path) -> None:
    made = edge_cargo()
    release = made.release.model_copy(update={"platform": "linux/arm64"})
    sink = ImageArchiveSink(release, ["door"], tmp_path)
    made.stream(sink)
    with pytest.raises(SealiftError) as refusal:
        sink.close()
    assert refusal.value.id == "release-invalid"
    assert not archive_path(tmp_path, release.image("door")).exists()


def test_folder_is_made_for_root_alone(tmp_path: Path) -> None:
    write(edge_cargo(), tmp_path / "edge")
    assert (tmp_path / "edge").stat().st_mode & 0o777 == 0o700
