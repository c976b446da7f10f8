"""One site's story on the real engine: its receipt, and the whole way that the vendor makes from it. In this order."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from installer.bundle.receipt import Receipt, read_receipt
from tests.e2e.site.conftest import MakeSite
from tests.e2e.site.host import Site
from tests.e2e.site.test_kills import kill_at
from tests.e2e.site.vendor import Edition, Vendor

pytestmark = pytest.mark.e2e

START = Edition("3.0.0", edge=True)
BETWEEN = Edition("3.1.0", edge=True)
BROKEN = Edition("3.2.0", edge=True, manifest="requires: {upgrade_from: '>=3.1'}\n", ready=False)
MENDED = Edition("3.2.1", edge=True, manifest="requires: {upgrade_from: '>=3.1'}\n")
TARGET = Edition("3.3.0", edge=True, manifest="requires: {upgrade_from: '>=3.2'}\n")


@dataclass
class House:
    """A site, and the vendor's store of its releases."""

    site: Site
    vendor: Vendor
    store: Path

    def stock(self, *editions: Edition) -> None:
        for edition in editions:
            kit = self.vendor.kit(edition)
            shutil.copytree(kit, self.store / kit.name, dirs_exist_ok=True)

    def receipt(self) -> tuple[Path, Receipt, dict[str, Any]]:
        out = self.site.folder / "hall.receipt"
        value = self.site.done("receipt", "--out", str(out))
        return out, read_receipt(out.read_bytes()).receipt, value

    def kit(self, edition: Edition) -> Path:
        out, _, value = self.receipt()
        words = ("--from", str(out), "--store", str(self.store), "--site-key", str(value["key"]))
        made = self.vendor.bundle("kit", f"v{edition.version}", *words, "--output", str(self.site.folder / "media"))
        assert made["not_checked"] == ["who signed the releases"]
        return Path(made["kit"])


@pytest.fixture(scope="module")
def house(make_lasting_site: MakeSite, vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A site where 3.0.0 serves."""
    site = make_lasting_site()
    site.trust(vendor)
    site.installed(vendor.kit(START))
    made = House(site, vendor, tmp_path_factory.mktemp("store"))
    made.stock(START, BETWEEN, BROKEN, TARGET)
    return made


def data_of(site: Site, digest: str) -> Path:
    """Where the site's registry has a blob's bytes."""
    name = digest.removeprefix("sha256:")
    return site.state / f"registry/data/docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"


def test_receipt_names_what_the_registry_has_and_changes_nothing(house: House) -> None:
    with house.site.nothing_changes():
        _, receipt, value = house.receipt()
    (product,) = house.site.done("status")["products"]
    told = receipt.product("board")
    assert told is not None and told.current is not None and told.current.digest == product["digest"]
    assert value["lost"] == [] and value["key"] == house.site.done("trust", "show")["site"]
    assert all(data_of(house.site, digest).exists() for digest in registry_of(receipt))
    assert receipt.edge.haproxy is not None and receipt.edge.registry is not None


def registry_of(receipt: Receipt) -> frozenset[str]:
    from installer.bundle.receipt import unpack_digests

    return unpack_digests(receipt.held.registry)


def test_blob_that_the_registry_lost_is_not_in_it(house: House) -> None:
    before = registry_of(house.receipt()[1])
    lost = max(before, key=lambda digest: data_of(house.site, digest).stat().st_size)
    place = data_of(house.site, lost)
    kept = place.with_name("kept")
    place.rename(kept)
    try:
        _, receipt, value = house.receipt()
        assert registry_of(receipt) == before - {lost} and value["lost"] == [lost]
        place.write_bytes(kept.read_bytes()[:-1])  # cut off is as bad as lost
        assert lost not in registry_of(house.receipt()[1])
    finally:
        kept.replace(place)
    assert registry_of(house.receipt()[1]) == before


def test_no_receipt_without_a_registry_that_answers(house: House) -> None:
    name = house.site.names.registry
    house.site.engine.containers.get(name).stop(timeout=1)
    try:
        house.site.sealift("receipt", "--out", str(house.site.folder / "none.receipt")).refused(
            9, "registry-unreachable"
        )
        assert not (house.site.folder / "none.receipt").exists()
    finally:
        house.site.engine.containers.get(name).start()


def test_openssl_says_that_the_site_signed_it(house: House) -> None:
    out, _, value = house.receipt()
    lines = (
        "head -n 1 hall.receipt > receipt.json\n"
        'sed -n \'1s/.*"key":"\\([^"]*\\)".*/\\1/p\' hall.receipt | base64 -d > site.der\n'
        "openssl pkey -pubin -inform DER -in site.der -out site.pub\n"
        'sed -n \'2s/.*"signature":"\\([^"]*\\)".*/\\1/p\' hall.receipt | base64 -d > receipt.sig\n'
        "openssl dgst -sha256 site.der\n"
        "openssl dgst -sha256 -verify site.pub -signature receipt.sig receipt.json\n"
    )
    done = subprocess.run(["sh", "-euc", lines], cwd=out.parent, capture_output=True, text=True, check=True)
    assert "Verified OK" in done.stdout and str(value["key"]).removeprefix("sha256:") in done.stdout


def test_step_that_fails_leaves_the_one_before_it_serving(house: House) -> None:
    media = house.kit(TARGET)
    shown = house.site.done("install", str(media), "--dry-run")
    assert [step["version"] for step in shown["path"]] == ["3.1.0", "3.2.0", "3.3.0"]
    answer = house.site.install(media)
    said = answer.refused(10, "upgrade-rolled-back")
    assert "board 3.1.0 is serving" in said and "step 2 of 3, 3.2.0" in said
    assert [step["result"] for step in answer.value["path"]] == ["installed", "rolled-back", "to-do"]
    assert house.site.door() == "3.1.0"


def test_killed_in_the_middle_of_the_way_the_next_run_goes_on(house: House) -> None:
    shutil.rmtree(house.store / "board-v3.2.0")
    house.stock(MENDED)
    media = house.kit(TARGET)
    kill_at(house.site, "start", "install", str(media))
    assert house.site.door() == "3.1.0"
    value = house.site.done("install", str(media))
    assert [(step["version"], step["result"]) for step in value["path"]] == [
        ("3.2.1", "installed"),
        ("3.3.0", "installed"),
    ]
    assert house.site.door() == "3.3.0" and value["previous"] == "3.2.1"
    assert house.site.done("rollback")["version"] == "3.2.1"
    again = house.site.done("install", str(media))
    assert [step["result"] for step in again["path"]] == ["passed-over", "installed"]
    assert house.site.done("install", str(media))["result"] == "unchanged"
