"""History is told in the order in which it was done, whatever the host's clock said meanwhile."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from installer.report import show_history
from installer.state import journal as journal_module
from installer.state.chronicle import chronicle
from installer.state.journal import Journal
from installer.talk import Talk
from tests.unit.upgrade.test_execute import plan


@pytest.mark.parametrize("long", [False, True])
def test_a_clock_that_was_put_back_mixes_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    journal = Journal(tmp_path)

    def at(day: str) -> None:
        monkeypatch.setattr(journal_module, "_now", lambda: f"{day}T12:00:00.000+00:00")

    at("2026-11-28")
    journal.write("r1", "begin", detail=plan().model_dump_json())
    journal.write("r1", "step-begin", "load")
    at("2026-11-20")  # within the run
    journal.write("r1", "step-done", "load")
    journal.write("r1", "end", detail="done")
    journal.write("p", "program", "done", {"from": "1.0", "to": "1.1"})
    journal.write("r2", "begin", detail=plan(old=None).model_dump_json())
    journal.write("r2", "step-begin", "load")

    def shown(as_json: bool) -> str:
        out = io.StringIO()
        talk = Talk(json=as_json, out=out, err=io.StringIO())
        show_history(talk, journal.runs(), journal.programs(), chronicle(journal.entries()), long=long)
        talk.close()
        return out.getvalue()

    lines = shown(as_json=False).splitlines()[1:]
    told = [line.split("  ")[1].strip() or line.split("  ")[2].strip() for line in lines]
    first, second = "install p: 1.0.0 -> 2.0.0, blue-green, to green", "install p: first install of 2.0.0, blue-green"
    assert [line.startswith(("2026-11-28", "2026-11-20")) for line in lines] == [True] * len(lines)
    steps = [name for name in ("load",) if long]
    wanted = [first, *steps, "sealift 1.1 instead of 1.0", second, *steps]
    assert [word[: len(want)] for word, want in zip(told, wanted, strict=True)] == wanted
    runs = json.loads(shown(as_json=True))["runs"]
    assert [run["run"] for run in runs] == ["r1", "r2"]
    assert (runs[0]["seconds"], runs[0]["timeline"][0]["seconds"]) == (0.0, 0.0)
