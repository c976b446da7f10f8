"""The journal and the state: torn ends are forgiven, altered ones are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from installer.errors import SealiftError
from installer.state.journal import Journal
from installer.state.lock import locked
from installer.state.state import ProductState, SiteState, load_state, save_state


def written(folder: Path) -> Journal:
    journal = Journal(folder)
    journal.write("r1", "begin", detail="plan")
    journal.write("r1", "step-begin", "load")
    journal.write("r1", "step-done", "load")
    return journal


def test_a_torn_last_line_counts_as_never_written(tmp_path: Path) -> None:
    journal = written(tmp_path)
    whole = journal.path.read_bytes()
    last = whole.rstrip(b"\n").rindex(b"\n") + 1
    for end in range(last + 1, len(whole) - 1):
        journal.path.write_bytes(whole[:end])
        assert journal.runs()[0].done == ()
        assert journal.runs()[0].begun == ("load",)


def test_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    journal = written(tmp_path)
    journal.path.write_bytes(journal.path.read_bytes()[:-20])
    journal.write("r1", "step-done", "load")
    journal.write("r1", "end", detail="done")
    assert journal.runs()[0].outcome == "done"


def test_refuses_an_altered_line_in_the_middle(tmp_path: Path) -> None:
    journal = written(tmp_path)
    journal.path.write_bytes(journal.path.read_bytes().replace(b'"step":"load"', b'"step":"lead"', 1))
    with pytest.raises(SealiftError) as caught:
        journal.entries()
    assert caught.value.id == "journal-damaged"
    assert "line 2" in caught.value.message


def state(product: str) -> SiteState:
    return SiteState(products={product: ProductState(product=product, channel="stable", index=0)})


def test_state_survives_the_loss_of_either_copy(tmp_path: Path) -> None:
    save_state(tmp_path, state("first"))
    save_state(tmp_path, state("second"))
    newest = max(("state.a", "state.b"), key=lambda name: b"second" in (tmp_path / name).read_bytes())
    (tmp_path / newest).write_bytes(b"torn")
    assert list(load_state(tmp_path).products) == ["first"]
    (tmp_path / newest).unlink()
    assert list(load_state(tmp_path).products) == ["first"]


def test_state_that_is_damaged_twice_is_named_and_not_guessed(tmp_path: Path) -> None:
    for name in ("first", "second"):
        save_state(tmp_path, state(name))
    for copy in ("state.a", "state.b"):
        (tmp_path / copy).write_bytes(b"torn")
    with pytest.raises(SealiftError) as caught:
        load_state(tmp_path)
    assert caught.value.id == "state-damaged"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_flipped_byte_of_the_state_is_believed(tmp_path: Path, data: st.DataObject) -> None:
    for name in ("state.a", "state.b"):
        (tmp_path / name).unlink(missing_ok=True)
    save_state(tmp_path, state("first"))
    copy = next(tmp_path / name for name in ("state.a", "state.b") if (tmp_path / name).exists())
    raw = bytearray(copy.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    copy.write_bytes(raw)
    with pytest.raises(SealiftError):
        load_state(tmp_path)


def test_a_second_run_is_refused_and_told_who_works(tmp_path: Path) -> None:
    with locked(tmp_path, "install p 1.0.0"), pytest.raises(SealiftError) as caught, locked(tmp_path, "rollback"):
        pass
    assert caught.value.id == "locked"
    assert "install p 1.0.0" in caught.value.message and "process" in caught.value.message


def test_a_lock_whose_holder_is_gone_needs_nothing(tmp_path: Path) -> None:
    with locked(tmp_path, "install p 1.0.0"):
        pass
    with locked(tmp_path, "rollback"):
        pass


def test_who_looks_while_a_run_writes_is_never_told_of_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` holds no lock: between its looks at journal and state both grow."""
    writer, reader = written(tmp_path), Journal(tmp_path)
    save_state(tmp_path, state("first"))
    entries = Journal.entries

    def read(journal: Journal) -> object:
        found = entries(journal)
        if journal is reader:
            for _ in range(2):
                writer.write("r1", "step-begin", "commit")
                save_state(tmp_path, state("second"))
                writer.write("r1", "step-done", "commit")
        return found

    monkeypatch.setattr(Journal, "entries", read)
    reader.check()
