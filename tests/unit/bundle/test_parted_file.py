"""Parts of a few bytes, read as one file: where each begins and ends, where it is looked for, and what is said."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest
from pytest import MonkeyPatch

from installer.bundle import parts
from installer.bundle.parts import (
    MAX_PARTS_BYTES,
    PARTS_FILE,
    PartedFile,
    PartsNote,
    bundle_of,
    bundles_in,
    check_part,
    open_bundle,
    part_name,
    split_name,
)
from installer.errors import SealiftError
from tests.unit.bundle.asking import refusal

NAME = "p.bundle.tar.zst"
DATA = b"abcdefghijklmno"
SIZE = 4


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A disc alone: else parts of other tests lie in the folders beside it."""
    folder = tmp_path / "media/disc"
    folder.mkdir(parents=True)
    return folder


def write(folder: Path, *, noted: bool = True, data: bytes = DATA) -> PartsNote:
    """Parts of four bytes, of three the last, with the note about them."""
    folder.mkdir(exist_ok=True)
    pieces = [data[start : start + SIZE] for start in range(0, len(data), SIZE)]
    for number, piece in enumerate(pieces, 1):
        (folder / part_name(NAME, number)).write_bytes(piece)
    digests = tuple(f"sha256:{hashlib.sha256(piece).hexdigest()}" for piece in pieces)
    note = PartsNote(bundle=NAME, size=len(data), part_size=SIZE, parts=digests)
    if noted:
        (folder / PARTS_FILE).write_bytes(note.to_bytes())
    return note


def first(folder: Path) -> Path:
    return folder / part_name(NAME, 1)


def read(folder: Path) -> bytes:
    with open_bundle(first(folder)) as file:
        return file.read()


def test_names_of_parts_and_of_their_bundle() -> None:
    assert part_name(NAME, 7) == f"{NAME}.007" and part_name(NAME, 999) == f"{NAME}.999"
    assert split_name(f"{NAME}.007") == (NAME, 7) and split_name(f"{NAME}.age.010") == (f"{NAME}.age", 10)
    for name in (NAME, f"{NAME}.7", f"{NAME}.0007", f"{NAME}.001x", "x.tar.001", f"{NAME}.asc.001"):
        assert (split_name(name), bundle_of(name)) == (None, name)
    assert bundle_of(f"{NAME}.007") == NAME


def test_bundles_of_a_folder_are_those_that_can_be_opened_and_are_not_hidden(tmp_path: Path) -> None:
    wanted = [f"a{ending}" for ending in (".bundle.tar.zst", ".bundle.tar.zst.001", ".bundle.tar.zst.age")]
    wanted.append("a.bundle.tar.zst.age.001")
    for name in (*wanted, ".b.bundle.tar.zst", "a.bundle.tar.zst.002", "a.bundle.tar", "a.bundle.tar.zst.age.002"):
        (tmp_path / name).touch()
    assert bundles_in(tmp_path) == sorted(tmp_path / name for name in wanted)


