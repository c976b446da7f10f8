"""Refusals on a site where a release serves: it goes on, and nothing of it is touched."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from installer.bundle.archive import BundleReader
from tests.e2e.site.bundles import Region, region
from tests.e2e.site.conftest import FIRST, SECOND, MakeSite
from tests.e2e.site.host import Site, altered
from tests.e2e.site.vendor import Edition, Vendor

pytestmark = pytest.mark.e2e

SEED = 20261121
PARTS = (
    *("header of release.json", "release.json", "signatures/", "header of packing.json", "packing.json"),
    *("CHANGELOG.md", "program/install", "header of templates/", "templates/", "oci-layout", "index.json"),
    *("header of blobs/", "blobs/", "end", "seek table"),
)


@pytest.fixture(scope="module")
def upgraded(make_lasting_site: MakeSite, vendor: Vendor) -> Site:
    """A site where 1.1.0 serves and 1.0.0 is kept."""
    site = make_lasting_site()
    site.trust(vendor)
    site.installed(vendor.kit(FIRST))
    site.installed(vendor.kit(SECOND))
    return site


def test_refuses_older_media_than_what_has_run(upgraded: Site, vendor: Vendor) -> None:
    with upgraded.nothing_changes():
        said = upgraded.install(vendor.kit(FIRST)).refused(6, "downgrade")
    assert "rollback" in said


def test_refuses_the_same_version_with_another_content(upgraded: Site, vendor: Vendor) -> None:
    with upgraded.nothing_changes():
        other = vendor.kit(Edition(SECOND.version, note="Quietly something else."))
        upgraded.install(other).refused(6, "same-version-other-digest")


def test_refuses_a_release_that_cannot_follow_on_this_one(upgraded: Site, vendor: Vendor) -> None:
    too_far = Edition("3.0.0", manifest='requires: {upgrade_from: ">=2.0"}\n')
    with upgraded.nothing_changes():
        upgraded.install(vendor.kit(too_far)).refused(6, "upgrade-path")


def test_refuses_another_channel_and_platform(upgraded: Site, vendor: Vendor) -> None:
    with upgraded.nothing_changes():
        upgraded.install(vendor.kit(Edition("1.2.0", channel="beta"))).refused(6, "wrong-channel")
        upgraded.install(vendor.kit(Edition("1.2.0", platform="linux/arm64"))).refused(6, "wrong-platform")


def test_refuses_new_demands_that_the_site_does_not_meet(upgraded: Site, vendor: Vendor) -> None:
    demanding = Edition("1.2.0", entry_points=("web", "admin"))
    with upgraded.nothing_changes():
        assert "admin" in upgraded.install(vendor.kit(demanding)).refused(7, "entry-point-unbound")


def test_refuses_to_roll_back_to_what_never_ran(upgraded: Site) -> None:
    with upgraded.nothing_changes():
        upgraded.sealift("rollback", "--to", "0.9.0").refused(2, "unknown-release")
        upgraded.sealift("rollback", "--product", "lunchroom").refused(2, "bad-option")


def test_refuses_kept_releases_that_were_altered(upgraded: Site) -> None:
    (kept,) = (upgraded.state / "releases/board").glob("1.0.0-*")
    compose = kept / "rendered/sealift.green.yaml"
    whole = compose.read_bytes()
    compose.write_bytes(whole.replace(b"board", b"bored"))
    try:
        assert compose.read_bytes() != whole
        with upgraded.nothing_changes():
            upgraded.sealift("rollback").refused(4, "kept-release-damaged")
    finally:
        compose.write_bytes(whole)


@pytest.mark.parametrize(
    ("pattern", "code", "error"),
    [
        ("trust/root.json", 5, "trust-damaged"),
        ("journal/journal.jsonl", 4, "journal-damaged"),
        ("state.?", 4, "state-damaged"),
    ],
)
def test_refuses_to_work_on_damaged_records(
    upgraded: Site, vendor: Vendor, pattern: str, code: int, error: str
) -> None:
    whole = {path: path.read_bytes() for path in upgraded.state.glob(pattern)}
    before = upgraded.snapshot()
    for path, content in whole.items():
        path.write_bytes(content.replace(b"board", b"bored", 1))
    try:
        upgraded.install(vendor.kit(Edition("1.2.0"))).refused(code, error)
        upgraded.sealift("rollback").refused(code, error)
    finally:
        for path, content in whole.items():
            assert path.read_bytes() != content, "nothing was damaged"
            path.write_bytes(content)
    assert upgraded.snapshot().changes(before) == []


def test_engine_that_went_away_is_named_and_traffic_goes_on(upgraded: Site, vendor: Vendor, tmp_path: Path) -> None:
    gone = {"kind": "compose", "engine": f"unix://{tmp_path}/gone.sock"}
    with upgraded.nothing_changes(), upgraded.configured(target=gone):
        upgraded.install(vendor.kit(Edition("1.2.0"))).refused(7, "engine-missing")
        upgraded.sealift("rollback").refused(7, "engine-missing")
        upgraded.sealift("status").refused(7, "engine-missing")
    assert upgraded.door() == "1.1.0"


@pytest.mark.parametrize("part", [*PARTS, *(f"anywhere-{number}" for number in range(4))])
def test_refuses_a_flipped_bit_or_installs_just_what_was_signed(
    serving: Site, vendor: Vendor, tmp_path: Path, part: str
) -> None:
    bundle = vendor.bundle_of(SECOND)
    chance = random.Random(f"{SEED} {part}")
    where = region(bundle, part) if part in PARTS else Region(part, 0, bundle.stat().st_size)
    place = chance.randrange(where.start, where.end)

    def flip(content: bytearray) -> None:
        content[place] ^= 1 << chance.randrange(8)

    copy = altered(vendor.kit(SECOND), tmp_path, flip)
    before = serving.snapshot()
    answer = serving.install(copy)
    if answer.code == 0:
        _is_just_what_was_signed(serving, bundle)
        serving.done("rollback")
        assert serving.door() == "1.0.0"
    else:
        assert answer.code in (3, 4, 5), f"byte {place} in {where}: {answer.value}"
        answer.refused(answer.code, answer.value["error"]["id"])
        changes = serving.snapshot().changes(before)
        assert not changes, f"byte {place} in {where}: {changes}"


def _is_just_what_was_signed(site: Site, bundle: Path) -> None:
    with BundleReader(bundle) as reader:
        signed = reader.head.release
    (kept,) = (site.state / "releases/board").glob("1.1.0-*")
    assert (kept / "release.json").read_bytes() == signed
    wanted = {image["digest"] for image in json.loads(signed)["images"] if image["name"] == "board"}
    running = {item["Image"].rpartition("@")[2] for item in site.containers() if item["Names"][0].endswith("board-1-1")}
    assert running == wanted
    assert site.door() == "1.1.0"
