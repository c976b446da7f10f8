"""Old and new release side by side at the front door, where their entry points are not the same."""

from __future__ import annotations

import pytest

from installer.edge.config import Backend, EdgeConfig, Frontend, Server
from installer.errors import SealiftError
from installer.plan import frontdoor
from installer.site.names import Colour
from installer.site.site import Site

SITE = Site.model_validate(
    {"site": "hall", "network": {"subnet": "10.9.0.0/16"}, "registry": {"url": "https://r:5000"}}
)


def front(entry: str, port: int, preview: int) -> Frontend:
    return Frontend("p", entry, "http", f"127.0.0.1:{port}", None, f"127.0.0.1:{preview}")


def back(entry: str, colour: Colour) -> Backend:
    return Backend("p", colour, entry, "http", (Server("s-1", "10.9.0.1", 80),))


def test_entry_point_that_the_new_release_lacks_serves_on_and_gives_its_preview_up() -> None:
    old = EdgeConfig(
        (front("admin", 8081, 9000), front("web", 8080, 9001)), (back("admin", "blue"), back("web", "blue"))
    )
    both = frontdoor.union(old, SITE, "p", [front("web", 8080, 9000)], [back("web", "green")])
    assert [(one.entry, one.bind, one.preview_bind) for one in both.frontends] == [
        ("web", "127.0.0.1:8080", "127.0.0.1:9000"),
        ("admin", "127.0.0.1:8081", None),
    ]
    assert {one.name for one in both.backends} == {"p.admin.blue", "p.web.blue", "p.web.green"}


def test_entry_point_under_another_name_cannot_have_the_address_at_once() -> None:
    old = EdgeConfig((front("web", 8080, 9000),), (back("web", "blue"),))
    with pytest.raises(SealiftError) as caught:
        frontdoor.union(old, SITE, "p", [front("portal", 8080, 9000)], [back("portal", "green")])
    assert (caught.value.id, caught.value.exit_code) == ("port-taken", 7)
    assert "web" in caught.value.message and "give portal another address" in caught.value.hint
