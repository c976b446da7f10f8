"""Encrypted media on the real engine: a host with the key installs from them, in parts too; others see nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from installer.bundle.age import MediaKey
from tests.e2e.site.conftest import FIRST, SECOND
from tests.e2e.site.host import Site
from tests.e2e.site.vendor import Vendor

pytestmark = pytest.mark.e2e


def carried(vendor: Vendor, kit: Path, folder: Path, recipient: str, *more: str) -> Path:
    """An encrypted copy of ``kit`` on a stick."""
    made = vendor.bundle("pack", str(kit), "--encrypt-to", recipient, "--output", str(folder / "out"), *more)
    return shutil.copytree(made["kit"], folder / "stick")


def words(vendor: Vendor, kit: Path) -> set[bytes]:
    """What tells this release from others: version, images, services, digests, the news."""
    told = vendor.bundle("inspect", str(kit))
    release = told["release"]
    found = {release["version"], told["digest"], "busybox", "CHANGELOG", "linux"}
    found |= {one["digest"] for one in (*release["files"], *release["images"])}
    found |= {one["reference"] for one in release["images"]}
    return {text.removeprefix("sha256:").encode() for text in found if len(text) > 4}


def test_a_host_with_the_key_installs_and_upgrades_from_encrypted_sticks(
    site: Site, vendor: Vendor, tmp_path: Path
) -> None:
    site.trust(vendor)
    (recipient,) = site.done("media-key", "new")["recipients"]
    first = carried(vendor, vendor.kit(FIRST), tmp_path / "first", recipient)
    told = b"".join(path.name.encode() + path.read_bytes() for path in first.iterdir())
    wanted = words(vendor, vendor.kit(FIRST))
    assert len(wanted) > 8 and not [word for word in wanted if word in told]
    assert site.installed(first)["version"] == "1.0.0"

    second = carried(vendor, vendor.kit(SECOND), tmp_path / "second", recipient, "--part-size", "256KiB")
    parts = sorted(second.glob("*.age.[0-9]*"))
    assert len(parts) > 2
    disc = tmp_path / "second/disc2"
    disc.mkdir()
    parts[1].rename(disc / parts[1].name)
    assert site.done("verify", str(second))["version"] == "1.1.0"
    assert site.installed(second)["previous"] == "1.0.0"


def test_a_host_without_the_key_refuses_and_changes_nothing(serving: Site, vendor: Vendor, tmp_path: Path) -> None:
    stick = carried(vendor, vendor.kit(SECOND), tmp_path, MediaKey.generate().recipient)
    with serving.nothing_changes():
        said = serving.install(stick).refused(7, "media-encrypted")
    assert "media-key new" in said and "1.1.0" not in said
    serving.done("media-key", "new")
    with serving.nothing_changes():
        serving.install(stick).refused(7, "media-key-wrong")
