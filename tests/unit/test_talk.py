"""What people and scripts see: one JSON object, clean text, exit codes from one table."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from installer.errors import SealiftError
from installer.meter import PlainMeter
from installer.talk import Table, Talk, clean, run_cli, size, span

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _top(context: typer.Context, site: str = typer.Option("none", "--site")) -> None:
    context.meta["site"] = site


@app.command()
def fine(context: typer.Context, count: int = 1) -> None:
    context.obj.say("working")
    context.obj.result("done", {"count": count, "site": context.meta["site"]})


@app.command()
def half(context: typer.Context) -> None:
    context.obj.result("half", {"result": "rolled-back"})
    raise SealiftError("upgrade-rolled-back", "it failed", hint="look at the log", details=("last words",))


@app.command()
def broken(context: typer.Context) -> None:
    raise KeyError("secret-looking")


@app.command()
def full(context: typer.Context) -> None:
    raise OSError(28, "No space left on device", "/there")


@app.command()
def long(context: typer.Context) -> None:
    Path("a" * 5000).is_dir()


@app.command()
def stopped(context: typer.Context) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def run(*argv: str) -> int:
    return run_cli(app, argv, program="demo", anywhere=("--site",))


def test_understands_switches_before_and_after_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    spellings = (["--json", "--quiet", "--site", "s", "fine"], ["fine", "--site=s", "--quiet", "--json"])
    for spelling in spellings:
        assert run(*spelling) == 0
        shown = capsys.readouterr()
        assert json.loads(shown.out) == {"count": 1, "site": "s"}
        assert shown.err == ""


def test_leaves_words_after_a_double_dash_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fine", "--", "--json") == 2
    assert "error:" in capsys.readouterr().err


def test_result_goes_to_stdout_and_talk_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fine") == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("done\n", "working\n")


def test_failed_run_has_result_and_error_in_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("half", "--json") == 10
    shown = capsys.readouterr()
    value = json.loads(shown.out)
    assert value["result"] == "rolled-back"
    assert value["error"]["id"] == "upgrade-rolled-back"
    assert value["error"]["code"] == 10
    assert shown.err == "error: it failed\n  last words\nhint: look at the log\n"


def test_quiet_still_says_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("half", "--quiet") == 10
    assert "error: it failed" in capsys.readouterr().err


def test_wrong_option_is_usage_with_a_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["fine", "--no-such"], ["no-such"], ["fine", "--count", "many"]):
        assert run(*words, "--json") == 2
        assert json.loads(capsys.readouterr().out)["error"]["id"] == "bad-option"


def test_no_verb_shows_the_help_and_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == 2
    shown = capsys.readouterr()
    assert "fine" in shown.err
    assert json.loads(shown.out)["error"]["id"] == "bad-option"


def test_bug_leaves_its_traceback_in_a_file_and_not_on_the_screen(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run("broken") == 1
    shown = capsys.readouterr()
    (file,) = tmp_path.iterdir()
    assert str(file) in shown.err
    assert "Traceback" not in shown.err + shown.out
    assert "KeyError" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_bug_without_a_place_for_its_traceback_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert run("broken") == 1
    shown = capsys.readouterr()
    assert re.search(r"error: a bug: KeyError in test_talk\.py, line [0-9]+\n", shown.err)
    assert "Traceback" not in shown.err + shown.out and "TMPDIR" in shown.err


def test_name_that_no_file_can_have_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("long") == 2
    assert "file name too long" in capsys.readouterr().err


def test_full_disk_is_the_hosts_matter_not_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("full", "--json") == 7
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["id"] == "disk-full"
    assert "/there" in error["message"]


def test_signal_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("stopped", "--json") == 130
    assert json.loads(capsys.readouterr().out)["error"]["id"] == "interrupted"


def test_refuses_to_wait_for_an_answer_without_a_terminal() -> None:
    talk = Talk(err=io.StringIO())
    asks: tuple[Callable[[], object], ...] = (
        lambda: talk.confirm("sure?", "--yes"),
        lambda: talk.ask_secret("word", "--file"),
    )
    for ask in asks:
        with pytest.raises(SealiftError) as caught:
            ask()
        assert caught.value.id == "answer-needed"
        assert "--" in caught.value.hint


@pytest.mark.parametrize(
    "hostile", ["\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b31m", "a\u202eb", "a\rb", "\x1b", "\ud800", "a\nb\tc"]
)
def test_clean_text_cannot_reach_the_terminal_as_an_escape(hostile: str) -> None:
    assert clean(hostile).isprintable()


def test_clean_keeps_ordinary_words() -> None:
    assert clean("Grüße, 你好 - 19.0 MB") == "Grüße, 你好 - 19.0 MB"


def test_sizes_and_spans_read_well() -> None:
    assert [size(n) for n in (0, 999, 1000, 19_000_000, 2_500_000_000)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "19.0 MB",
        "2.5 GB",
    ]
    assert [span(n) for n in (0.36, 12.2, 187, 3729)] == ["0.4 s", "12 s", "3:07", "1:02:09"]


def test_plain_meter_speaks_every_five_seconds_and_at_the_end() -> None:
    now = [0.0]
    err = io.StringIO()
    meter = PlainMeter("reading", 100_000_000, err, clock=lambda: now[0])
    for _ in range(10):
        now[0] += 1
        meter.advance(10_000_000)
    meter.close(complete=True)
    assert err.getvalue().splitlines() == [
        "reading: 50.0 MB of 100.0 MB (50 %), 10.0 MB/s, 5.0 s left",
        "reading: 100.0 MB of 100.0 MB (100 %), 10.0 MB/s, 0.0 s left",
        "reading: 100.0 MB in 10 s, 10.0 MB/s",
    ]


def test_plain_meter_says_nothing_about_what_took_no_time() -> None:
    err = io.StringIO()
    meter = PlainMeter("reading", 10, err, clock=lambda: 0.0)
    meter.advance(10)
    meter.close(complete=True)
    assert err.getvalue() == ""


def test_table_without_a_terminal_is_plain_columns() -> None:
    text = Table(("name", "size"), (("gateway", "9 MB"), ("db\x1b[2J", "120 MB"))).plain()
    assert text == "name     size\ngateway  9 MB\ndb       120 MB"
