"""A registry with a certificate of the site's own authority: the engine has to know it, and is asked beforehand."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from installer.registry.enginetrust import CERTS_D
from tests.e2e.site.conftest import FIRST
from tests.e2e.site.host import Site
from tests.e2e.site.vendor import Vendor
from tests.registry.authority import Authority

pytestmark = pytest.mark.e2e


ADDRESS = f"198.51.100.{1 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))}"
"""Of this host while the test runs (RFC 5737): an engine believes loopback addresses without checking."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Signs for :data:`ADDRESS`."""
    return Authority.made(tmp_path, ADDRESS)


@pytest.fixture
def host(authority: Authority, site: Site, tmp_path: Path) -> Iterator[str]:
    """A registry at ``host:port``, by TLS."""
    subprocess.run(["ip", "address", "replace", f"{ADDRESS}/32", "dev", "lo"], check=True)
    host = f"{ADDRESS}:{site.ports[-1]}"
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
    subprocess.run(["ip", "address", "del", f"{ADDRESS}/32", "dev", "lo"], check=True)


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
