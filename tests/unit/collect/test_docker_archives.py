"""Docker archives become images whose every byte is that of its digest, or are refused."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from bundler.collect.images import open_sources
from bundler.collect.sources import parse_source
from bundler.collect.tarfiles import MAX_HEADER
from installer.errors import SealiftError
from installer.talk import Talk
from tests.unit.collect.archives import (
    LAYERS,
    WISH,
    configuration,
    docker_archive,
    link_to,
    packed,
    sha256,
    take,
    tar_of,
)


def write(folder: Path, members: dict[str, bytes | tarfile.TarInfo], name: str = "a.tar") -> Path:
    (folder / name).write_bytes(tar_of(members))
    return folder / name


def refused(folder: Path, source: str = "docker-archive:a.tar") -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        take(source, folder)
    return caught.value


def test_layers_get_the_digests_that_the_configuration_knows(tmp_path: Path) -> None:
    write(tmp_path, docker_archive())
    found, contents = take("docker-archive:a.tar", tmp_path)
    assert [blob.digest for blob in found.image.blobs[1:]] == [f"sha256:{sha256(layer)}" for layer in LAYERS]
    assert [blob.uncompressed for blob in found.image.blobs[1:]] == [len(layer) for layer in LAYERS]
    assert all(digest == f"sha256:{sha256(data)}" for digest, data in contents.items())
    assert found.image.reference == "acme/web:1"


def test_same_archive_gives_the_same_manifest(tmp_path: Path) -> None:
    write(tmp_path, docker_archive())
    write(tmp_path, dict(reversed(docker_archive().items())), "b.tar")
    assert take("docker-archive:a.tar", tmp_path)[0].image == take("docker-archive:b.tar", tmp_path)[0].image


@pytest.mark.parametrize(
    "compress",
    [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress],
    ids=["gzip", "bzip2", "xz", "zstd"],
)
def test_compressed_archive_is_the_same_image(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    plain = write(tmp_path, docker_archive())
    (tmp_path / "b").write_bytes(compress(plain.read_bytes()))
    found, contents = take("docker-archive:b", tmp_path)
    assert found.image == take("docker-archive:a.tar", tmp_path)[0].image
    assert all(digest == f"sha256:{sha256(data)}" for digest, data in contents.items())
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", "b"}  # what was unpacked is gone


def test_archive_of_several_images_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = docker_archive(), docker_archive(LAYERS[:1], tags=("other:2",))
    listed = [json.loads(bytes(one["manifest.json"]))[0], json.loads(bytes(two["manifest.json"]))[0]]  # type: ignore[arg-type]
    both = tar_of(one | two | {"manifest.json": json.dumps(listed).encode()})
    (tmp_path / "a.tgz").write_bytes(gzip.compress(both))
    heard = io.StringIO()
    with open_sources(Talk(err=heard), tmp_path) as sources:
        for name in ("acme/web:1", "other:2"):
            sources.collect(parse_source(f"docker-archive:a.tgz:{name}", tmp_path), WISH)
    assert heard.getvalue().count("spooling") == 1


def test_compressed_layers_keep_their_bytes(tmp_path: Path) -> None:
    stored = [packed(LAYERS[0]), LAYERS[1]]
    write(tmp_path, docker_archive(stored=stored))
    found, contents = take("docker-archive:a.tar", tmp_path)
    assert [blob.digest for blob in found.image.blobs[1:]] == [f"sha256:{sha256(one)}" for one in stored]
    assert [blob.media_type.rpartition(".")[2] for blob in found.image.blobs[1:]] == ["tar+gzip", "tar"]
    assert set(stored) < set(contents.values())


def test_layer_that_is_a_link_to_a_shared_one_is_followed(tmp_path: Path) -> None:
    members = docker_archive()
    shared = f"{sha256(LAYERS[0])}/layer.tar"
    members["shared/layer.tar"] = members[shared]
    members[shared] = link_to(shared, "../shared/layer.tar")
    write(tmp_path, members)
    assert LAYERS[0] in take("docker-archive:a.tar", tmp_path)[1].values()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../etc/passwd", "../a.tar", "nowhere"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_link_that_leaves_the_archive_leads_nowhere(tmp_path: Path, target: str, kind: bytes) -> None:
    members = docker_archive()
    shared = f"{sha256(LAYERS[0])}/layer.tar"
    members[shared] = link_to(shared, target, kind)
    write(tmp_path, members)
    assert refused(tmp_path).id == "image-not-found"


def test_link_in_a_circle_leads_nowhere(tmp_path: Path) -> None:
    members = docker_archive()
    one = f"{sha256(LAYERS[0])}/layer.tar"
    members |= {one: link_to(one, "../other"), "other": link_to("other", one)}
    write(tmp_path, members)
    assert refused(tmp_path).id == "image-not-found"


def test_chooses_by_name_however_it_is_completed_and_refuses_to_guess(tmp_path: Path) -> None:
    one, two = docker_archive(), docker_archive(LAYERS[:1], tags=("other:2", "other:3"))
    listed = one["manifest.json"], two["manifest.json"]
    assert isinstance(listed[0], bytes)
    assert isinstance(listed[1], bytes)
    both = listed[0][:-1] + b"," + listed[1][1:]
    write(tmp_path, one | two | {"manifest.json": both})
    assert take("docker-archive:a.tar:docker.io/acme/web:1", tmp_path)[0].image.reference == "acme/web:1"
    assert len(take("docker-archive:a.tar:other:3", tmp_path)[0].image.blobs) == 2
    assert refused(tmp_path).id == "image-not-found"
    assert "other:2" in refused(tmp_path, "docker-archive:a.tar:acme/web:2").message


def test_refuses_a_configuration_whose_name_is_not_its_digest(tmp_path: Path) -> None:
    members = docker_archive()
    members[f"{sha256(configuration())}.json"] = configuration() + b" "
    write(tmp_path, members)
    assert refused(tmp_path).id == "digest-mismatch"


def test_refuses_another_number_of_layers_than_the_configuration_has(tmp_path: Path) -> None:
    write(tmp_path, docker_archive(config=configuration(LAYERS[:1])))
    assert refused(tmp_path).id == "source-unsupported"


@pytest.mark.parametrize("listed", [b"", b"{}", b"[1]", b"[{}]", b"null", b'[{"Config":1,"Layers":[]}]', b"[" * 9000])
def test_refuses_a_list_that_is_none(tmp_path: Path, listed: bytes) -> None:
    write(tmp_path, docker_archive() | {"manifest.json": listed})
    assert refused(tmp_path).id in ("source-unsupported", "image-not-found")


def test_refuses_two_members_of_one_name(tmp_path: Path) -> None:
    write(tmp_path, docker_archive() | {"./manifest.json": b"[]"})
    assert refused(tmp_path).id == "source-unsupported"


def test_refuses_a_missing_list_and_a_missing_file(tmp_path: Path) -> None:
    write(tmp_path, {"a": b""})
    assert refused(tmp_path).id == "image-not-found"
    assert refused(tmp_path, "docker-archive:nowhere.tar").id == "input-missing"
    assert refused(tmp_path, "docker-archive:.").id == "input-missing"


def test_refuses_a_header_that_would_fill_the_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 8 * MAX_HEADER
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(info.size + 1024))
    assert refused(tmp_path).id == "source-unsupported"


def test_refuses_what_unpacks_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bundler.collect.tarfiles._ALLOWANCE", 0)
    (tmp_path / "a.tar").write_bytes(zstandard.ZstdCompressor(level=19).compress(bytes(64 * 1024 * 1024)))
    error = refused(tmp_path)
    assert error.id == "source-unsupported"
    assert "unpack to more than" in error.message


@pytest.mark.parametrize(
    "compress", [gzip.compress, lzma.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "xz", "zstd"]
)
def test_refuses_a_compressed_archive_that_is_cut_off(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    whole = compress(tar_of(docker_archive()))
    (tmp_path / "a.tar").write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path).id == "source-unsupported"


def test_refuses_an_archive_that_is_cut_off(tmp_path: Path) -> None:
    whole = tar_of(docker_archive())
    (tmp_path / "a.tar").write_bytes(whole[: len(whole) // 3])
    assert refused(tmp_path).id in ("source-unsupported", "image-not-found")


def test_sparse_members_are_not_taken_for_plain_ones(tmp_path: Path) -> None:
    members = docker_archive()
    sparse = tarfile.TarInfo(f"{sha256(LAYERS[0])}/layer.tar")
    sparse.type = tarfile.GNUTYPE_SPARSE
    buffer = io.BytesIO(tar_of({name: one for name, one in members.items() if name != sparse.name}))
    header = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    (tmp_path / "a.tar").write_bytes(bytes(header) + buffer.getvalue())
    assert refused(tmp_path).id in ("source-unsupported", "image-not-found")
