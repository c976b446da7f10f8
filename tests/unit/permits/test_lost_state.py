"""A host that lost its state says so, and takes nothing for a first install; a new host is none of these."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.errors import ExitCode, SealiftError
from installer.state.journal import Journal, Run
from installer.state.state import SiteState, copies, load_state, save_state
from installer.trust.entrance import refuse_lost
from installer.trust.lost import evidence, lost_state, note_use


def refused(state_dir: Path) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        refuse_lost(state_dir, None)
    assert caught.value.id == "state-lost" and caught.value.exit_code is ExitCode.CORRUPT
    assert "backup" in caught.value.hint and "bundle permit" in caught.value.hint
    return caught.value


def test_new_host_is_not_locked_out(tmp_path: Path) -> None:
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust/root.json").write_text("{}")
    (tmp_path / "releases").mkdir()
    refuse_lost(tmp_path, None)


def test_first_install_that_failed_locks_nobody_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write("1", "begin", detail="{}")
    journal.write("1", "end", detail="rolled-back")
    refuse_lost(tmp_path, None)


def test_kept_releases_without_a_state_say_that_it_was_lost(tmp_path: Path) -> None:
    place = tmp_path / "releases/board/1.0.0-01234567-00000000"
    place.mkdir(parents=True)
    (place / "release.json").write_text("{}")
    assert "1 kept releases" in refused(tmp_path).message


def test_finished_runs_without_a_state_say_that_it_was_lost(tmp_path: Path) -> None:
    Journal(tmp_path).write("1", "begin", detail="{}")
    Journal(tmp_path).write("1", "end", detail="done")
    assert "1 runs in the journal" in refused(tmp_path).message


def test_restored_trust_of_a_host_in_use_says_that_the_state_was_lost(tmp_path: Path) -> None:
    (tmp_path / "trust").mkdir()
    note_use(tmp_path)
    note_use(tmp_path)
    assert "trust/used" in refused(tmp_path).message


def test_running_containers_of_ours_without_a_state_say_that_it_was_lost() -> None:
    assert "board-blue-1" in evidence(used=False, kept=0, runs=[], containers=["board-blue-1"])
    assert evidence(used=False, kept=0, runs=[Run("1", "", "{}", outcome="rolled-back")], containers=[]) == ""


def test_one_copy_of_the_state_is_enough(tmp_path: Path) -> None:
    (tmp_path / "trust").mkdir()
    note_use(tmp_path)
    save_state(tmp_path, SiteState())
    save_state(tmp_path, SiteState())
    assert list(copies(tmp_path).values()) == [True, True]
    (tmp_path / "state.a").unlink()
    assert lost_state(tmp_path, None) == "" and load_state(tmp_path).sequence == 1
    assert list(copies(tmp_path).values()) == [False, True]


def test_both_copies_torn_are_damaged_and_not_lost(tmp_path: Path) -> None:
    for name in ("state.a", "state.b"):
        (tmp_path / name).write_text("torn")
    for look in (lambda: refuse_lost(tmp_path, None), lambda: load_state(tmp_path)):
        with pytest.raises(SealiftError) as caught:
            look()
        assert caught.value.id == "state-damaged"
