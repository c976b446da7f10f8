"""Real registries on loopback ports, each test its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import urllib3
import yaml

from installer.registry.address import RegistryAddress
from installer.registry.client import RegistryClient
from installer.registry.login import Login
from installer.registry.patience import Patience
from tests.claims import single_port
from tests.unit.trust.media import make_kit

from .authority import Authority

QUICK = Patience(connect=2, answer=10, storing=30, retries=3, pause=0.05, longest_pause=2)
PROGRAM = "docker-registry"
QUIET = os.environ | {"OTEL_TRACES_EXPORTER": "none"}
"""Distribution 3 would look for somebody to tell its traces."""
LOGIN = Login("courier", "a stick in the night")


@dataclass
class Distribution:
    """A registry that runs as a process of the test."""

    address: RegistryAddress
    folder: Path
    process: subprocess.Popen[bytes]
    program: str = "docker-registry"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def client(self, login: Login | None = None, **more: Any) -> RegistryClient:
        return RegistryClient.at(self.address, login, patience=QUICK, **more)

    def requests(self, method: str, part: str = "") -> list[str]:
        """The requests that it answered, as its access log has them."""
        lines = [line for line in self.log.splitlines() if f'"{method} ' in line]
        return [line for line in lines if part in line]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def start_again(self) -> None:
        """With what it had, where it was."""
        with (self.folder / "log").open("ab") as log:
            command = [self.program, "serve", str(self.folder / "config.yml")]
            self.process = subprocess.Popen(command, env=QUIET, stdout=log, stderr=log)
        _wait(self, None)


Start = Callable[..., Distribution]


@contextmanager
def starting(tmp_path: Path) -> Iterator[Start]:
    """Starts registries; they end with the block."""
    running: list[Distribution] = []
    assert shutil.which(PROGRAM), "docker-registry is not installed: make setup"

    def start(
        config: dict[str, Any] | None = None, prefix: str = "", ca: Path | None = None, program: str = PROGRAM
    ) -> Distribution:
        folder = tmp_path / f"registry-{len(running)}"
        folder.mkdir()
        port = single_port()
        value: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": f"127.0.0.1:{port}", "secret": "of this test"},
        }
        for section, settings in (config or {}).items():
            value[section] = {**value.get(section, {}), **settings}
        (folder / "config.yml").write_text(yaml.safe_dump(value))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program, "serve", folder / "config.yml"], env=QUIET, stdout=log, stderr=log)
        scheme = "https" if "tls" in value["http"] else "http"
        address = RegistryAddress.parse(f"{scheme}://127.0.0.1:{port}/{prefix}")
        registry = Distribution(address, folder, process, program)
        running.append(registry)
        _wait(registry, ca)
        return registry

    yield start
    for registry in running:
        if registry.process.poll() is None:
            registry.process.send_signal(signal.SIGKILL)
            registry.process.wait(20)


def _wait(registry: Distribution, ca: Path | None) -> None:
    pool = urllib3.PoolManager(ca_certs=str(ca) if ca else None)
    for _ in range(200):
        try:
            pool.request("GET", f"{registry.address.url}/v2/", retries=False, timeout=2)
            return
        except urllib3.exceptions.HTTPError:
            if "client didn't provide a certificate" in registry.log:
                return  # it is there, and lets nobody in without one
            assert registry.process.poll() is None, registry.log
            time.sleep(0.05)
    raise AssertionError(f"no registry at {registry.address.url}: {registry.log}")


@pytest.fixture
def start_registry(tmp_path: Path) -> Iterator[Start]:
    """Starts CNCF Distribution as Debian has it, or ``program``; ``config`` is merged into its configuration."""
    with starting(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def shared_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distribution]:
    """A registry for the tests of a file that leave each other alone in it."""
    with starting(tmp_path_factory.mktemp("shared")) as start:
        yield start()


@pytest.fixture
def registry(start_registry: Start) -> Distribution:
    """A registry that lets everybody in."""
    return start_registry()


@pytest.fixture
def password_config(tmp_path: Path) -> dict[str, Any]:
    """Settings that let :data:`LOGIN` in."""
    hashed = bcrypt.hashpw(LOGIN.password.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "htpasswd").write_text(f"{LOGIN.user}:{hashed}\n")
    return {"auth": {"htpasswd": {"realm": "test", "path": str(tmp_path / "htpasswd")}}}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A private authority of this test."""
    return Authority.made(tmp_path, "127.0.0.1")


def stored(registry: Distribution, repository: str, reference: str) -> dict[str, Any]:
    """A manifest as the registry gives it back, asked by another client."""
    url = f"{registry.address.url}/v2/{repository}/manifests/{reference}"
    accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
    answer = urllib3.PoolManager().request("GET", url, headers={"Accept": accept}, timeout=5)
    assert answer.status == 200, answer.data
    value: dict[str, Any] = json.loads(answer.data)
    return value


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A media folder that two have signed."""
    return make_kit(tmp_path_factory.mktemp("board"), "release", "colleague")
