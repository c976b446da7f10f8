"""The page about compose files says what the code refuses."""

from __future__ import annotations

import re
from pathlib import Path

from installer.targets.compose_file import _REFUSED


def test_page_lists_just_the_keys_that_are_refused(repository: Path) -> None:
    page = (repository / "docs/compose.md").read_text()
    refused = page.partition("## Refused")[2].partition("And:")[0]

    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", refused, re.MULTILINE)) == _REFUSED
