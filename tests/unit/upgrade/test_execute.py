"""What the loop that acts promises: in order, journalled, taken back in reverse, resumable at every point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from installer import execute
from installer.commands import Command
from installer.errors import ExitCode, SealiftError
from installer.execute import Executor
from installer.plan.actions import Action, ForgetRelease, RemoveEdge, RunCommands, SetColour
from installer.plan.checks import Check
from installer.plan.plan import SWITCH, Plan, Step
from installer.state.journal import Journal
from installer.state.state import ReleaseRef

NEW = ReleaseRef(product="p", version="2.0.0", digest="sha256:" + "2" * 64)
OLD = ReleaseRef(product="p", version="1.0.0", digest="sha256:" + "1" * 64)


def do(word: str) -> RunCommands:
    return RunCommands(commands=(Command((word,)),))


def plan(old: ReleaseRef | None = OLD) -> Plan:
    return Plan(
        kind="install",
        product="p",
        strategy="blue-green",
        old=old,
        new=NEW,
        colour="green",
        steps=(
            Step(name="load", intent="load", prepares=True, actions=(do("load"),), undo=(do("unload"),)),
            Step(name="start", intent="start", actions=(do("start"),), undo=(do("stop"),)),
            Step(name="smoke", intent="ask", actions=(do("ask"),)),
            Step(name=SWITCH, intent="switch", actions=(do("switch"),), undo=(do("switch-back"),)),
            Step(name="retire", intent="retire", actions=(do("retire"),), undo=(do("revive"),)),
        ),
    )


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


class World:
    """Performs by writing words down; fails or dies at one of them."""

    def __init__(self, fail_at: str = "", die_at: str = "") -> None:
        self.words: list[str] = []
        self.fail_at, self.die_at = fail_at, die_at

    def __call__(self, action: Action | Check) -> None:
        assert isinstance(action, RunCommands)
        word = action.commands[0].argv[0]
        if word == self.die_at:
            raise Killed
        self.words.append(word)
        if word == self.fail_at:
            raise SealiftError("edge-failed", f"{word} did not work", hint="mend it")


def silent(_: str) -> None:
    """Nobody listens."""


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def test_walks_the_plan_in_order_and_says_so_in_the_journal(journal: Journal) -> None:
    world = World()
    Executor(journal, world, silent).execute(plan())
    assert world.words == ["load", "start", "ask", "switch", "retire"]
    run = journal.runs()[-1]
    assert (run.done, run.outcome) == (("load", "start", "smoke", SWITCH, "retire"), "done")
    assert journal.unfinished() is None


def test_a_failure_while_preparing_keeps_its_own_error(journal: Journal) -> None:
    world = World(fail_at="load")
    with pytest.raises(SealiftError) as caught:
        Executor(journal, world, silent).execute(plan())
    assert caught.value.id == "edge-failed"
    assert world.words == ["load", "unload"]


@pytest.mark.parametrize(
    ("fail_at", "taken_back"),
    [
        ("ask", ["stop", "unload"]),
        ("switch", ["switch-back", "stop", "unload"]),
        ("retire", ["revive", "switch-back", "stop", "unload"]),
    ],
)
def test_takes_everything_back_in_reverse_and_says_what_serves(
    journal: Journal, fail_at: str, taken_back: list[str]
) -> None:
    world = World(fail_at=fail_at)
    with pytest.raises(SealiftError) as caught:
        Executor(journal, world, silent).execute(plan())
    assert caught.value.exit_code is ExitCode.ROLLED_BACK
    assert caught.value.message.startswith("p 1.0.0 is serving; nothing has to be done before morning")
    assert world.words[-len(taken_back) :] == taken_back


@pytest.mark.parametrize(("times", "code", "tries"), [(2, ExitCode.ROLLED_BACK, 3), (9, ExitCode.OPERATOR_NEEDED, 3)])
def test_waits_for_an_engine_that_restarts_before_it_calls_the_operator(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, times: int, code: ExitCode, tries: int
) -> None:
    class Restarting(World):
        def __call__(self, action: Action | Check) -> None:
            super().__call__(action)
            if self.words[-1] == "stop" and self.words.count("stop") <= times:
                raise SealiftError("engine-missing", "no engine answers")

    monkeypatch.setattr(execute, "PATIENCE", (0.01, 0.01))
    world = Restarting(fail_at="ask")
    with pytest.raises(SealiftError) as caught:
        Executor(journal, world, silent).execute(plan())
    assert (caught.value.exit_code, world.words.count("stop")) == (code, tries)


def test_a_first_install_that_failed_says_that_nothing_serves(journal: Journal) -> None:
    with pytest.raises(SealiftError) as caught:
        Executor(journal, World(fail_at="ask"), silent).execute(plan(old=None))
    assert caught.value.message.startswith("nothing is serving")


def test_what_cannot_be_taken_back_calls_the_operator_and_is_tried_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "PATIENCE", ())

    class Stuck(World):
        def __call__(self, action: Action | Check) -> None:
            super().__call__(action)
            if self.words[-1] == "stop" and self.words.count("stop") == 1:
                raise SealiftError("engine-failed", "the engine is gone")

    world = Stuck(fail_at="ask")
    executor = Executor(journal, world, silent)
    with pytest.raises(SealiftError) as caught:
        executor.execute(plan())
    assert caught.value.exit_code is ExitCode.OPERATOR_NEEDED
    run = journal.unfinished()
    assert run is not None
    executor.recover(run)
    assert world.words[-2:] == ["stop", "unload"]
    assert journal.unfinished() is None


@pytest.mark.parametrize("die_at", ["load", "start", "ask"])
def test_a_run_killed_before_the_switch_goes_back(journal: Journal, die_at: str) -> None:
    with pytest.raises(Killed):
        Executor(journal, World(die_at=die_at), silent).execute(plan())
    run, world = journal.unfinished(), World()
    assert run is not None
    Executor(journal, world, silent).recover(run)
    assert world.words == {"load": ["unload"], "start": ["stop", "unload"], "ask": ["stop", "unload"]}[die_at]
    assert journal.runs()[-1].outcome == "rolled-back"


@pytest.mark.parametrize(("die_at", "rest"), [("switch", ["switch", "retire"]), ("retire", ["retire"])])
def test_a_run_killed_from_the_switch_on_goes_on(journal: Journal, die_at: str, rest: list[str]) -> None:
    with pytest.raises(Killed):
        Executor(journal, World(die_at=die_at), silent).execute(plan())
    run, world = journal.unfinished(), World()
    assert run is not None
    Executor(journal, world, silent).recover(run)
    assert world.words == rest
    assert journal.runs()[-1].outcome == "done"


def test_a_failure_that_was_killed_while_being_taken_back_goes_on_going_back(journal: Journal) -> None:
    world = World(fail_at="retire", die_at="stop")
    with pytest.raises(Killed):
        Executor(journal, world, silent).execute(plan())
    run, again = journal.unfinished(), World()
    assert run is not None and run.failed
    Executor(journal, again, silent).recover(run)
    assert again.words == ["stop", "unload"]


def test_any_number_of_kills_during_recovery_converge(journal: Journal) -> None:
    with pytest.raises(Killed):
        Executor(journal, World(fail_at="retire", die_at="revive"), silent).execute(plan())
    for die_at in ("revive", "switch-back", "stop", "unload", ""):
        run = journal.unfinished()
        assert run is not None
        world = World(die_at=die_at)
        attempt: Callable[[], object] = lambda: Executor(journal, world, silent).recover(run)  # noqa: B023, E731
        if die_at:
            with pytest.raises(Killed):
                attempt()
        else:
            attempt()
    assert journal.unfinished() is None
    assert journal.runs()[-1].undone == ("retire", SWITCH, "start", "load")


def test_a_plan_reads_back_as_it_was_written() -> None:
    whole = plan().model_copy(
        update={
            "steps": (
                *plan().steps,
                Step(
                    name="more",
                    intent="more",
                    actions=(SetColour(product="p", colour=None), RemoveEdge(), ForgetRelease(release=OLD)),
                ),
            )
        }
    )
    assert Plan.model_validate_json(whole.model_dump_json()) == whole