@pytest.mark.parametrize("noted", [True, False])
def test_parts_are_read_and_sought_as_one_file(tmp_path: Path, noted: bool) -> None:
    write(tmp_path, noted=noted)
    assert read(tmp_path) == DATA
    with PartedFile(first(tmp_path)) as file:
        assert file.readable() and file.seekable() and file.tell() == 0
        for place in range(len(DATA) + 2):
            assert file.seek(place) == file.tell() == place
            assert file.read(100) == DATA[place : place // SIZE * SIZE + SIZE]  # what is left of one part
        assert file.seek(-2, io.SEEK_END) == len(DATA) - 2 and file.read(9) == DATA[-2:]
        assert file.seek(-1, io.SEEK_CUR) == len(DATA) - 1
        assert file.seek(-100, io.SEEK_CUR) == 0 and file.read(1) == DATA[:1]
        buffer = bytearray(b"....")
        assert file.readinto(memoryview(buffer)[:2]) == 2 and buffer == b"bc.."
    assert file.closed
    file.close()


def test_part_that_is_full_is_the_last_where_no_other_follows(tmp_path: Path) -> None:
    for noted in (True, False):
        write(tmp_path / str(noted), noted=noted, data=DATA[:8])
        assert read(tmp_path / str(noted)) == DATA[:8]


def test_empty_part_has_nothing(tmp_path: Path) -> None:
    first(tmp_path).touch()
    assert read(tmp_path) == b""


def test_note_says_where_each_part_lies(tmp_path: Path) -> None:
    note = write(tmp_path)
    assert [note.span(number) for number in (1, 2, 3, 4)] == [(0, 4), (4, 8), (8, 12), (12, 15)]
    assert PartsNote.beside(first(tmp_path)) == note
    assert PartsNote.model_validate_json(note.to_bytes()) == note


def test_note_counts_only_for_parts_of_its_bundle_in_its_one_spelling(tmp_path: Path) -> None:
    note = write(tmp_path)
    assert PartsNote.beside(tmp_path / NAME) is None
    assert PartsNote.beside(tmp_path / f"q.bundle.tar.zst.{1:03}") is None
    raw = note.to_bytes()
    for spoiled in (b" " + raw, raw[:-1], raw.replace(b'"size":15', b'"size":0'), raw.replace(b"{", b'{"more":1,', 1)):
        (tmp_path / PARTS_FILE).write_bytes(spoiled)
        assert PartsNote.beside(first(tmp_path)) is None
    (tmp_path / PARTS_FILE).unlink()
    assert PartsNote.beside(first(tmp_path)) is None
    os.mkfifo(tmp_path / PARTS_FILE)
    assert PartsNote.beside(first(tmp_path)) is None


def test_note_is_read_up_to_its_greatest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    write(tmp_path)
    monkeypatch.setattr("installer.bundle.parts.parse_canonical", lambda raw, what: taken.append(len(raw)))
    (tmp_path / PARTS_FILE).write_bytes(b"x" * (MAX_PARTS_BYTES + 10))
    assert PartsNote.beside(first(tmp_path)) is None and taken == [MAX_PARTS_BYTES + 1]


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"X" + data[1:]])
def test_part_that_was_altered_is_named_with_its_bytes(tmp_path: Path, number: int, change: object) -> None:
    write(tmp_path)
    part = tmp_path / part_name(NAME, number)
    check_part(part)
    part.write_bytes(change(part.read_bytes()))  # type: ignore[operator]
    error = refusal(lambda: check_part(part))
    start, end = (number - 1) * SIZE, min(number * SIZE, len(DATA))
    assert (error.id, error.message) == (
        "part-damaged",
        f"{part.name} is damaged: bytes {start} to {end - 1} of {NAME}",
    )
    assert error.hint.startswith("copy that part again from its source")


def test_part_of_which_nothing_is_known_is_not_checked(tmp_path: Path) -> None:
    write(tmp_path)
    for name in (NAME, part_name(NAME, 5), part_name(NAME, 0), "q.bundle.tar.zst.001"):
        (tmp_path / name).touch()
        error = refusal(lambda name=name: check_part(tmp_path / name))  # type: ignore[misc]
        assert (error.id, name in error.message) == ("part-unknown", True)
    (tmp_path / part_name(NAME, 2)).unlink()
    error = refusal(lambda: check_part(tmp_path / part_name(NAME, 2)))
    assert (error.id, error.message) == (
        "part-missing",
        f"the part {NAME}.002 (2 of 4) is not there: bytes 4 to 7 of {NAME}",
    )


def test_part_that_cannot_be_read_is_called_so(tmp_path: Path) -> None:
    write(tmp_path)
    part = tmp_path / part_name(NAME, 2)
    part.unlink()
    part.symlink_to(part.name)
    error = refusal(lambda: check_part(part))
    assert (error.id, str(part) in error.message) == ("media-unreadable", True)


def test_another_part_than_the_first_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    write(tmp_path)
    error = refusal(lambda: open_bundle(tmp_path / part_name(NAME, 2)))
    assert (error.id, f"{NAME}.001" in error.hint) == ("part-not-first", True)
    (tmp_path / NAME).write_bytes(b"whole")
    with open_bundle(tmp_path / NAME) as file:
        assert file.read() == b"whole"


def test_parts_are_looked_for_beside_the_first_then_beside_its_folder(tmp_path: Path) -> None:
    discs = [tmp_path / name for name in ("one", "three", "two")]
    write(discs[0])
    for disc, number in ((discs[1], 3), (discs[2], 2)):
        disc.mkdir()
        (discs[0] / part_name(NAME, number)).rename(disc / part_name(NAME, number))
    (tmp_path / "file").touch()
    assert read(discs[0]) == DATA
    (discs[2] / part_name(NAME, 2)).unlink()
    error = refusal(lambda: read(discs[0]))
    assert error.message == f"the part {NAME}.002 (2 of 4) is not there: bytes 4 to 7 of {NAME}"


