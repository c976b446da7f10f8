"""A registry with a certificate of the site's own authority: the engine has to know it, and is asked beforehand."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import yaml

from installer.registry.enginetrust import CERTS_D
from tests.e2e.site.conftest import FIRST
from tests.e2e.site.host import Site
from tests.e2e.site.vendor import Vendor
from tests.registry.authority import Authority

pytestmark = pytest.mark.e2e


@pytest.fixture
def authority(engine: docker.DockerClient, tmp_path: Path) -> Authority:
    """Signs for an address that the engine doesn't believe by itself, as it does loopback."""
    return Authority.made(tmp_path, engine.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"])


@pytest.fixture
def host(engine: docker.DockerClient, authority: Authority, site: Site, tmp_path: Path) -> Iterator[str]:
    """A registry at ``host:port``, by TLS."""
    address = engine.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"]
    host = f"{address}:{site.ports[-1]}"
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "data")}},
        "http": {"addr": host, "tls": {"certificate": str(authority.server), "key": str(authority.key)}},
    }
    (tmp_path / "config.yml").write_text(yaml.safe_dump(settings))
    process = subprocess.Popen(["docker-registry", "serve", str(tmp_path / "config.yml")], stderr=subprocess.DEVNULL)
    yield host
    process.terminate()
    process.wait(20)
    shutil.rmtree(CERTS_D / host, ignore_errors=True)


def test_refuses_before_anything_is_written_and_installs_once_the_engine_knows_the_authority(
    site: Site, vendor: Vendor, host: str, authority: Authority
) -> None:
    site.trust(vendor)
    site.configure(registry={"url": f"https://{host}", "ca": str(authority.certificate)})
    with site.nothing_changes():
        site.install(vendor.kit(FIRST)).refused(7, "engine-distrusts-registry")
    (CERTS_D / host).mkdir(parents=True)
    shutil.copy(authority.certificate, CERTS_D / host / "ca.crt")
    site.installed(vendor.kit(FIRST))
    assert site.door() == "1.0.0"
