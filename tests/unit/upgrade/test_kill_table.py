"""The table of docs/upgrades.md: what the next run does after a kill, by the journal's last whole line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from installer.execute import Executor
from installer.plan.plan import SWITCH
from installer.state.journal import Event, Journal
from tests.unit.upgrade.test_execute import World, plan, silent

PAGE = Path(__file__).resolve().parents[3] / "docs/upgrades.md"
ROW = re.compile(r"^\| (`[a-z-]+`[^|]*) \| (goes back|goes on|starts afresh) \|", re.MULTILINE)

BEFORE: list[tuple[Event, str, str]] = [
    ("step-begin", "load", ""),
    ("step-done", "load", ""),
    ("step-begin", "start", ""),
]
SWITCHING: list[tuple[Event, str, str]] = [*BEFORE, ("step-done", "start", ""), ("step-begin", SWITCH, "")]
FAILED: list[tuple[Event, str, str]] = [*SWITCHING, ("failed", SWITCH, "it did not work")]
LINES: dict[str, list[tuple[Event, str, str]]] = {
    "`begin`": [],
    "`step-begin` before the switch": BEFORE,
    "`step-done` before the switch": BEFORE[:2],
    "`step-begin` of the switch": SWITCHING,
    "`step-done` from the switch on": [*SWITCHING, ("step-done", SWITCH, "")],
    "`failed`": FAILED,
    "`undo-done`": [*FAILED, ("undo-done", SWITCH, "")],
    "`end` with operator-needed": [*FAILED, ("end", "", "operator-needed")],
    "`stopped`": [("step-begin", "load", ""), ("stopped", "load", "the engine is gone")],
    "`end` with done": [*SWITCHING, ("step-done", SWITCH, ""), ("end", "", "done")],
    "`end` with rolled-back": [*FAILED, ("undo-done", SWITCH, ""), ("end", "", "rolled-back")],
}
TABLE = dict(ROW.findall(PAGE.read_text()))


def test_the_table_names_each_transition_of_the_journal() -> None:
    assert TABLE.keys() == LINES.keys()
    named = {re.findall(r"`([a-z-]+)`", line)[0] for line in TABLE}
    assert named == set(get_args(Event)) - {"program"}  # a newer program taking over belongs to no run


@pytest.mark.parametrize("last", LINES)
def test_the_next_run_does_what_the_table_says(last: str, tmp_path: Path) -> None:
    journal, intent = Journal(tmp_path), plan()
    if last == "`stopped`":
        intent = intent.model_copy(update={"one_way": True})
    journal.write("r1", "begin", detail=intent.model_dump_json())
    for event, step, detail in LINES[last]:
        journal.write("r1", event, step, detail or None)
    run = journal.unfinished()
    if run is None:
        assert TABLE[last] == "starts afresh"
        return
    done = Executor(journal, World(), silent).recover(run).done
    assert TABLE[last] == ("goes on" if done else "goes back")
    assert journal.unfinished() is None
