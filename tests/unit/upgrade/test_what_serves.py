"""The first line of every failure says what serves, and whether anything must be done before morning."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from installer.errors import Interrupted, SealiftError
from installer.execute import Executor
from installer.plan.actions import Action
from installer.plan.checks import Check
from installer.plan.plan import SWITCH, Kind, Plan, Step
from installer.state.journal import Journal
from tests.unit.upgrade.test_execute import NEW, OLD, World, do, plan, silent

MORNING = "nothing has to be done before morning"


class Stopped(World):
    """Somebody presses Ctrl-C while a word is done."""

    def __call__(self, action: Action | Check) -> None:
        super().__call__(action)
        if self.words[-1] == self.stop_at:
            raise KeyboardInterrupt

    stop_at = ""


class Buggy(World):
    """A bug of ours comes to light while a word is done."""

    def __call__(self, action: Action | Check) -> None:
        super().__call__(action)
        if self.words[-1] == self.stop_at:
            raise KeyError("of ours")

    stop_at = ""


def interrupted(tmp_path: Path, stop_at: str, of: Plan, fail_at: str = "") -> str:
    world = Stopped(fail_at=fail_at)
    world.stop_at = stop_at
    with pytest.raises(Interrupted) as caught:
        Executor(Journal(tmp_path), world, silent).execute(of)
    return str(caught.value)


@pytest.mark.parametrize(
    ("stop_at", "serves", "step"),
    [
        ("load", f"p 1.0.0 is serving; {MORNING}", "load"),
        ("ask", f"p 1.0.0 is serving; {MORNING}", "smoke"),
        ("switch", "p 1.0.0 or p 2.0.0 is serving; somebody must look at this soon", SWITCH),
        ("retire", f"p 2.0.0 is serving; {MORNING}", "retire"),
    ],
)
def test_a_signal_says_what_serves_by_where_it_came(tmp_path: Path, stop_at: str, serves: str, step: str) -> None:
    assert interrupted(tmp_path, stop_at, plan()) == f"{serves}: install of 2.0.0 stopped at {step}, by a signal"


def test_a_signal_while_it_is_taken_back_says_what_is_left_of_it(tmp_path: Path) -> None:
    said = interrupted(tmp_path / "1", "switch-back", plan(), fail_at="retire")
    assert said.startswith("p 1.0.0 or p 2.0.0 is serving; somebody must look at this soon")
    said = interrupted(tmp_path / "2", "stop", plan(), fail_at="retire")
    assert said.startswith(f"p 1.0.0 is serving; {MORNING}")


def test_a_signal_in_a_first_installation_says_that_nothing_serves(tmp_path: Path) -> None:
    assert interrupted(tmp_path, "start", plan(old=None)).startswith(f"nothing is serving; {MORNING}")


def test_a_bug_notes_what_serves_and_leaves_the_run_to_the_next(tmp_path: Path) -> None:
    journal, world = Journal(tmp_path), Buggy()
    world.stop_at = "start"
    with pytest.raises(KeyError) as caught:
        Executor(journal, world, silent).execute(plan())
    assert caught.value.__notes__ == [f"p 1.0.0 is serving; {MORNING}: install of 2.0.0 stopped at start"]
    assert journal.unfinished() is not None


def test_a_failure_while_preparing_says_what_serves_too(tmp_path: Path) -> None:
    with pytest.raises(SealiftError) as caught:
        Executor(Journal(tmp_path), World(fail_at="load"), silent).execute(plan())
    assert str(caught.value) == f"p 1.0.0 is serving; {MORNING}: load failed: load did not work"
    assert (caught.value.id, caught.value.hint) == ("edge-failed", "mend it")


@pytest.mark.parametrize("kind", ["stage", "unstage", "confirm", "prune"])
def test_what_does_not_change_who_serves_never_says_that_it_did(tmp_path: Path, kind: Kind) -> None:
    one_way = kind == "prune"
    steps = (Step(name="first", intent="begin", actions=(do("first"),), undo=(do("back"),)),)
    beside = Plan(
        kind=kind, product="p", strategy=None, old=OLD, new=NEW, colour="green", steps=steps,
        onward_from="first", one_way=one_way,
    )  # fmt: skip
    assert interrupted(tmp_path / "signal", "first", beside).startswith(f"p 1.0.0 is serving; {MORNING}")
    with pytest.raises(SealiftError) as caught:
        Executor(Journal(tmp_path / "fails"), World(fail_at="first"), silent).execute(beside)
    assert str(caught.value).startswith(f"p 1.0.0 is serving; {MORNING}")


def test_a_removal_that_stopped_says_whether_anybody_is_let_in(tmp_path: Path) -> None:
    steps = tuple(Step(name=name, intent=name, actions=(do(name),)) for name in ("close", "down", "forget"))
    going = Plan(kind="remove", product="p", strategy=None, old=OLD, new=None, colour=None, steps=steps, one_way=True)
    assert interrupted(tmp_path / "1", "close", going).startswith("p 1.0.0 or nothing is serving; somebody must")
    assert interrupted(tmp_path / "2", "down", going).startswith(f"nothing is serving; {MORNING}: remove p")
    with pytest.raises(SealiftError) as caught:
        Executor(Journal(tmp_path / "3"), World(fail_at="down"), silent).execute(going)
    assert str(caught.value) == f"nothing is serving; {MORNING}: down failed: down did not work"


def test_a_journal_that_cannot_be_written_after_the_switch_says_that_somebody_must_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    fine = os.fsync

    def full(descriptor: int) -> None:
        if any((entry.event, entry.step) == ("step-done", "retire") for entry in journal.entries()):
            raise OSError(28, "No space left on device")
        fine(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SealiftError) as caught:
        Executor(journal, World(), silent).execute(plan())
    assert caught.value.id == "operator-needed"
    assert str(caught.value).startswith("p 2.0.0 is serving; somebody must look at this soon: install of 2.0.0 stopped")
