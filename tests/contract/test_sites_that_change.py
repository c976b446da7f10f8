"""Between staging and switch the site's owner decides otherwise: what was staged for another site is not let in."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.errors import SealiftError
from tests.contract.inprocess import FileSite
from tests.torture.rest import served

CHANGES = {
    "another address of an entry point": ("127.0.0.1:8080", "127.0.0.1:8070"),
    "another network": ("10.213.0.0/16", "10.214.0.0/16"),
    "another registry": ("127.0.0.1:5999", "127.0.0.1:5998"),
    "another channel": ("channel: stable", "channel: beta"),
}


def test_what_was_staged_for_another_site_is_not_switched_to(tmp_path: Path) -> None:
    site = FileSite(tmp_path)
    site.install("1.0.0")
    site.install("1.1.0", stage=True)
    before = site.file.read_text()
    for what, (old, new) in CHANGES.items():
        assert old in before
        site.file.write_text(before.replace(old, new))
        with pytest.raises(SealiftError) as caught:
            site.switch()
        assert (caught.value.id, caught.value.exit_code) == ("staging-outdated", 12), what
        assert served(site.state, "board") == {"1.0.0"}, what
    site.file.write_text(before)
    assert site.switch().result == "installed"
    assert served(site.state, "board") == {"1.1.0"}
