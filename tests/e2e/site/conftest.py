"""A vendor for the whole run; sites of their own for each module or test."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from tests import claims
from tests.e2e.site.host import Site
from tests.e2e.site.vendor import Edition, Vendor

FIRST = Edition("1.0.0", edge=True)
SECOND = Edition("1.1.0")

MakeSite = Callable[[], Site]


@pytest.fixture(scope="session")
def vendor(edge_images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    """Keys, roots, and editions on demand; the images of the site's own services are in the cache by then."""
    assert set(edge_images) == {"haproxy", "registry"}
    return Vendor.settle(tmp_path_factory.mktemp("vendor"))


@contextmanager
def sites(engine: docker.DockerClient, folders: Callable[[], Path]) -> Iterator[MakeSite]:
    made: list[Site] = []

    def make() -> Site:
        made.append(Site.make(engine, folders(), claims.port_block(), free_subnet(engine)))
        return made[-1]

    yield make
    left = [words for site in made if (words := site.leave())]
    assert not left, left


@pytest.fixture
def make_site(engine: docker.DockerClient, tmp_path: Path) -> Iterator[MakeSite]:
    """Makes sites for one test, and takes them off the engine again."""
    numbers = itertools.count()
    with sites(engine, lambda: tmp_path / f"site-{next(numbers)}") as make:
        yield make


@pytest.fixture(scope="module")
def make_lasting_site(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    """The same for a module: a refusal changes nothing, so many of them can share one site."""
    with sites(engine, lambda: tmp_path_factory.mktemp("site")) as make:
        yield make


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """An empty site."""
    return make_site()


@pytest.fixture(scope="module")
def serving(make_lasting_site: MakeSite, vendor: Vendor) -> Site:
    """A site where 1.0.0 serves."""
    site = make_lasting_site()
    site.trust(vendor)
    site.installed(vendor.kit(FIRST))
    return site


def free_subnet(engine: docker.DockerClient) -> str:
    """Addresses that no network of the engine has."""
    taken = [
        ipaddress.ip_network(entry["Subnet"])
        for network in engine.api.networks()
        for entry in (network.get("IPAM") or {}).get("Config") or ()
        if ":" not in entry["Subnet"]
    ]
    return claims.subnet(lambda net: not any(ipaddress.ip_network(net).overlaps(one) for one in taken))
