"""The site's own images do their work with as few rights as the engine can give."""

from __future__ import annotations

import json
import random
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker.models.containers import Container

pytestmark = pytest.mark.e2e

USER = 10001
NO_RIGHTS: dict[str, Any] = {
    "cap_drop": ["ALL"],
    "read_only": True,
    "security_opt": ["no-new-privileges"],
    "network_mode": "host",
    "detach": True,
}
HAPROXY_CONFIG = """\
global
  stats socket /edge/run/worker.sock mode 660
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
frontend door
  bind {address}:80
  monitor-uri /up
"""
REGISTRY_CONFIG = """\
version: 0.1
storage:
  filesystem: {{rootdirectory: /var/lib/registry}}
http: {{addr: "127.0.0.1:{port}"}}
auth:
  htpasswd: {{realm: site, path: /site/htpasswd}}
"""
# "courier" with the password "stick", as `htpasswd -B` writes it.
HTPASSWD = "courier:$2y$05$Bht6SkPJZuz.yk8Oa6Ja3e27/hA1vBi/IRjSdnAUCoGdvLTv5Fzci\n"

Run = Callable[..., Container]


@pytest.fixture
def run(engine: docker.DockerClient, unique_name: Callable[[str], str]) -> Iterator[Run]:
    """Starts containers without rights; removes them, and volumes of theirs, at the end."""
    started: list[Container] = []

    def start(image: str, **options: Any) -> Container:
        container: Container = engine.containers.create(image, name=unique_name("edge-test"), **NO_RIGHTS | options)
        started.append(container)
        container.start()
        return container

    yield start
    for container in started:
        container.remove(force=True, v=True)


@pytest.fixture
def door(tmp_path: Path) -> tuple[str, Path]:
    """A loopback address of our own, and a folder with an HAProxy configuration that listens on its port 80."""
    address = f"127.{random.randint(64, 127)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
    folder = owned_folder(tmp_path / "edge")
    owned_folder(folder / "run")
    (folder / "haproxy.cfg").write_text(HAPROXY_CONFIG.format(address=address))
    return address, folder


def owned_folder(path: Path) -> Path:
    """A folder that belongs to the user of the images."""
    path.mkdir(mode=0o750)
    subprocess.run(["chown", f"{USER}:{USER}", path], check=True)
    return path


def answer(url: str, container: Container, **options: Any) -> requests.Response:
    """The first answer of a service that is starting."""
    for _ in range(100):
        try:
            return requests.get(url, timeout=5, **options)
        except requests.ConnectionError:
            time.sleep(0.05)
    raise AssertionError(f"no answer from {url}: {container.logs().decode()}")


def process(container: Container) -> dict[str, str]:
    """What the kernel says about the first process of a container."""
    container.reload()
    status = Path(f"/proc/{container.attrs['State']['Pid']}/status").read_text()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}


def test_haproxy_binds_port_80_without_root(edge_images: dict[str, str], run: Run, door: tuple[str, Path]) -> None:
    address, folder = door
    volumes = {str(folder): {"bind": "/edge", "mode": "rw"}}
    container = run(edge_images["haproxy"], cap_add=["NET_BIND_SERVICE"], volumes=volumes)

    assert answer(f"http://{address}/up", container).status_code == 200
    seen = process(container)
    assert seen["Uid"].split() == [str(USER)] * 4
    assert seen["Gid"].split() == [str(USER)] * 4
    assert int(seen["CapEff"], 16) == 1 << 10, "more or less than cap_net_bind_service"
    assert seen["NoNewPrivs"] == "1"


def test_refuses_to_start_haproxy_without_its_one_capability(
    edge_images: dict[str, str], run: Run, door: tuple[str, Path]
) -> None:
    _, folder = door
    container = run(edge_images["haproxy"], volumes={str(folder): {"bind": "/edge", "mode": "rw"}})

    assert container.wait(timeout=20)["StatusCode"] == 1
    assert b"operation not permitted" in container.logs()


def test_registry_asks_for_a_password_without_root(
    edge_images: dict[str, str], run: Run, free_port: Callable[[], int], tmp_path: Path
) -> None:
    port = free_port()
    site, data = owned_folder(tmp_path / "site"), owned_folder(tmp_path / "data")
    (site / "config.yml").write_text(REGISTRY_CONFIG.format(port=port))
    (site / "htpasswd").write_text(HTPASSWD)
    container = run(
        edge_images["registry"],
        command=["serve", "/site/config.yml"],
        volumes={str(site): {"bind": "/site", "mode": "ro"}, str(data): {"bind": "/var/lib/registry", "mode": "rw"}},
    )
    base = f"http://127.0.0.1:{port}/v2/"

    assert answer(base, container).status_code == 401
    assert requests.get(base, auth=("courier", "boat"), timeout=5).status_code == 401
    assert requests.get(base, auth=("courier", "stick"), timeout=5).status_code == 200
    upload = requests.post(base + "some/image/blobs/uploads/", auth=("courier", "stick"), timeout=5)
    assert upload.status_code == 202
    assert list((data / "docker/registry/v2/repositories/some/image").iterdir()), "nothing reached the volume"
    seen = process(container)
    assert seen["Uid"].split() == [str(USER)] * 4
    assert int(seen["CapEff"], 16) == 0


@pytest.mark.parametrize("name", ["haproxy", "registry"])
def test_image_holds_no_shell_and_no_file_of_another_rank(
    edge_images: dict[str, str], name: str, wide_cache: Path
) -> None:
    layout = wide_cache / f"edge/{name}-layout"
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(layout, index["manifests"][0]["digest"]).read_text())
    with tarfile.open(blob(layout, manifest["layers"][0]["digest"])) as layer:
        members = layer.getmembers()

    programs = [member.name for member in members if "/bin/" in f"/{member.name}" or "/sbin/" in f"/{member.name}"]
    assert programs == [{"haproxy": "usr/sbin/haproxy", "registry": "usr/bin/docker-registry"}[name]]
    assert not [member.name for member in members if member.mode & 0o6000], "set-uid files"
    assert {member.uid for member in members if member.isfile()} == {0}
    assert len({member.mtime for member in members}) == 1


@pytest.mark.parametrize("name", ["haproxy", "registry"])
def test_same_packages_give_the_same_image(
    edge_images: dict[str, str],
    name: str,
    tmp_path: Path,
    repository: Path,
    wide_cache: Path,
) -> None:
    environment = {"PATH": "/usr/bin:/usr/sbin:/bin", "HOME": str(tmp_path), "TZ": "Asia/Tokyo", "LANG": "de_DE.UTF-8"}
    subprocess.run([repository / "manifests/edge/build"], check=True, env=environment, umask=0o077, capture_output=True)

    again = (tmp_path / f".cache/sealift/edge/{name}-layout/index.json").read_bytes()
    assert again == (wide_cache / f"edge/{name}-layout/index.json").read_bytes()


def blob(layout: Path, digest: str) -> Path:
    """A blob of an OCI layout."""
    return layout / "blobs" / digest.replace(":", "/")
