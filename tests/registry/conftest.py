"""Real registries on loopback ports, each test its own."""

from __future__ import annotations

import datetime
import ipaddress
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import urllib3
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from installer.registry.address import RegistryAddress
from installer.registry.client import RegistryClient
from installer.registry.login import Login
from installer.registry.wire import Patience

QUICK = Patience(connect=2, answer=10, storing=30, retries=3, pause=0.05, longest_pause=2)
LOGIN = Login("courier", "a stick in the night")


@dataclass
class Distribution:
    """A registry that runs as a process of the test."""

    address: RegistryAddress
    folder: Path
    process: subprocess.Popen[bytes]

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


Start = Callable[..., Distribution]


@pytest.fixture
def start_registry(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Start]:
    """Starts CNCF Distribution as Debian has it; ``config`` is merged into its configuration."""
    running: list[Distribution] = []
    program = shutil.which("docker-registry")
    assert program, "docker-registry is not installed: make setup"

    def start(config: dict[str, Any] | None = None, prefix: str = "", ca: Path | None = None) -> Distribution:
        folder = tmp_path / f"registry-{len(running)}"
        folder.mkdir()
        port = free_port()
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
            process = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log)
        scheme = "https" if "tls" in value["http"] else "http"
        address = RegistryAddress.parse(f"{scheme}://127.0.0.1:{port}/{prefix}")
        registry = Distribution(address, folder, process)
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
            assert registry.process.poll() is None, registry.log
            time.sleep(0.05)
    raise AssertionError(f"no registry at {registry.address.url}: {registry.log}")


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


@dataclass(frozen=True)
class Authority:
    """A private authority, and a certificate of 127.0.0.1 that it signed."""

    certificate: Path
    server: Path
    key: Path
    private: ec.EllipticCurvePrivateKey


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A private authority of this test."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of a test")])
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        builder = x509.CertificateBuilder(name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(hours=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return builder.add_extension(names, critical=False).sign(root, hashes.SHA256())

    files = {"ca.pem": certificate(name, root, ca=True)}
    files["server.pem"] = certificate(x509.Name([]), leaf, ca=False)
    for file, content in files.items():
        (tmp_path / file).write_bytes(content.public_bytes(serialization.Encoding.PEM))
    key = leaf.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "server.key").write_bytes(key)
    return Authority(tmp_path / "ca.pem", tmp_path / "server.pem", tmp_path / "server.key", root)


def stored(registry: Distribution, repository: str, reference: str) -> dict[str, Any]:
    """A manifest as the registry gives it back, asked by another client."""
    url = f"{registry.address.url}/v2/{repository}/manifests/{reference}"
    accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
    answer = urllib3.PoolManager().request("GET", url, headers={"Accept": accept}, timeout=5)
    assert answer.status == 200, answer.data
    value: dict[str, Any] = json.loads(answer.data)
    return value
