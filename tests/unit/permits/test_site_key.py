"""The site's own key."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from installer.errors import SealiftError
from installer.trust.sitekey import site_fingerprint, site_key


def test_is_made_once_and_for_nobody_else(tmp_path: Path) -> None:
    first = site_fingerprint(tmp_path)
    assert site_fingerprint(tmp_path) == first
    place = tmp_path / "site.key"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["site.key"]


def test_those_who_make_it_at_once_get_the_same_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: site_fingerprint(tmp_path), range(16)))
    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["site.key"]


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", b"\xff" * 99]
)
def test_damaged_one_is_named_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "site.key"
    place.write_bytes(content)
    with pytest.raises(SealiftError) as caught:
        site_key(tmp_path)
    assert caught.value.id == "site-key-damaged" and place.read_bytes() == content


def test_unreadable_place_is_the_systems_own_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=os.strerror(2)):
        site_key(tmp_path / "gone")
