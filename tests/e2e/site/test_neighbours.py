"""A registry that the site has already; and sites and products that share an engine without touching each other."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
import yaml

from installer.targets import labels
from tests.e2e.site.conftest import FIRST, SECOND, MakeSite
from tests.e2e.site.host import ABSENT, Site
from tests.e2e.site.vendor import Edition, Vendor

pytestmark = pytest.mark.e2e

PASSWORD = "salt and pepper"


@dataclass(frozen=True)
class OwnRegistry:
    """A registry of the site's own: plain HTTP on loopback, with a password."""

    url: str
    data: Path
    credentials: Path

    def repositories(self) -> set[str]:
        root = self.data / "docker/registry/v2/repositories"
        return {str(path.parent.relative_to(root)) for path in root.rglob("_manifests")}


@pytest.fixture
def own_registry(site: Site, tmp_path: Path) -> Iterator[OwnRegistry]:
    program = shutil.which("docker-registry")
    assert program, "docker-registry is not installed: make setup"
    (tmp_path / "htpasswd").write_text(f"cook:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    credentials = tmp_path / "credentials"
    credentials.write_text(f"cook:{PASSWORD}\n")
    credentials.chmod(0o600)
    data = tmp_path / "data"
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(data)}},
        "http": {"addr": site.registry, "secret": "of this test"},
        "auth": {"htpasswd": {"realm": "kitchen", "path": str(tmp_path / "htpasswd")}},
    }
    (tmp_path / "config.yml").write_text(yaml.safe_dump(settings))
    with (tmp_path / "registry.log").open("wb") as log:
        process = subprocess.Popen([program, "serve", tmp_path / "config.yml"], stdout=log, stderr=log)
    registry = OwnRegistry(f"http://{site.registry}", data, credentials)
    _await(registry.url, process)
    yield registry
    process.terminate()
    process.wait(20)


def test_uses_the_sites_own_registry_and_leaves_it_running(
    site: Site, own_registry: OwnRegistry, vendor: Vendor, tmp_path: Path
) -> None:
    site.trust(vendor)
    wrong = tmp_path / "wrong"
    wrong.write_text("cook:pepper\n")
    wrong.chmod(0o600)
    own = {"url": f"{own_registry.url}/lifted"}
    with site.nothing_changes():
        with site.configured(registry=own | {"credentials": {"file": str(wrong)}}):
            site.install(vendor.kit(FIRST)).refused(9, "registry-login")
        with site.configured(registry=own | {"credentials": {"file": str(tmp_path / "nowhere")}}):
            site.install(vendor.kit(FIRST)).refused(7, "secret-missing")
        with site.configured(registry={"url": f"http://127.0.0.1:{site.ports[-1]}"}):
            site.install(vendor.kit(FIRST)).refused(9, "registry-unreachable")
    site.configure(registry=own | {"credentials": {"file": str(own_registry.credentials)}})
    site.installed(vendor.kit(FIRST))
    site.installed(vendor.kit(SECOND))
    assert site.done("rollback")["version"] == "1.0.0"
    assert site.door() == "1.0.0"
    assert own_registry.repositories() == {"lifted/board/board"}
    assert not any(item["Names"][0] == f"/{site.names.registry}" for item in site.containers())
    seen = [*site.state.rglob("*"), *site.folder.glob("*.yaml")]
    kept = [path.name for path in seen if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert kept == []
    site.done("remove", "--yes", "--volumes")
    _await(own_registry.url, None)


def test_sites_and_products_on_one_engine_do_not_touch_each_other(make_site: MakeSite, vendor: Vendor) -> None:
    hall, annex = make_site(), make_site()
    menu = Edition("1.0.0", product="menu", edge=True)
    doors = {"board/web": {"bind": f"127.0.0.1:{hall.ports[0]}"}, "menu/web": {"bind": f"127.0.0.1:{hall.ports[23]}"}}
    hall.configure(
        entry_points=doors,
        preview={"bind": "127.0.0.1", "ports": f"{hall.ports[2]}-{hall.ports[22]}"},
        network={"subnet": hall.settings["network"]["subnet"].replace("/24", "/23")},
    )
    hall.trust(vendor, "any")
    annex.trust(vendor)
    hall.installed(vendor.kit(FIRST))
    hall.installed(vendor.kit(menu))
    annex.installed(vendor.kit(FIRST))
    assert (hall.door(), hall.door(hall.ports[23]), annex.door()) == ("1.0.0",) * 3

    menu_before = _containers(hall, "menu")
    with annex.nothing_changes():
        hall.installed(vendor.kit(SECOND))
        hall.sealift("rollback").refused(2, "bad-option")
        hall.done("rollback", "--product", "board")
        hall.installed(vendor.kit(SECOND))
        hall.done("remove", "--product", "board", "--yes", "--volumes")
    assert (hall.door(), hall.door(hall.ports[23]), annex.door()) == (ABSENT, "1.0.0", "1.0.0")
    assert _containers(hall, "menu") == menu_before
    assert _containers(hall, "board") == set()

    with hall.nothing_changes():
        annex.installed(vendor.kit(SECOND))
        annex.done("remove", "--yes", "--volumes")
    assert (hall.door(hall.ports[23]), annex.door(), annex.containers()) == ("1.0.0", ABSENT, [])
    products = hall.done("status")["products"]
    assert [(item["product"], item["version"], item["healthy"]) for item in products] == [("menu", "1.0.0", True)]


def _containers(site: Site, product: str) -> set[str]:
    return {item["Id"] for item in site.containers() if item["Labels"].get(labels.PRODUCT) == product}


def _await(url: str, process: subprocess.Popen[bytes] | None) -> None:
    """Return when a registry answers; it must ask for a password."""
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{url}/v2/", timeout=2)
        except urllib.error.HTTPError as error:
            assert error.code == 401
            return
        except OSError:
            assert process is None or process.poll() is None
            time.sleep(0.05)
    raise AssertionError(f"no registry at {url}")
