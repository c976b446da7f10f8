"""One site's story on the real engine, by the commands of docs/trust/permits.md and docs/trust/clocks.md.

Refused downgrades, a permit used once, replays, kills, clocks that lie, a state that was lost.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bundler.signing.sign import generate
from installer.state.state import load_state
from installer.targets import labels
from installer.trust.clock import Floor
from tests.e2e.site.conftest import MakeSite
from tests.e2e.site.host import Site
from tests.e2e.site.test_kills import kill_at
from tests.e2e.site.vendor import REPOSITORY, Edition, Vendor

pytestmark = pytest.mark.e2e

OLD, NEW, NEXT = Edition("1.0.0", edge=True), Edition("1.1.0", edge=True), Edition("1.2.0")
BROKEN = Edition("0.9.0", ready=False)


def blocks(page: str) -> list[str]:
    """The shell blocks of a page in docs/trust."""
    text = (REPOSITORY / f"docs/trust/{page}.md").read_text()
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@dataclass
class House:
    """A site, its vendor, and a stick between them."""

    site: Site
    vendor: Vendor
    stick: Path

    def carry(self, edition: Edition) -> Path:
        """What the stick holds from now on."""
        shutil.rmtree(self.stick, ignore_errors=True)
        shutil.copytree(self.vendor.kit(edition), self.stick)
        return self.stick

    def page(self, block: str) -> str:
        """Run a block of a page as it stands: its stick, site, digest and container names are ours; what it shows."""
        names = self.site.names
        for word, here in (
            ("/media/usb", str(self.stick)),
            ("sha256:SITE", self.site.done("trust", "show")["site"]),
            ("sha256:SERVING", self.serving() if "SERVING" in block else ""),
            (f"{labels.OWNER}=sealift", f"{labels.OWNER}={labels.owner(names)}"),
            ("sealift-edge sealift-registry", f"{names.edge} {names.registry}"),
        ):
            block = block.replace(word, here)
        programs = self.vendor.root / "bin"
        programs.mkdir(exist_ok=True)
        for name, module in (("bundle", "bundler"), ("sealift", "installer")):
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
            (programs / name).chmod(0o755)
        environment = self.site.environment() | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SEALIFT_PASSPHRASE": "word",
        }
        done = subprocess.run(
            ["sh", "-euc", block],
            cwd=self.vendor.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block}{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def serving(self) -> str:
        """The digest of what serves."""
        (product,) = self.site.done("status")["products"]
        return str(product["digest"])

    def permit(self, name: str, to: Edition, coming_from: str = "", key: str = "officer") -> Path:
        """A permit for this site, from what serves."""
        out = self.vendor.root / f"{name}.permit.json"
        wish = ("--from", coming_from or self.serving(), "--to", str(self.vendor.kit(to)))
        here = self.site.done("trust", "show")["site"]
        self.vendor.bundle("permit", *wish, "--site", here, "--key", f"keys/{key}.key", "--out", str(out))
        return out


@pytest.fixture(scope="module")
def house(make_lasting_site: MakeSite, vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A site where 1.1.0 serves and nothing else ever ran; only an officer may permit. Its tests are one story."""
    generate(vendor.root / "keys", "officer", "word")
    generate(vendor.root / "keys", "second", "word")
    roles = ("--root-key", "keys/root.key", "--release-key", "keys/release.pub", "--permit-key", "keys/officer.pub")
    vendor.bundle("trust", "init", *roles, "--product", "board", "--out", "keys/officer.json")
    site = make_lasting_site()
    site.trust(vendor, "officer")
    site.installed(vendor.kit(NEW))
    return House(site, vendor, tmp_path_factory.mktemp("media") / "usb")


def test_doctor_finds_nothing_that_would_stop_an_upgrade(house: House) -> None:
    with house.site.nothing_changes():
        found = house.site.done("doctor")
    assert found["ready"] and {item["level"] for item in found["findings"]} == {"ok"}
    assert {"trust", "clock", "state", "engine", "board"} <= {item["id"] for item in found["findings"]}


def test_refused_downgrade_prints_the_command_that_makes_its_permit(house: House) -> None:
    with house.site.nothing_changes():
        said = house.site.install(house.vendor.kit(OLD)).refused(6, "downgrade")
    words = re.search(r"bundle permit (--product board --from sha256:\w{64} --to sha256:\w{64}) --site", said)
    assert words and f"--from {house.serving()}" in words[1]


def test_refuses_permits_by_nobody_who_may_give_them(house: House) -> None:
    site, vendor = house.site, house.vendor
    by_release = house.permit("by-release", OLD, key="release")
    bare = vendor.root / "bare.permit.json"
    shutil.copy(by_release, bare)
    with site.nothing_changes():
        for path, error in ((by_release, "permit-role"), (bare, "unsigned")):
            site.install(vendor.kit(OLD), "--permit", str(path)).refused(5, error)
    assert site.door() == "1.1.0"


