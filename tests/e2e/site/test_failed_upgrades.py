"""A release that fails is taken back, told with the last words of what failed, and the old one never stops."""

from __future__ import annotations

import getpass
import os
import re
import socket
import time
from pathlib import Path

import pytest

from tests.e2e.site.conftest import FIRST, SECOND
from tests.e2e.site.host import ABSENT, Site, Visitor
from tests.e2e.site.vendor import SERVE, Edition, Vendor

pytestmark = pytest.mark.e2e

WORDS = "the soup of the day is missing"
NOT_READY = Edition("1.2.0", command=f"echo '{WORDS}'; {SERVE}", ready=False)
CRASHING = Edition("1.2.1", command=f"echo '{WORDS}'; exit 3")
WITH_SECRET = """\
services:
  board:
    image: "{{ images.board }}"
    stop_grace_period: 0s
    secrets: [kitchen]
secrets:
  kitchen: {file: "{{ secrets.kitchen }}"}
"""
DEAF = Edition("1.2.2", command=f"echo '{WORDS}'; exec /bin/busybox sleep 600")


@pytest.mark.parametrize(
    ("edition", "at"),
    [(NOT_READY, "smoke"), (CRASHING, "health"), (DEAF, "health")],
    ids=["smoke fails", "crashes again and again", "never answers"],
)
def test_takes_a_failing_release_back_while_the_old_one_serves(
    serving: Site, vendor: Vendor, edition: Edition, at: str
) -> None:
    serving.configure(timing=serving.settings["timing"] | {"health": "6s"})
    kit = vendor.kit(edition)
    # What came into registry and engine is nothing that runs, and the next try finds it there.
    with serving.nothing_changes(but=("registry/data/", "images")), Visitor(serving.door) as visitor:
        answer = serving.install(kit)
    said = answer.refused(10, "upgrade-rolled-back")
    assert said.startswith("board 1.0.0 is serving") and f"failed at {at}" in said
    assert {name: answer.value[name] for name in ("result", "product", "version", "active", "previous")} == {
        "result": "rolled-back",
        "product": "board",
        "version": edition.version,
        "active": "blue",
        "previous": "1.0.0",
    }
    assert WORDS in answer.talk
    assert visitor.seen == ["1.0.0"] and visitor.asked > 20


def test_release_that_failed_does_not_block_a_lower_one_and_leaves_status_clean(serving: Site, vendor: Vendor) -> None:
    serving.install(vendor.kit(NOT_READY)).refused(10, "upgrade-rolled-back")
    (product,) = serving.done("status")["products"]
    assert (product["version"], product["healthy"], product["pending"]) == ("1.0.0", True, None)
    assert serving.done("history")["runs"][-1]["outcome"] == "rolled-back"
    with Visitor(serving.door) as visitor:
        serving.installed(vendor.kit(SECOND))
    assert visitor.seen == ["1.0.0", "1.1.0"]


@pytest.mark.parametrize("command", [NOT_READY.command, CRASHING.command], ids=["smoke fails", "crashes"])
def test_first_install_that_fails_leaves_nothing(site: Site, vendor: Vendor, tmp_path: Path, command: str) -> None:
    site.trust(vendor)
    site.configure(timing=site.settings["timing"] | {"health": "6s"})
    secret = tmp_path / "kitchen"
    secret.write_text("salt")
    secret.chmod(0o600)
    site.configure(secrets={"kitchen": {"file": str(secret)}})
    kit = vendor.kit(Edition("1.0.0", edge=True, command=command, ready=False, compose=WITH_SECRET))
    with site.nothing_changes():
        answer = site.install(kit)
    said = answer.refused(10, "upgrade-rolled-back")
    assert said.startswith("nothing is serving")
    assert (answer.value["result"], answer.value["previous"], answer.value["active"]) == ("rolled-back", None, None)
    assert WORDS in answer.talk
    assert (site.door(), site.containers()) == (ABSENT, [])
    assert site.done("status")["products"] == []


def test_refuses_a_second_run_and_says_who_where_since_when(site: Site, vendor: Vendor, tmp_path: Path) -> None:
    site.trust(vendor)
    site.configure(timing=site.settings["timing"] | {"bake": "6s"})
    first = site.start("install", str(vendor.kit(FIRST)), "--json")
    lock, deadline = site.state / "lock", time.monotonic() + 30
    while not (lock.exists() and lock.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    for words in (("install", str(vendor.kit(FIRST))), ("rollback",), ("remove", "--yes")):
        said = site.sealift(*words).refused(8, "locked")
        for part in (os.environ.get("SUDO_USER") or getpass.getuser(), socket.gethostname(), f"process {first.pid}"):
            assert part in said
        assert re.search(r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", said)
    assert site.done("status")["products"][0]["pending"]["version"] == "1.0.0"  # looking needs no lock
    out, err = first.communicate(timeout=120)
    assert first.returncode == 0, out + err
    assert site.door() == "1.0.0"
