"""A journal or a copy of the state that is not what was written is named, and never guessed over."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from installer.errors import SealiftError
from installer.state.journal import Journal
from installer.state.numbered import COPIES
from installer.state.state import ProductState, SiteState, load_state, save_state


def product(name: str) -> SiteState:
    return SiteState(products={name: ProductState(product=name, channel="stable", index=0)})


@pytest.fixture
def lived(tmp_path: Path) -> Path:
    """A state dir with two runs behind it, and what it knew after the first one beside it."""
    state = tmp_path / "state"
    state.mkdir()
    for number, name in enumerate(("first", "second")):
        journal = Journal(state)
        journal.write(f"r{number}", "begin", detail="a plan")
        journal.write(f"r{number}", "step-begin", "commit")
        save_state(state, product(name))
        journal.write(f"r{number}", "step-done", "commit")
        save_state(state, product(name))
        journal.write(f"r{number}", "end", detail="done")
        if number == 0:
            shutil.copytree(state, tmp_path / "earlier")
    return state


def named(state: Path) -> str:
    """The id of what is named; empty where all is well."""
    try:
        Journal(state).check()
        load_state(state)
    except SealiftError as error:
        assert error.exit_code == 4 and error.hint
        return error.id
    return ""


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]


def test_a_state_dir_that_nobody_touched_is_fine(lived: Path) -> None:
    assert named(lived) == ""


def test_each_flipped_byte_of_the_journal_is_named(lived: Path) -> None:
    path = Journal(lived).path
    whole, entries = path.read_bytes(), Journal(lived).entries()
    for place in range(len(whole)):
        path.write_bytes(flipped(whole, place))
        assert named(lived) == "journal-damaged" or Journal(lived).entries() == entries, f"byte {place}"


def test_a_journal_cut_off_anywhere_has_lost_its_last_line_at_most(lived: Path) -> None:
    """What the state was written after can't be missing; the line after that may have been torn by a power cut."""
    path = Journal(lived).path
    whole, entries = path.read_bytes(), Journal(lived).entries()
    last = whole.rstrip(b"\n").rindex(b"\n") + 1
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        if end < last - 1:
            assert named(lived) == "journal-damaged", f"cut at {end} of {len(whole)}"
        else:
            assert Journal(lived).entries() in (entries, entries[:-1])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda lines, n: lines[:n] + lines[n : n + 1] + lines[n:], id="doubled"),
        pytest.param(lambda lines, n: lines[:n] + lines[n + 1 :], id="left-out"),
        pytest.param(lambda lines, n: [*lines, lines[n]], id="again-at-the-end"),
        pytest.param(lambda lines, n: [*lines[:n], *reversed(lines[n : n + 2]), *lines[n + 2 :]], id="moved"),
        pytest.param(lambda lines, n: lines[n + 1 :], id="beginning-lost"),
    ],
)
def test_lines_that_are_doubled_lost_or_moved_are_named(
    lived: Path, change: Callable[[list[bytes], int], list[bytes]]
) -> None:
    path = Journal(lived).path
    lines = path.read_bytes().splitlines(keepends=True)
    for number in range(len(lines) - 1):
        path.write_bytes(b"".join(change(lines, number)))
        assert named(lived) == "journal-damaged", number


def test_the_torn_beginning_of_a_line_is_taken_away_before_the_next_is_written(lived: Path) -> None:
    path = Journal(lived).path
    whole = path.read_bytes()
    for torn in (b"0", whole[: len(whole) // 3].replace(b"\n", b""), bytes(4096)):
        path.write_bytes(whole + torn)
        Journal(lived).write("r9", "begin", detail="a plan")
        assert named(lived) == "" and Journal(lived).entries()[-1].number == 9


def test_a_last_line_whose_content_never_reached_the_disk_counts_as_never_written(lived: Path) -> None:
    path = Journal(lived).path
    entries = Journal(lived).entries()
    path.write_bytes(path.read_bytes() + b"3f" + bytes(500) + b"}\n")
    assert named(lived) == "" and Journal(lived).entries() == entries


def test_a_journal_that_is_gone_is_named_until_a_person_has_set_it_aside(lived: Path) -> None:
    path = Journal(lived).path
    path.rename(path.with_name("elsewhere"))
    assert named(lived) == "journal-damaged"
    path.with_name("elsewhere").rename(path.with_name("journal.damaged"))
    assert named(lived) == ""
    Journal(lived).write("r9", "begin", detail="a plan")
    assert named(lived) == "" and Journal(lived).entries()[0].number > 1


def test_each_flipped_byte_of_a_copy_is_noticed_and_the_other_copy_used_only_where_it_is_as_new(lived: Path) -> None:
    newest = load_state(lived)
    for name in COPIES:
        path = lived / name
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(flipped(whole, place))
            is_newest = COPIES[newest.sequence % 2] == name
            assert named(lived) == ("state-damaged" if is_newest else ""), f"{name} byte {place}"
            if not is_newest:
                assert load_state(lived) == newest
        path.write_bytes(whole)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_that_is_cut_off_or_gone_is_noticed(lived: Path, name: str) -> None:
    newest = load_state(lived)
    wanted = "state-damaged" if COPIES[newest.sequence % 2] == name else ""
    whole = (lived / name).read_bytes()
    for end in range(len(whole)):
        (lived / name).write_bytes(whole[:end])
        assert named(lived) == wanted
    (lived / name).unlink()
    assert named(lived) == wanted


def test_copies_that_changed_places_are_named(lived: Path) -> None:
    a, b = (lived / name for name in COPIES)
    texts = a.read_bytes(), b.read_bytes()
    b.write_bytes(texts[0])
    a.write_bytes(texts[1])
    assert named(lived) == "state-damaged"


def test_one_copy_over_the_other_is_not_taken_for_the_newest(lived: Path) -> None:
    newest = load_state(lived).sequence
    old, new = lived / COPIES[(newest - 1) % 2], lived / COPIES[newest % 2]
    new.write_bytes(old.read_bytes())
    assert named(lived) == "state-damaged"


def test_a_state_that_went_back_in_time_is_named(lived: Path, tmp_path: Path) -> None:
    for name in COPIES:
        shutil.copy(tmp_path / "earlier" / name, lived / name)
    assert named(lived) == "state-damaged"


def test_a_journal_that_went_back_in_time_is_named(lived: Path, tmp_path: Path) -> None:
    shutil.copy(Journal(tmp_path / "earlier").path, Journal(lived).path)
    assert named(lived) == "journal-damaged"