def test_failed_downgrade_gives_its_permit_back_and_moves_no_mark(house: House) -> None:
    leave = house.permit("broken", BROKEN)
    before = load_state(house.site.state)
    answer = house.site.install(house.vendor.kit(BROKEN), "--permit", str(leave))
    assert (answer.code, answer.value["result"]) == (10, "rolled-back")
    after = load_state(house.site.state)
    assert (after.permits, after.products, after.floor) == ({}, before.products, before.floor)
    assert house.site.done("history")["runs"][-1]["permit"]["id"] == json.loads(leave.read_bytes())["id"]


@pytest.mark.parametrize(
    ("year", "warned", "permitted"),
    [(1970, ["clock-behind"], True), (2038, ["clock-ahead", "root-expired"], False), (2100, None, False)],
)
def test_judges_rightly_and_warns_in_any_year(house: House, year: int, warned: list[str], permitted: bool) -> None:
    site, leave = house.site, house.vendor.root / "year.permit.json"
    if not leave.exists():
        house.permit("year", OLD)
    warned = warned or ["clock-ahead", "root-expired"]
    site.clock = f"{year}-01-20 00:00:00"
    try:
        with site.nothing_changes():
            shown = site.done("install", str(house.vendor.kit(NEXT)), "--dry-run")
            assert (shown["result"], [item["id"] for item in shown["warnings"]]) == ("planned", warned)
            answer = site.install(house.vendor.kit(OLD), "--permit", str(leave), "--dry-run")
            if permitted:
                assert answer.value["result"] == "planned"
            else:
                answer.refused(6, "permit-expired")
            found: list[dict[str, Any]] = site.done("doctor")["findings"]
            assert sorted(item["id"] for item in found if item["level"] != "ok") == warned
            assert [item["id"] for item in site.done("status")["trust"]["warnings"]] == warned
    finally:
        site.clock = None


def test_pages_commands_let_the_older_release_in_even_after_a_kill(house: House) -> None:
    site = house.site
    ask, make, second, check, use, _ = blocks("permits")
    assert site.done("trust", "show")["site"] in house.page(ask)
    house.carry(OLD)
    for block in (make, second, check):
        house.page(block)
    leave = house.stick / "down.permit.json"
    assert len(list(house.stick.glob("down.permit.json.*.sigstore.json"))) == 2
    look, *install = use.splitlines(keepends=True)
    assert "use up the permit" in house.page(look)
    kill_at(site, "start", "install", str(house.stick), "--permit", str(leave))
    assert site.door() == "1.1.0"
    house.page("".join(install))
    assert site.door() == "1.0.0"
    again = site.done("install", str(house.stick), "--permit", str(leave))
    assert again["result"] == "unchanged" and [item["id"] for item in again["warnings"]] == ["permit-not-needed"]
    used = json.loads(leave.read_bytes())
    assert list(load_state(site.state).permits) == [used["id"]]
    told = site.done("history")["runs"][-1]["permit"]
    assert [signer["name"] for signer in told.pop("signed_by")] == ["officer"]
    kept = site.state / told.pop("kept")
    assert told == used and kept.read_bytes() == leave.read_bytes()
    assert "by leave of permits/" in site.raw("history")[1]
    signatures = [sorted(path.read_bytes() for path in one.parent.glob(f"{one.name}.*")) for one in (kept, leave)]
    assert signatures[0] == signatures[1] and len(signatures[0]) == 2


def test_refuses_the_permit_when_it_would_fit_again(house: House) -> None:
    site = house.site
    assert site.done("rollback")["version"] == "1.1.0"
    with site.nothing_changes():
        leave = str(house.stick / "down.permit.json")
        site.install(house.vendor.kit(OLD), "--permit", leave).refused(6, "permit-used")
    assert site.installed(house.vendor.kit(NEXT))["result"] == "installed"


def test_committed_release_is_the_floor(house: House) -> None:
    floor = load_state(house.site.state).floor
    assert isinstance(floor, Floor) and floor.at.startswith("20")
    for block in blocks("clocks"):
        house.page(block)


def test_host_that_lost_its_state_takes_nothing_for_a_first_install(house: House) -> None:
    site = house.site
    for path in site.state.glob("state.?"):
        path.unlink()
    for words in (
        ("install", str(house.vendor.kit(OLD))),
        ("rollback",),
        ("remove", "--yes"),
        ("status",),
        ("doctor",),
    ):
        said = site.sealift(*words).refused(4, "state-lost")
        assert "backup" in said and "permit" in said
    assert site.door() == "1.2.0"


def test_lost_state_is_begun_anew_by_the_pages_commands(house: House) -> None:
    house.carry(NEW)
    leave = house.permit("lost", NEW, "lost")
    for path in leave.parent.glob("lost.permit.json*"):
        shutil.copy(path, house.stick)
    house.page(blocks("permits")[-1])
    assert house.site.door() == "1.1.0" and house.site.done("doctor")["ready"]
    house.site.install(house.vendor.kit(OLD)).refused(6, "downgrade")


def test_taking_the_product_off_is_no_way_down(house: House) -> None:
    house.site.done("remove", "--yes")
    with house.site.nothing_changes():
        house.site.install(house.vendor.kit(OLD)).refused(6, "downgrade")
