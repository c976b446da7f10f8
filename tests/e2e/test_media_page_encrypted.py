"""The section about encrypted media of docs/media.md, as it stands."""

from __future__ import annotations

import pytest

from tests.contract.door import FileDoor
from tests.contract.driver import world_of
from tests.e2e.mediapage import Stage

pytestmark = pytest.mark.e2e


def test_encrypted_media_install_tell_nothing_and_open_with_stock_tools(stage: Stage) -> None:
    stage.words |= {"--part-size fat32": "--part-size 256KiB"}
    _, packed, installed, refused, opened = stage.section("Encrypted media")
    assert "age1" in packed and "signatures" not in packed.split("README.txt")[-1]
    assert "verified" in installed and FileDoor(world_of(stage.host / "state")).versions("lan-chat") == {"2.1.0"}
    assert "2.1.0" not in refused and "verified" in opened and "in 3 parts" in opened
    key = (stage.host / "state/media.key").read_text().splitlines()[-1]
    assert key.startswith("AGE-SECRET-KEY-1")
    said = packed + installed + refused + opened
    everything = (path for path in stage.folder.rglob("*") if path.is_file() and path.name != "media.key")
    assert key not in said and not [path for path in everything if key.encode() in path.read_bytes()]
