"""The bundled registry as the site's own container: it comes up, keeps to itself, and goes again."""

from __future__ import annotations

import dataclasses
import http.server
import json
import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
import urllib3

from installer.errors import SealiftError
from installer.registry.address import RegistryAddress
from installer.registry.archive import EdgeImage, ImageArchiveSink
from installer.registry.bundled import BundledService
from installer.registry.container import registry_commands
from installer.registry.images import relocate
from installer.registry.load import RegistrySink
from installer.registry.settings import MARK_HEADER, config_text

from .cargo import Cargo, Picture, layer
from .doubtful import serving

pytestmark = pytest.mark.e2e

Make = Callable[[], BundledService]


@pytest.fixture
def registry_image(
    edge_images: dict[str, str], engine: docker.DockerClient, wide_cache: Path, tmp_path: Path
) -> EdgeImage:
    """The registry's image as an archive in a state dir, taken from the layout that the build made."""
    layout = wide_cache / "edge/registry-layout"
    index = json.loads((layout / "index.json").read_text())

    def blob(name: str) -> bytes:
        return (layout / "blobs" / name.replace(":", "/")).read_bytes()

    manifest = json.loads(blob(index["manifests"][0]["digest"]))
    picture = Picture("registry", [])
    picture.manifests = [(blob(index["manifests"][0]["digest"]), index["manifests"][0]["mediaType"])]
    parts = [manifest["config"], *manifest["layers"]]
    picture.blobs = [(blob(part["digest"]), part["mediaType"], None) for part in parts]
    cargo = Cargo([picture], edge={"registry": "registry"})
    sink = ImageArchiveSink(cargo.release, ["registry"], tmp_path / "archives")
    cargo.stream(sink)
    sink.close()
    return sink.archives()["registry"]


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A state dir that nobody but its owner keeps others out of: no folder above it helps."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def make(state_dir: Path, free_port: Callable[[], int]) -> Iterator[Make]:
    """Makes registries in the state dir, each on a port of its own; takes them away at the end."""
    made: list[BundledService] = []

    def make() -> BundledService:
        made.append(BundledService.of(state_dir, f"127.0.0.1:{free_port()}"))
        return made[-1]

    yield make
    for service in made:
        service.remove()


def docker_cli(*arguments: str, config: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "DOCKER_CONFIG": str(config)}
    return subprocess.run(["docker", *arguments], env=environment, capture_output=True, text=True, check=False)


def test_starts_once_and_serves_an_engine_that_has_our_login(
    make: Make,
    registry_image: EdgeImage,
    engine: docker.DockerClient,
    tmp_path: Path,
    unique_name: Callable[[str], str],
) -> None:
    service = make()
    client = service.start(registry_image)
    container = engine.containers.get(service.names.registry)
    service.start(registry_image)
    assert engine.containers.get(service.names.registry).id == container.id, "started again for nothing"

    cargo = Cargo([Picture("gateway", [layer(unique_name("layer"))], packed=True)])
    sink = RegistrySink(client, cargo.release)
    cargo.stream(sink)
    sink.close()
    sink.finish_manifests()
    reference = relocate(cargo.release, service.address)["gateway"]

    refused = docker_cli("pull", reference, config=tmp_path)
    assert refused.returncode != 0
    assert "no basic auth credentials" in refused.stderr
    pulled = docker_cli("pull", reference, config=service.folder.docker_config)
    try:
        assert pulled.returncode == 0, pulled.stderr
        assert engine.images.get(reference).labels == {"picture": "gateway"}
    finally:
        engine.images.remove(reference, force=True)


def test_runs_without_rights_and_comes_back_by_itself(
    make: Make, registry_image: EdgeImage, engine: docker.DockerClient
) -> None:
    service = make()
    service.start(registry_image)
    seen = engine.containers.get(service.names.registry).attrs

    assert seen["Image"] in registry_image.ids
    assert seen["Config"]["User"] == "10001:10001"
    host = seen["HostConfig"]
    assert host["RestartPolicy"]["Name"] == "always"
    assert (host["NetworkMode"], host["ReadonlyRootfs"], host["CapDrop"]) == ("host", True, ["ALL"])
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert "password" not in json.dumps(seen).lower()
    assert service.folder.password.read_text().strip() not in json.dumps(seen)


def test_keeps_its_data_and_password_over_a_new_start(make: Make, registry_image: EdgeImage) -> None:
    service = make()
    client = service.start(registry_image)
    password = service.folder.password.read_text()
    client.upload_blob("some/image", EMPTY, 0, [])
    service.remove_container()
    assert not service.is_running()

    again = service.start(registry_image)
    assert service.folder.password.read_text() == password
    assert again.has_blob("some/image", EMPTY, 0)


EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_another_user_of_the_host_reads_nothing(make: Make, registry_image: EdgeImage, state_dir: Path) -> None:
    service = make()
    service.start(registry_image).upload_blob("some/image", EMPTY, 0, [])
    secrets = [service.folder.password, service.folder.docker_config / "config.json"]
    secrets += [service.folder.config / "config.yml", service.folder.config / "htpasswd"]
    assert all(path.is_file() for path in secrets)
    assert stat.S_IMODE(service.folder.password.stat().st_mode) == 0o600
    assert stat.S_IMODE(service.folder.docker_config.stat().st_mode) == 0o700

    for uid in (65534, 10001):
        others = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        readable = subprocess.run([*others, "ls", state_dir], capture_output=True, check=False)
        assert readable.returncode == 0, "the test shows nothing: the folder above keeps everybody out"
        for path in (*secrets, service.folder.data):
            tried = subprocess.run([*others, "ls", path], capture_output=True, text=True, check=False)
            assert "Permission denied" in tried.stderr, f"uid {uid} reaches {path}"


def test_refuses_to_delete(make: Make, registry_image: EdgeImage) -> None:
    service = make()
    service.start(registry_image).upload_blob("some/image", EMPTY, 0, [])
    auth = json.loads((service.folder.docker_config / "config.json").read_text())["auths"][service.address.host]["auth"]
    answer = urllib3.PoolManager().request(
        "DELETE",
        f"{service.address.url}/v2/some/image/blobs/{EMPTY}",
        headers={"Authorization": f"Basic {auth}"},
        timeout=5,
    )
    assert answer.status == 405


def test_refuses_a_port_that_is_taken(make: Make, registry_image: EdgeImage) -> None:
    service = make()
    host, _, port = service.address.host.rpartition(":")
    with socket.create_server((host, int(port))), pytest.raises(SealiftError) as refusal:
        service.start(registry_image)
    assert refusal.value.id == "port-taken"
    assert service.address.host in refusal.value.message
    assert not service.is_running()


@pytest.mark.parametrize("copied", [False, True], ids=["plain", "with-our-mark"])
def test_sends_no_password_to_a_stranger_on_its_port(make: Make, registry_image: EdgeImage, copied: bool) -> None:
    service = make()
    service.start(registry_image)
    mark = requests.get(f"{service.address.url}/v2/", timeout=5).headers[MARK_HEADER]

    stranger = _Stranger(mark if copied else "something else")
    with serving(stranger):
        elsewhere = RegistryAddress.bundled(f"127.0.0.1:{stranger.server_address[1]}")
        with pytest.raises(SealiftError) as refusal:
            dataclasses.replace(service, address=elsewhere).client()
    assert refusal.value.id == "port-taken"
    assert elsewhere.host in refusal.value.message
    assert stranger.asked
    assert not any("Authorization" in headers for headers in stranger.asked)


class _Stranger(http.server.HTTPServer):
    """Answers as a registry that asks for a password, to find out what it is."""

    def __init__(self, mark: str) -> None:
        super().__init__(("127.0.0.1", 0), _Asking)
        self.mark = mark
        self.asked: list[dict[str, str]] = []


class _Asking(http.server.BaseHTTPRequestHandler):
    server: _Stranger

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers.items()))
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="sealift"')
        self.send_header(MARK_HEADER, self.server.mark)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def test_says_when_it_does_not_run(make: Make, registry_image: EdgeImage) -> None:
    service = make()
    for _ in range(2):
        with pytest.raises(SealiftError) as refusal:
            service.client()
        assert refusal.value.id == "registry-unreachable"
        service.start(registry_image).ping()
        service.client().ping()
        service.remove_container()


def test_goes_again_without_a_trace(make: Make, registry_image: EdgeImage, engine: docker.DockerClient) -> None:
    service = make()
    service.start(registry_image)
    service.remove()
    service.remove()

    assert not service.folder.root.exists()
    with pytest.raises(docker.errors.NotFound):
        engine.containers.get(service.names.registry)


def test_commands_name_no_secret(make: Make, registry_image: EdgeImage) -> None:
    service = make()
    text = config_text(service.address, "the password")
    commands = registry_commands(service.names, registry_image.path, registry_image.config, service.folder, text)
    spoken = " ; ".join(map(str, commands))
    assert "the password" not in spoken
    assert f"run --detach --pull never --name {service.names.registry}" in spoken


@pytest.mark.parametrize("listen", ["0.0.0.0:5000", "10.1.2.3:5000", "[::]:5000"])
def test_refuses_to_listen_where_others_could_come(listen: str, tmp_path: Path) -> None:
    with pytest.raises(SealiftError) as refusal:
        BundledService.of(tmp_path, listen)
    assert refusal.value.id == "site-file-invalid"
