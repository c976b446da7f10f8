"""Refusals on a site where nothing runs yet: right code, id and hint, one JSON object, and nothing is written."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from installer.errors import SealiftError
from installer.look.preflight import check_disk
from installer.registry.images import Needs
from tests.e2e.site.bundles import region, regions
from tests.e2e.site.conftest import FIRST, MakeSite
from tests.e2e.site.host import ABSENT, Site, altered
from tests.e2e.site.vendor import Edition, Vendor

pytestmark = pytest.mark.e2e

DEMANDING = Edition(
    "1.0.0",
    edge=True,
    entry_points=("web", "admin"),
    manifest="inputs: {menu.title: {type: string, description: what stands above the menu}}\n",
    compose="""\
services:
  board:
    image: "{{ images.board }}"
    environment: {TITLE: "{{ values.menu.title }}"}
    secrets: [kitchen]
secrets:
  kitchen: {file: "{{ secrets.kitchen }}"}
""",
)


@pytest.fixture(scope="module")
def empty(make_lasting_site: MakeSite, vendor: Vendor) -> Site:
    """A site that knows whom to trust, and runs nothing."""
    site = make_lasting_site()
    site.trust(vendor)
    return site


def test_refuses_a_host_that_was_not_told_whom_to_trust(site: Site, vendor: Vendor) -> None:
    with site.nothing_changes():
        site.install(vendor.kit(FIRST)).refused(5, "no-trust-provisioned")
        site.sealift("verify", str(vendor.kit(FIRST))).refused(5, "no-trust-provisioned")
    assert list(site.state.iterdir()) == []


def test_refuses_a_root_whose_fingerprint_is_not_the_one_typed(site: Site, vendor: Vendor) -> None:
    path, fingerprint = vendor.trust("ours")
    wrong = fingerprint[:-1] + ("0" if fingerprint[-1] != "0" else "1")
    with site.nothing_changes():
        site.sealift("trust", "init", str(path), "--fingerprint", wrong).refused(5, "fingerprint-mismatch")


def test_refuses_a_key_that_the_site_does_not_trust(site: Site, vendor: Vendor) -> None:
    site.trust(vendor, "stranger")
    with site.nothing_changes():
        site.install(vendor.kit(FIRST)).refused(5, "no-valid-signature")


def test_refuses_another_products_release(site: Site, vendor: Vendor) -> None:
    site.trust(vendor, "other-product")
    with site.nothing_changes():
        said = site.install(vendor.kit(FIRST)).refused(6, "wrong-product")
    assert "lunchroom" in said or "board" in said


@pytest.mark.parametrize("content", [b"", b"hello\n", b"PK\x03\x04" + b"\0" * 600, random.Random(7).randbytes(5000)])
def test_refuses_what_is_not_a_bundle(empty: Site, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "holiday.bundle.tar.zst"
    file.write_bytes(content)
    with empty.nothing_changes():
        answer = empty.install(file)
    if content:
        answer.refused(3, "not-a-bundle")
    else:
        assert answer.code in (3, 4)


def test_refuses_a_folder_without_a_bundle_and_a_file_that_is_not_there(empty: Site, tmp_path: Path) -> None:
    with empty.nothing_changes():
        empty.install(tmp_path).refused(3, "not-a-bundle")
        empty.install(tmp_path / "nothing.bundle.tar.zst").refused(4, "media-unreadable")


@pytest.mark.parametrize("part", ["release.json", "packing.json", "edge blob", "own blob", "end", "seek table"])
def test_refuses_a_bundle_that_ends_too_early_and_takes_its_registry_away(
    empty: Site, vendor: Vendor, tmp_path: Path, part: str
) -> None:
    cut = _inside(vendor, part)
    copy = altered(vendor.kit(FIRST), tmp_path, lambda content: content.__delitem__(slice(cut, None)))
    with empty.nothing_changes():
        answer = empty.install(copy)
        assert answer.code == 4, answer.value
        answer.refused(4, "truncated")


@pytest.mark.parametrize("part", ["edge blob", "own blob"])
def test_refuses_a_flipped_bit_and_takes_its_registry_away(
    empty: Site, vendor: Vendor, tmp_path: Path, part: str
) -> None:
    place = _inside(vendor, part)

    def flip(content: bytearray) -> None:
        content[place] ^= 0x10

    copy = altered(vendor.kit(FIRST), tmp_path, flip)
    with empty.nothing_changes():
        answer = empty.install(copy)
        assert answer.code in (3, 4), answer.value
        answer.refused(answer.code, answer.value["error"]["id"])
    assert empty.door() == ABSENT


def test_names_every_value_secret_and_address_that_the_site_lacks(empty: Site, vendor: Vendor, tmp_path: Path) -> None:
    kit = vendor.kit(DEMANDING)
    with empty.nothing_changes():
        assert "menu.title" in empty.install(kit).refused(7, "site-value-missing")
        with empty.configured(values={"menu.title": "Soup"}):
            assert "kitchen" in empty.install(kit).refused(7, "secret-missing")
            secret = tmp_path / "kitchen"
            with empty.configured(secrets={"kitchen": {"file": str(secret)}}):
                assert str(secret) in empty.install(kit).refused(7, "secret-missing")
                secret.write_text("salt")
                secret.chmod(0o600)
                assert "admin" in empty.install(kit).refused(7, "entry-point-unbound")


@pytest.mark.parametrize("number", [0, 1, 2], ids=["door", "registry", "preview"])
def test_refuses_a_port_that_somebody_else_has(empty: Site, vendor: Vendor, number: int) -> None:
    port = empty.ports[number]
    with empty.nothing_changes(), socket.create_server(("127.0.0.1", port)):
        assert str(port) in empty.install(vendor.kit(FIRST)).refused(7, "port-taken")


def test_refuses_a_host_without_an_engine(empty: Site, vendor: Vendor, tmp_path: Path) -> None:
    nobody = f"unix://{tmp_path}/docker.sock"
    with empty.nothing_changes(), empty.configured(target={"kind": "compose", "engine": nobody}):
        assert nobody in empty.install(vendor.kit(FIRST)).refused(7, "engine-missing")


def test_refuses_addresses_that_the_host_uses_already(empty: Site, vendor: Vendor) -> None:
    bridge = empty.engine.networks.get("bridge").attrs["IPAM"]["Config"][0]["Subnet"]
    with empty.nothing_changes(), empty.configured(network={"subnet": bridge}):
        assert bridge in empty.install(vendor.kit(FIRST)).refused(7, "address-pool")


def test_refuses_a_disk_too_small_for_registry_and_engine_before_any_write(site: Site, vendor: Vendor) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=0700", "none", site.state], check=True)
    try:
        site.trust(vendor)
        used = shutil.disk_usage(site.state).used
        with site.nothing_changes():
            said = site.install(vendor.kit(FIRST)).refused(7, "disk-too-small")
        assert "registry" in said and "engine" in said
        assert shutil.disk_usage(site.state).used <= used + 4096  # the lock
    finally:
        subprocess.run(["umount", site.state], check=True)


def test_counts_registry_and_engine_together_where_they_share_a_disk(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "none", tmp_path], check=True)
    try:
        state, engine, megabyte = tmp_path / "state", tmp_path / "engine", 1 << 20
        engine.mkdir()
        assert check_disk(Needs(registry=8 * megabyte, engine=9 * megabyte, state_dir=megabyte), state, engine) == ()
        with pytest.raises(SealiftError, match="needs 25") as refused:
            check_disk(Needs(registry=8 * megabyte, engine=15 * megabyte, state_dir=megabyte), state, engine)
        assert refused.value.id == "disk-too-small"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize(
    ("edition", "error"),
    [
        (Edition("1.0.0", channel="beta"), "wrong-channel"),
        (Edition("1.0.0", platform="linux/arm64"), "wrong-platform"),
        (Edition("1.0.0", manifest='requires: {installer: ">=99"}\n'), "installer-too-old"),
    ],
    ids=["channel", "platform", "program"],
)
def test_refuses_what_was_not_made_for_this_site(empty: Site, vendor: Vendor, edition: Edition, error: str) -> None:
    with empty.nothing_changes():
        empty.install(vendor.kit(edition)).refused(6, error)


@pytest.mark.parametrize(
    ("compose", "error"),
    [
        ("services: {board: {image: '{{ images.board }}', hostname: '{{ nothing.here }}'}}\n", "template-invalid"),
        ("services: {board: {image: '{{ images.board }}', build: .}}\n", "compose-invalid"),
    ],
)
def test_refuses_templates_that_make_no_sense(empty: Site, vendor: Vendor, compose: str, error: str) -> None:
    with empty.nothing_changes():
        empty.install(vendor.kit(Edition("1.0.0", compose=compose))).refused(2, error)


def test_refuses_a_site_file_that_is_wrong_or_missing(empty: Site, vendor: Vendor) -> None:
    with empty.nothing_changes():
        with empty.configured(bogus={"x": 1}):
            assert "bogus" in empty.install(vendor.kit(FIRST)).refused(2, "site-file-invalid")
        empty.sealift("install", str(vendor.kit(FIRST)), "--site", "nowhere.yaml").refused(2, "site-file-not-found")


@pytest.mark.parametrize(
    "words",
    [
        ("install", "--bogus"),
        ("install", "somewhere", "--strategy"),
        ("bogus",),
        ("--bogus", "status"),
        ("status", "extra"),
        ("trust", "init"),
        (),
        ("install",),
    ],
    ids=" ".join,
)
def test_refuses_wrong_options_with_one_object(empty: Site, words: tuple[str, ...]) -> None:
    with empty.nothing_changes():
        empty.sealift(*words).refused(2, "bad-option")


def test_refuses_strategies_that_it_does_not_know(empty: Site, vendor: Vendor) -> None:
    with empty.nothing_changes():
        said = empty.install(vendor.kit(FIRST), "--strategy", "bogus").refused(6, "strategy-unsupported")
    assert "rolling" in said and "blue-green" in said


def test_refuses_to_take_back_or_remove_what_is_not_there(site: Site, vendor: Vendor) -> None:
    site.trust(vendor)
    with site.nothing_changes():
        site.sealift("rollback").refused(2, "not-initialised")
        site.sealift("remove", "--yes").refused(2, "not-initialised")
        site.sealift("remove").refused(2, "answer-needed")
    assert site.done("status")["products"] == []
    assert site.done("history") == {"runs": [], "programs": []}


def _inside(vendor: Vendor, part: str) -> int:
    """A place in the middle of a part of the first release's bundle."""
    bundle = vendor.bundle_of(FIRST)
    choose: dict[str, Callable[[Any], bool]] = {
        "edge blob": lambda found: found.size > 4_000_000,
        "own blob": lambda found: found.name.startswith("blobs/") and 1_500_000 < found.content < 2_500_000,
    }
    found = next(item for item in regions(bundle) if choose[part](item)) if part in choose else region(bundle, part)
    return (found.start + found.end) // 2
