"""No request fails while what serves is changed: the short form of ``make load``, no retries at the door."""

from __future__ import annotations

import pytest

from tests.e2e.site.conftest import MakeSite
from tests.e2e.site.host import Site
from tests.e2e.site.vendor import Edition, Vendor
from tests.edge.clients import Load

pytestmark = [pytest.mark.e2e, pytest.mark.load]

SERVICES = "{board: {image: board, replicas: 2, health: {http: ':3000/status'}}}"
LEAST = 1000


@pytest.fixture(scope="module")
def house(make_lasting_site: MakeSite, vendor: Vendor) -> Site:
    """A site with two replicas that its tests take from release to release, in order."""
    site = make_lasting_site()
    site.trust(vendor)
    site.configure(edge={"retries": 0}, timing=site.settings["timing"] | {"drain": "5s"})
    site.installed(vendor.kit(Edition("1.0.0", edge=True, services=SERVICES)))
    return site


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("install", "1.1.0"), 0),
        (("rollback",), 0),
        (("install", "1.2.0", "--strategy", "rolling"), 0),
        (("install", "1.3.0"), 10),
    ],
    ids=["blue-green", "rollback", "rolling", "failed upgrade"],
)
def test_no_request_fails(house: Site, vendor: Vendor, words: tuple[str, ...], code: int) -> None:
    line = [*words]
    if words[0] == "install":
        line[1] = str(vendor.kit(Edition(words[1], services=SERVICES, ready=code == 0)))
    door = ("127.0.0.1", house.ports[0])
    with (
        Load(*door, True, least=LEAST, connections=4, path="/status") as kept,
        Load(*door, False, least=LEAST, connections=4, path="/status") as fresh,
    ):
        kept.await_sent(50)
        assert house.sealift(*line).code == code
        fresh.await_sent(50)
    assert (kept.failures, fresh.failures) == ([], [])
    assert min(kept.answers.total(), fresh.answers.total()) >= LEAST
