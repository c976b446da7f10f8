"""Who reads may leave, the disk may be full, the terminal may go away: the exit code still tells what was done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

import pytest

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PROGRAM: Final = """
import sys, time
import typer
from installer.errors import SealiftError
from installer.talk import Talk, run_cli

app = typer.Typer()

@app.command()
def work(context: typer.Context) -> None:
    talk = context.obj
    talk.say("working")
    with talk.progress("reading", 10) as meter:
        meter.advance(10)
        meter.show(1.0) if hasattr(meter, "show") else None
    talk.say("worked")
    talk.result("done", {"done": True})

@app.command()
def fail(context: typer.Context) -> None:
    context.obj.result("half", {"result": "rolled-back"})
    raise SealiftError("upgrade-rolled-back", "it failed", details=("last words",))

@app.command()
def wait(context: typer.Context) -> None:
    context.obj.say("waiting")
    time.sleep(1.5)
    context.obj.result("done", {"done": True})

sys.exit(run_cli(app, sys.argv[1:], program="demo", last=True))
"""
JSON: Final = pytest.mark.parametrize("words", [("--json",), ()], ids=["json", "text"])


def start(*words: str, out: int | IO[Any] = subprocess.PIPE, err: int = subprocess.PIPE, **more: Any) -> Any:
    command = [sys.executable, "-c", PROGRAM, *words]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=out, stderr=err, text=True, **more)


def nobody_reads() -> int:
    """The end of a pipe that nobody has the other end of."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@JSON
def test_a_reader_that_left_changes_no_exit_code(words: tuple[str, ...]) -> None:
    for verb, code in (("work", 0), ("fail", 10)):
        process = start(verb, *words, out=nobody_reads())
        _, err = process.communicate()
        assert (process.returncode, "Traceback" in err, "BrokenPipe" in err) == (code, False, False), err


def test_talk_that_nobody_hears_stops_nothing() -> None:
    for verb, code in (("work", 0), ("fail", 10)):
        process = start(verb, "--json", err=nobody_reads())
        out, _ = process.communicate()
        assert (process.returncode, len(json.loads(out))) == (code, 1 if verb == "work" else 2)


@JSON
def test_a_result_that_could_not_be_written_is_said_and_a_failure_keeps_its_code(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        for verb, code in (("work", 7), ("fail", 10)):
            process = start(verb, *words, out=full)
            _, err = process.communicate()
            assert (process.returncode, "Traceback" in err) == (code, False), err
            assert ("what was asked for is done, but its result could not be written" in err) is (verb == "work")


def heeding() -> None:
    """As in a terminal: a shell in the background has SIGINT ignored, nohup SIGHUP."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_it_with_one_object_however_often_it_comes(number: signal.Signals) -> None:
    process = start("wait", "--json", preexec_fn=heeding)
    assert process.stderr.readline() == "waiting\n"
    for _ in range(3):
        process.send_signal(number)
    out, err = process.communicate()
    assert (process.returncode, json.loads(out)["error"]["id"]) == (130, "interrupted")
    assert "Traceback" not in err


def test_under_nohup_it_goes_on_when_the_terminal_goes_away() -> None:
    ignore: Callable[[], object] = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    process = start("wait", "--json", preexec_fn=ignore)
    assert process.stderr.readline() == "waiting\n"
    process.send_signal(signal.SIGHUP)
    assert (json.loads(process.communicate()[0]), process.returncode) == ({"done": True}, 0)
