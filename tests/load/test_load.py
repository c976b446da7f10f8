"""The load tool must see what goes wrong: each test breaks something and reads the report."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.load.load import Load, build_load

pytestmark = pytest.mark.e2e


class Front:
    """The server that the load is put on, as a process of its own."""

    def __init__(self, folder: Path, http: int, tcp: int) -> None:
        self.http, self.tcp = f"127.0.0.1:{http}", f"127.0.0.1:{tcp}"
        self._orders = folder / "orders.json"
        self.order(version="1.0.0")
        script = Path(__file__).with_name("front.py")
        command = [sys.executable, str(script), str(http), str(tcp), str(self._orders)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None and self.process.stdout.readline() == "serving\n"

    def order(self, **how: Any) -> None:
        """Change how it behaves."""
        new = self._orders.with_suffix(".new")
        new.write_text(json.dumps({"version": "1.0.0"} | how))
        new.rename(self._orders)

    def end(self) -> int:
        """End it; returns how many requests it took."""
        self.process.terminate()
        return int(self.process.communicate(timeout=10)[0])

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def program(wide_cache: Path) -> Path:
    """The load tool."""
    return build_load(wide_cache)


@pytest.fixture
def front(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Front]:
    """A server that behaves until it is told not to."""
    made = Front(tmp_path, free_port(), free_port())
    yield made
    if made.process.poll() is None:
        made.kill()


def start(program: Path, front: Front, *options: str) -> Load:
    """A load with few, quick sessions."""
    given = ["--http", front.http, "--tcp", front.tcp, "--websockets", "5", "--tcp-sessions", "5", "--ping", "100ms"]
    return Load(program, *given, "--timeout", "1s", *options)


def test_counts_a_run_in_which_nothing_goes_wrong(program: Path, front: Front) -> None:
    report = start(program, front, "--duration", "3s", "--keep-alive-rate", "100", "--new-rate", "50").wait()
    assert report["clean"] is True
    assert (report["failed"], report["sessions_dropped"], report["sessions_not_opened"]) == (0, 0, 0)
    assert 240 <= report["kept_alive"]["sent"] <= 310 and 120 <= report["new"]["sent"] <= 160
    assert [(seen["version"], seen["count"]) for seen in report["versions"]] == [("1.0.0", report["requests"])]
    for kind in ("websocket", "tcp"):
        assert (report[kind]["opened"], report[kind]["held_to_the_end"]) == (5, 5)
        assert report[kind]["pongs"] > 100
    assert front.end() == report["requests"] == sum(second["requests"] for second in report["timeline"])


def test_notices_a_server_that_is_killed(program: Path, front: Front) -> None:
    with start(program, front) as load:
        time.sleep(1)
        front.kill()
        time.sleep(1)
    report = load.report
    assert report["clean"] is False and report["failed"] > 50
    assert (report["websocket"]["dropped"], report["tcp"]["dropped"]) == (5, 5)
    first, *_ = report["failures"]
    assert 0.9 < first["at"] < 1.5 and first["error"]
    assert all(0.9 < drop["at"] < 1.5 and "ended by the other side" in drop["error"] for drop in report["drops"])
    assert report["timeline"][0]["failed"] == 0 < report["timeline"][-1]["failed"]
    assert report["timeline"][-1]["open_sessions"] == 0


def test_notices_a_server_that_hangs(program: Path, front: Front) -> None:
    with start(program, front) as load:
        front.process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        front.process.send_signal(signal.SIGCONT)
    report = load.report
    assert report["failed"] > 0
    assert report["sessions_dropped"] == 10
    assert all("no answer to a ping" in drop["error"] for drop in report["drops"])


def test_notices_sessions_that_are_not_answered_while_requests_are(program: Path, front: Front) -> None:
    with start(program, front) as load:
        front.order(mute=True)
        time.sleep(1.6)
    assert (load.report["failed"], load.report["sessions_dropped"]) == (0, 10)


def test_notices_one_session_that_ends(program: Path, front: Front) -> None:
    with start(program, front) as load:
        front.order(drop=1)
        time.sleep(0.5)
    report = load.report
    assert report["clean"] is False
    assert (report["sessions_dropped"], len(report["drops"]), report["failed"]) == (1, 1, 0)
    assert report["drops"][0]["session"].startswith("load-")


def test_opens_a_dropped_session_again_only_when_asked(program: Path, front: Front) -> None:
    with start(program, front, "--reopen") as load:
        front.order(drop=1)
        time.sleep(1.6)
    assert load.report["sessions_dropped"] == 1
    assert load.report["websocket"]["opened"] + load.report["tcp"]["opened"] == 11


def test_counts_answers_that_are_not_200_as_failed(program: Path, front: Front) -> None:
    with start(program, front) as load:
        front.order(status=503)
        time.sleep(0.5)
        front.order()
        time.sleep(0.5)
    assert load.report["failed"] > 20
    assert {failure["error"] for failure in load.report["failures"]} == {"status 503"}
    assert load.report["timeline"][-1]["requests"] > 0


def test_tries_nothing_a_second_time(program: Path, front: Front) -> None:
    with start(program, front) as load:
        front.order(cut=True)
        time.sleep(0.5)
        front.order()
        time.sleep(0.5)
    assert load.report["kept_alive"]["failed"] > 5 and load.report["new"]["failed"] > 5
    assert front.end() == load.report["requests"]


@pytest.mark.parametrize("how", ["politely", "rudely"])
def test_takes_a_connection_that_ends_between_requests_for_no_failure(program: Path, front: Front, how: str) -> None:
    with start(program, front, "--keep-alive", "2", "--keep-alive-rate", "10") as load:
        front.order(close=how)
        time.sleep(1.5)
    assert load.report["failed"] == 0
    assert (load.report["connections_closed_idle"] > 5) is (how == "rudely")


def test_says_when_each_version_was_first_seen(program: Path, front: Front) -> None:
    with start(program, front) as load:
        time.sleep(1)
        front.order(version="1.1.0")
        time.sleep(1)
    old, new = load.report["versions"]
    assert (old["version"], new["version"]) == ("1.0.0", "1.1.0")
    assert old["first_at"] < 0.2 and 0.9 < old["last_at"] < 1.4 and 0.9 < new["first_at"] < 1.4
    assert [seen["version"] for seen in load.report["tcp"]["versions"]] == ["1.0.0", "1.1.0"]
    assert set(load.report["timeline"][0]["versions"]) == {"1.0.0"}


def test_calls_nothing_clean_where_nobody_answers(program: Path, free_port: Callable[[], int]) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    report = Load(program, "--http", nowhere, "--tcp", nowhere, "--duration", "500ms").wait()
    assert report["clean"] is False
    assert (report["sessions_not_opened"], report["failed"]) == (40, report["requests"])


def test_refuses_to_do_nothing(program: Path) -> None:
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "nothing to do" in done.stderr
