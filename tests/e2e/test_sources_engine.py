"""Images out of real engines, with both of their image stores, and out of archives that real tools make."""

from __future__ import annotations

import json
import re
import shutil
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import docker
import pytest

from installer.errors import SealiftError
from tests.unit.bundler.layouts import LayoutMaker, tar_layer
from tests.unit.collect.archives import sha256, take, wish

pytestmark = pytest.mark.e2e
LAYERS = (tar_layer(base=b"base " * 3000), tar_layer(top=b"top"))


@pytest.fixture(scope="module")
def containerd_engine() -> Iterator[str]:
    """An engine of our own that keeps its images in containerd's store."""
    # Not below pytest's folder: the path of a socket is short.
    folder = Path(tempfile.mkdtemp(prefix="sealift-engine-"))
    (folder / "daemon.json").write_text('{"features":{"containerd-snapshotter":true}}')
    places = [f"--{name}={folder / name}" for name in ("data-root", "exec-root", "pidfile")]
    quiet = ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    where = f"unix://{folder / 's'}"
    command = ["dockerd", f"--config-file={folder / 'daemon.json'}", *places, *quiet, f"--host={where}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(where, process, folder / "log")
        yield where
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(where: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, log.read_text()
        try:
            docker.DockerClient(where, timeout=60).close()
            return
        except docker.errors.DockerException:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def two_platforms(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A layout with an index of two platforms, and the digests of its parts."""
    maker = LayoutMaker(tmp_path / "layout")
    amd64, arm64 = maker.image(LAYERS, packed=True), maker.image(LAYERS[:1], platform="linux/arm64")
    index = maker.add(maker.indexed(amd64, arm64), ref="1", name="docker.io/sealift-test/both:1")
    return maker.finish(), {"amd64": amd64["digest"], "arm64": arm64["digest"], "index": index["digest"]}


def skopeo(*words: str) -> None:
    done = subprocess.run(["skopeo", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_classic_store_gives_the_image_that_it_runs(
    engine: docker.DockerClient, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    repository = unique_name("sealift-test/web")
    engine.api.import_image_from_data(LAYERS[0], repository=repository, tag="1")
    try:
        found, contents = take(f"docker-daemon:{repository}:1", tmp_path)
        identity = engine.images.get(f"{repository}:1").id
        assert found.image.blobs[0].digest == identity
        assert all(digest == f"sha256:{sha256(data)}" for digest, data in contents.items())
        assert take(f"docker-daemon:{repository}:1@{identity}", tmp_path)[0].image == found.image
        assert take(f"docker-daemon:{identity}", tmp_path)[0].image.digest == found.image.digest
        with pytest.raises(SealiftError) as caught:
            take(f"docker-daemon:{repository}:1@sha256:{'0' * 64}", tmp_path)
        assert caught.value.id == "pin-mismatch"
        assert any(str(identity) in line for line in caught.value.details)
    finally:
        engine.images.remove(f"{repository}:1")


def test_containerd_store_gives_index_and_manifests_as_they_came(
    containerd_engine: str,
    two_platforms: tuple[Path, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout, digests = two_platforms
    monkeypatch.setenv("DOCKER_HOST", containerd_engine)
    docker.from_env().images.load(subprocess.check_output(["tar", "-C", str(layout), "-c", "."]))
    found, contents = take("docker-daemon:sealift-test/both:1", tmp_path)
    assert (found.image.digest, found.image.reference) == (digests["amd64"], "docker.io/sealift-test/both:1")
    assert found.digests == (digests["index"], digests["amd64"])
    assert all(digest == f"sha256:{sha256(data)}" for digest, data in contents.items())
    kept, _ = take(f"docker-daemon:sealift-test/both:1@{digests['index']}", tmp_path, wish(index="keep"))
    assert [part.digest for part in kept.image.manifests] == [digests[one] for one in ("amd64", "arm64", "index")]


@pytest.mark.parametrize("compress", [[], ["gzip", "-n"], ["zstd", "-q"]], ids=str)
def test_docker_archive_of_a_real_tool(
    two_platforms: tuple[Path, dict[str, str]], tmp_path: Path, compress: list[str]
) -> None:
    layout, _ = two_platforms
    archive = tmp_path / "a.tar"
    skopeo("copy", f"oci:{layout}:1", f"docker-archive:{archive}:acme/web:1")
    if compress:
        archive.write_bytes(subprocess.check_output(compress, input=archive.read_bytes()))
    found, contents = take("docker-archive:a.tar:acme/web:1", tmp_path)
    assert [blob.digest for blob in found.image.blobs[1:]] == [f"sha256:{sha256(layer)}" for layer in LAYERS]
    assert all(digest == f"sha256:{sha256(data)}" for digest, data in contents.items())


@pytest.mark.parametrize("compress", [[], ["gzip", "-n"], ["zstd", "-q"]], ids=str)
def test_oci_archive_of_a_real_tool_keeps_every_byte(
    two_platforms: tuple[Path, dict[str, str]], tmp_path: Path, compress: list[str]
) -> None:
    layout, digests = two_platforms
    archive = tmp_path / "a.tar"
    skopeo("copy", "--all", "--preserve-digests", f"oci:{layout}:1", f"oci-archive:{archive}:v1")
    if compress:
        archive.write_bytes(subprocess.check_output(compress, input=archive.read_bytes()))
    found, _ = take(f"oci-archive:a.tar:v1@{digests['index']}", tmp_path, wish(index="keep"))
    assert found.image.digest == digests["index"]
    assert len(found.image.manifests) == 3


def test_layout_with_several_images_of_a_real_tool(two_platforms: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    layout, _ = two_platforms
    for name in ("one", "two"):
        skopeo("copy", "--override-arch=amd64", f"oci:{layout}:1", f"oci:{tmp_path / 'many'}:{name}")
    assert len(json.loads((tmp_path / "many/index.json").read_bytes())["manifests"]) == 2
    assert take("oci:many:two", tmp_path)[0].image.digest == take("oci:many:one", tmp_path)[0].image.digest
    with pytest.raises(SealiftError) as caught:
        take("oci:many:three", tmp_path)
    assert "one, two" in caught.value.message


class OldEngine(BaseHTTPRequestHandler):
    """Answers like an engine before 25, which no current Debian has any more. ``saved`` is what it saves."""

    saved = b""
    promised = 0

    def do_GET(self) -> None:
        if re.search(r"/version$", self.path):
            self._answer(json.dumps({"ApiVersion": "1.41", "Version": "20.10.24"}).encode())
        elif self.path.endswith("/json"):
            self._answer(json.dumps({"Id": "sha256:" + "0" * 64, "Size": len(self.saved)}).encode())
        else:
            self._answer(self.saved, self.promised or len(self.saved))

    def _answer(self, body: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "engine"

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def old_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes, int], None]]:
    servers: list[socketserver.ThreadingUnixStreamServer] = []

    def start(saved: bytes, promised: int = 0) -> None:
        handler = type("Handler", (OldEngine,), {"saved": saved, "promised": promised})
        path = tmp_path / "engine.sock"
        server = socketserver.ThreadingUnixStreamServer(str(path), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def saved_by_an_old_engine(layout: Path, folder: Path) -> bytes:
    """What ``docker save`` gave before engine 25, as skopeo still writes it."""
    skopeo("copy", f"oci:{layout}:1", f"docker-archive:{folder / 'saved.tar'}:acme/web:1")
    return (folder / "saved.tar").read_bytes()


def test_old_engine_that_saves_a_docker_archive_is_as_good(
    two_platforms: tuple[Path, dict[str, str]], old_engine: Callable[[bytes, int], None], tmp_path: Path
) -> None:
    old_engine(saved_by_an_old_engine(two_platforms[0], tmp_path), 0)
    found, contents = take("docker-daemon:acme/web:1", tmp_path)
    assert found.image == take("docker-archive:saved.tar", tmp_path)[0].image
    assert all(digest == f"sha256:{sha256(data)}" for digest, data in contents.items())


def refused(folder: Path) -> str:
    with pytest.raises(SealiftError) as caught:
        take("docker-daemon:acme/web:1", folder)
    return caught.value.id


def test_refuses_what_is_no_tar(old_engine: Callable[[bytes, int], None], tmp_path: Path) -> None:
    old_engine(b"no tar at all" * 100, 0)
    assert refused(tmp_path) == "source-unsupported"


def test_connection_cut_in_the_middle_is_the_engines_failure_and_leaves_no_file(
    two_platforms: tuple[Path, dict[str, str]], old_engine: Callable[[bytes, int], None], tmp_path: Path
) -> None:
    saved = saved_by_an_old_engine(two_platforms[0], tmp_path)
    old_engine(saved[: len(saved) // 2], len(saved))
    before = sorted(path.name for path in tmp_path.iterdir())
    assert refused(tmp_path) == "engine-failed"
    assert sorted(path.name for path in tmp_path.iterdir()) == before
