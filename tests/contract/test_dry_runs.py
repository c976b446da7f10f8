"""What ``--dry-run --json`` shows is what is done then, of every verb that has it, and showing it changes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from installer.report import Outcome
from installer.state.journal import Journal
from tests.contract.inprocess import FileSite

_WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


def agrees(site: FileSite, verb: Callable[[bool], Any]) -> list[str]:
    """Show it, then do it; the steps."""
    before = site.everything()
    shown = verb(True)
    assert site.everything() == before
    value = shown.plan.model_dump(mode="json")
    if isinstance(shown, Outcome):
        assert shown.as_json()["plan"] == value
    verb(False)
    run = Journal(site.state).runs()[-1]
    assert _WHEN.sub("then", json.dumps(value)) == _WHEN.sub("then", json.dumps(json.loads(run.intent)))
    assert [step["name"] for step in value["steps"]] == list(run.done)
    return list(run.done)


def test_every_plan_is_what_is_done_then(tmp_path: Path) -> None:
    site = FileSite(tmp_path)
    assert "front-door" in agrees(site, lambda dry: site.install("1.0.0", dry))
    assert "switch" in agrees(site, lambda dry: site.install("1.1.0", dry, strategy="blue-green"))
    assert "shift-2" in agrees(site, lambda dry: site.install("1.2.0", dry, strategy="rolling"))
    assert "hold" in agrees(site, lambda dry: site.install("1.3.0", dry, stage=True))
    assert "switch" in agrees(site, site.switch)
    assert "unstage" in staged_over(site)
    assert "drain" in agrees(site, site.rollback)
    assert "watcher" in agrees(site, lambda dry: site.install("1.6.0", dry, within=3600.0))
    assert "switch" in agrees(site, site.rollback)
    assert agrees(site, site.prune) == ["forget", "images", "registry"]


def staged_over(site: FileSite) -> list[str]:
    """What was staged is in the way of another release."""
    site.install("1.4.0", stage=True)
    return agrees(site, lambda dry: site.install("1.5.0", dry))
