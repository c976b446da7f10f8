"""The lock: a live holder is named and respected; a dead one needs nothing, however it died."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from installer.errors import SealiftError
from installer.state.lock import locked, unlock

REPOSITORY = Path(__file__).resolve().parents[3]
HOLDER = """
import signal, subprocess, sys, time
from pathlib import Path
from installer.state.lock import locked
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
with locked(Path(sys.argv[1]), "install board 1.0.0"):
    child = subprocess.Popen(["sleep", "30"])
    print(child.pid, flush=True)
    time.sleep(30)
"""


@contextmanager
def holder(state: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock, and has started another one."""
    words = [sys.executable, "-c", HOLDER, str(state)]
    process = subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        yield process
    finally:
        process.kill()
        os.kill(child, signal.SIGKILL)  # first, because it holds the pipe that is read to its end
        process.communicate()


def test_a_live_holder_is_named_by_user_host_process_boot_time_and_work(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        note = json.loads((tmp_path / "lock").read_text())
        with pytest.raises(SealiftError) as caught, locked(tmp_path, "rollback"):
            pass
    assert caught.value.id == "locked" and caught.value.exit_code == 8
    assert (note["pid"], note["doing"], note["host"]) == (process.pid, "install board 1.0.0", socket.gethostname())
    for part in ("who", "host", "pid", "since", "doing"):
        assert str(note[part]) in caught.value.message
    assert f"boot {note['boot'][:8]}" in caught.value.message


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_holder_that_was_ended_leaves_no_lock_though_what_it_started_lives_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    with holder(tmp_path) as process:
        process.send_signal(number)
        process.wait(10)
        with locked(tmp_path, "rollback"):
            pass


def test_unlock_refuses_a_live_holder_and_leaves_its_lock(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        for _ in range(2):
            with pytest.raises(SealiftError) as caught:
                unlock(tmp_path)
            assert caught.value.id == "locked" and str(process.pid) in caught.value.message
        assert process.poll() is None


def test_unlock_has_nothing_to_break_where_the_holder_is_dead_and_says_who_it_was(tmp_path: Path) -> None:
    assert unlock(tmp_path) == "nobody has ever held the lock"
    with holder(tmp_path) as process:
        process.kill()
        process.wait(10)
        said = unlock(tmp_path)
        assert "dead" in said and str(process.pid) in said and "install board 1.0.0" in said
    assert unlock(tmp_path) == "nobody holds the lock"


def test_a_holder_that_ctrl_z_put_to_sleep_is_said_to_sleep_and_how_it_wakes(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        assert os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT) is not None
        for attempt in (lambda: locked(tmp_path, "rollback").__enter__(), lambda: unlock(tmp_path)):
            with pytest.raises(SealiftError) as caught:
                attempt()
            assert caught.value.id == "locked" and f"kill -CONT {process.pid}" in caught.value.hint
        process.send_signal(signal.SIGCONT)
        assert os.waitid(os.P_PID, process.pid, os.WCONTINUED | os.WNOWAIT) is not None
        with pytest.raises(SealiftError) as caught:
            unlock(tmp_path)
        assert "CONT" not in caught.value.hint
