"""How long a release has been on trial: hostile clocks, reboots, and lost counts neither stretch nor shorten it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installer.commands import Command
from installer.site.names import Names
from installer.state.state import Trial
from installer.system import Finished
from installer.trial import PAUSE, Counted, Reading, count, is_due, is_over, load_counted, spent
from installer.trust.marks import Marks
from installer.watcher import INSIDE, Container, Timer

TRIAL = Trial(seconds=1800.0, boot="one", uptime=100.0, wall=1_000_000.0, marks=Marks(), watcher="container")
BEGUN = Counted("one", 100.0, 0.0)
SECONDS = st.floats(0, 1e7)


@given(st.floats(allow_nan=False), SECONDS)
def test_within_one_boot_nobody_can_turn_the_clock(wall: float, passed: float) -> None:
    assert spent(TRIAL, BEGUN, Reading("one", 100.0 + passed, wall)) == pytest.approx(passed)


@given(st.floats(max_value=1_000_000.0, allow_nan=False), SECONDS, st.floats(0, 1e6))
def test_a_clock_that_was_put_back_over_a_reboot_stretches_nothing(wall: float, counted: float, uptime: float) -> None:
    before = Counted("one", 100.0 + counted, counted)
    assert spent(TRIAL, before, Reading("two", uptime, wall)) == pytest.approx(counted + uptime)


def test_time_that_the_machine_was_off_counts_where_the_clock_knows_it() -> None:
    assert is_over(TRIAL, BEGUN, Reading("two", 5.0, TRIAL.wall + 1800))
    assert not is_over(TRIAL, BEGUN, Reading("two", 5.0, TRIAL.wall + 1799))


def test_a_clock_far_ahead_ends_it_over_a_reboot_and_not_before() -> None:
    assert not is_over(TRIAL, BEGUN, Reading("one", 101.0, 4e9))
    assert is_over(TRIAL, BEGUN, Reading("two", 1.0, 4e9))


def test_any_number_of_reboots_adds_up_without_a_clock(tmp_path: Path) -> None:
    passed = 0.0
    for boot in range(40):
        now = Reading(f"boot {boot}", 50.0, 0.0)
        passed = count(tmp_path, "p", TRIAL, now).spent
        assert passed == pytest.approx(50.0 * (boot + 1))
    assert is_over(TRIAL, load_counted(tmp_path, "p", TRIAL), Reading("boot 39", 50.0, 0.0))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"trial": "another"}', b"\xff"])
def test_a_lost_count_is_that_of_the_trial_itself(tmp_path: Path, content: bytes) -> None:
    count(tmp_path, "p", TRIAL, Reading("one", 400.0, 0.0))
    (tmp_path / "trials/p.json").write_bytes(content)
    assert load_counted(tmp_path, "p", TRIAL) == BEGUN


def test_a_count_of_an_earlier_trial_counts_for_nothing(tmp_path: Path) -> None:
    count(tmp_path, "p", TRIAL, Reading("one", 4000.0, 0.0))
    assert load_counted(tmp_path, "p", TRIAL.model_copy(update={"uptime": 3000.0})).spent == 0.0


def test_a_return_that_failed_is_tried_again_later(tmp_path: Path) -> None:
    at_end = Reading("one", 1900.0, 0.0)
    counted = count(tmp_path, "p", TRIAL, at_end, failed=True)
    assert is_over(TRIAL, counted, at_end) and not is_due(TRIAL, counted, at_end)
    assert is_due(TRIAL, counted, Reading("one", 1900.0 + PAUSE, 0.0))


class Recorder:
    """Starts nothing."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, command: Command, *, check: bool = True) -> Finished:
        self.lines.append(" ".join(command.argv))
        return Finished(0, "", "")


def test_the_timer_is_written_enabled_and_taken_away(tmp_path: Path) -> None:
    ran = Recorder()
    timer = Timer(Names("-1a2b3c"), Path("/srv/a state 100%"), ran, tmp_path)
    timer.arm("/etc/sealift/site.yaml")
    service = (tmp_path / "sealift-confirm-1a2b3c.service").read_text()
    assert '"expire" "--state-dir" "/srv/a state 100%%" "--site" "/etc/sealift/site.yaml"' in service
    assert "WantedBy=timers.target" in (tmp_path / "sealift-confirm-1a2b3c.timer").read_text()
    assert ran.lines == ["systemctl daemon-reload", "systemctl enable --now sealift-confirm-1a2b3c.timer"]
    timer.disarm()
    timer.disarm()
    assert list(tmp_path.iterdir()) == []
    assert ran.lines[2:] == [
        "systemctl disable --now sealift-confirm-1a2b3c.timer",
        "systemctl stop sealift-confirm-1a2b3c.service",
        "systemctl daemon-reload",
        "systemctl reset-failed sealift-confirm-1a2b3c.service",
    ]


def test_the_timers_own_service_does_not_stop_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Recorder()
    timer = Timer(Names("-1a2b3c"), Path("/state"), ran, tmp_path)
    timer.arm("/site.yaml")
    found = re.search(f'Environment="({INSIDE})=([^"]*)"', (tmp_path / "sealift-confirm-1a2b3c.service").read_text())
    assert found
    monkeypatch.setenv(*found.groups())
    timer.disarm()
    assert not [line for line in ran.lines if " stop " in line]


def test_the_container_is_kept_up_and_sees_this_host() -> None:
    ran = Recorder()
    Container(Names("-1a2b3c"), Path("/state"), ran, "unix:///run/docker.sock", "sha256:1").arm("/site.yaml")
    started = ran.lines[-1]
    assert "--restart always" in started and "type=bind,source=/,target=/host" in started
    assert started.endswith("expire --wait --state-dir /state --site /site.yaml")