def test_disc_is_asked_for_until_it_is_brought_or_nobody_can(tmp_path: Path) -> None:
    write(tmp_path)
    second, aside = tmp_path / part_name(NAME, 2), tmp_path / "aside"
    second.rename(aside)
    asked: list[str] = []

    def bring(name: str) -> bool:
        asked.append(name)
        if len(asked) == 2:
            aside.rename(second)
        return True

    with open_bundle(first(tmp_path), bring) as file:
        assert (file.read(), asked) == (DATA, [second.name] * 2)
    second.rename(aside)
    with open_bundle(first(tmp_path), lambda name: False) as file:
        assert refusal(file.read).id == "part-missing"


def test_without_a_note_nobody_is_asked_and_a_missing_part_is_the_end(tmp_path: Path) -> None:
    write(tmp_path, noted=False)
    (tmp_path / part_name(NAME, 3)).unlink()

    def never(name: str) -> bool:
        raise AssertionError(name)

    with open_bundle(first(tmp_path), never) as file:
        assert file.read() == DATA[:8] and file.seek(0, io.SEEK_END) == 8


def test_without_a_note_the_first_part_cannot_get_lost_unsaid(tmp_path: Path) -> None:
    write(tmp_path, noted=False)
    with PartedFile(first(tmp_path)) as file:
        file.seek(5)
        assert file.read(1) == DATA[5:6]
        first(tmp_path).unlink()
        file.seek(0)
        error = refusal(lambda: file.read(1))
    assert (error.id, error.message) == ("part-missing", f"the part {NAME}.001 is not there")


@pytest.mark.parametrize(
    ("noted", "number", "data", "message"),
    [
        (True, 2, b"efg", "has 3 bytes instead of 4: bytes 4 to 7 of"),
        (True, 2, b"efghi", "has 5 bytes instead of 4: bytes 4 to 7 of"),
        (True, 4, b"mn", "has 2 bytes instead of 3: bytes 12 to 14 of"),
        (True, 4, b"mnop", "has 4 bytes instead of 3: bytes 12 to 14 of"),
        (False, 2, b"efghi", "has 5 bytes instead of 4: bytes 4 to 7 of"),
    ],
)
def test_part_of_another_size_is_refused(tmp_path: Path, noted: bool, number: int, data: bytes, message: str) -> None:
    write(tmp_path, noted=noted)
    (tmp_path / part_name(NAME, number)).write_bytes(data)
    error = refusal(lambda: read(tmp_path))
    assert (error.id, error.message) == ("part-size", f"{part_name(NAME, number)} {message} {NAME}")


def test_last_part_may_be_as_long_as_the_others_or_shorter(tmp_path: Path) -> None:
    write(tmp_path, noted=False)
    (tmp_path / part_name(NAME, 4)).write_bytes(b"mnop")
    assert read(tmp_path) == DATA + b"p"


def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / NAME, tmp_path / "folder"):
        error = refusal(lambda path=path: open_bundle(path))  # type: ignore[misc]
        assert (error.id, str(path) in error.message) == ("media-not-a-file", True)
    with pytest.raises(FileNotFoundError):
        open_bundle(tmp_path / "none")
    with pytest.raises(SealiftError):
        open_bundle(tmp_path)


def test_closes_the_part_that_is_open(tmp_path: Path) -> None:
    write(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    file = PartedFile(first(tmp_path))
    assert len(list(Path("/proc/self/fd").iterdir())) != before
    for _ in range(2):
        file.close()
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_folder_of_somebody_else_hides_no_part_in_another(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    write(tmp_path)
    part, closed = part_name(NAME, 2), tmp_path.parent / "closed"
    closed.mkdir()
    (tmp_path.parent / "open").mkdir()
    (tmp_path / part).rename(tmp_path.parent / "open" / part)
    real = Path.is_file

    def is_file(path: Path) -> bool:
        if path.parent == closed:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    assert read(tmp_path) == DATA


def test_without_a_note_no_more_parts_are_counted_than_there_may_be(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_PARTS", 3)
    write(tmp_path, noted=False, data=b"abcdefghijklmnop")
    with open_bundle(first(tmp_path)) as file:
        assert file.seek(0, os.SEEK_END) == 3 * SIZE
