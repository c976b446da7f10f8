"""Whatever ``bundle repair`` reads may hold any bytes: the answer is a value or a refusal of ours, never another error.

What it takes, it would write back byte for byte.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bundler.media import kit as media
from bundler.media.pack import pack
from bundler.repair.beside import Beside
from bundler.repair.copies import Copy
from bundler.repair.head import named_by, read_signature
from bundler.repair.recover import is_whole, keys_of
from bundler.repair.verb import repair
from bundler.repair.weaving import parsed, read_frame
from installer.bundle.archive import locate_bundle
from installer.bundle.frames import compress_frame, raw_frame
from installer.bundle.parts import MAX_PARTS, PARTS_FILE, PartsNote, check_part, part_name, split_name
from installer.bundle.signature import KeySignature
from installer.bundle.strictjson import canonical
from installer.errors import ExitCode, SealiftError
from tests.unit.bundle.test_parsers import SIGNATURE, mutated, spliced
from tests.unit.trust.media import QUIET, make_kit

thorough = settings(max_examples=300, deadline=None)
NAME = "p-1.0.0-linux-amd64.bundle.tar.zst"
DIGEST = f"sha256:{'0a' * 32}"
NOTE = PartsNote(bundle=NAME, size=2500, part_size=1000, parts=(DIGEST,) * 3).to_bytes()
REFUSALS = (ExitCode.USAGE, ExitCode.MALFORMED, ExitCode.CORRUPT)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One folder for all examples, which replace each other in it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kit(tmp_path_factory.mktemp("product"), "release")


def note_of(folder: Path, raw: bytes) -> PartsNote | None:
    """What the reader and the repair make of it."""
    (folder / PARTS_FILE).write_bytes(raw)
    note = PartsNote.beside(folder / part_name(NAME, 1))
    assert note is None or note.to_bytes() == raw
    return note


def test_the_note_that_is_altered_here_is_one(folder: Path) -> None:
    assert note_of(folder, NOTE) is not None


@thorough
@given(data=st.data())
def test_a_note_of_any_bytes_is_one_or_is_none(folder: Path, data: st.DataObject) -> None:
    note_of(folder, spliced(data, NOTE) if data.draw(st.booleans()) else data.draw(st.binary(max_size=300)))


@thorough
@given(data=st.data())
def test_a_note_of_any_values_is_written_back(folder: Path, data: st.DataObject) -> None:
    value = mutated(data, json.loads(NOTE))
    try:
        raw = canonical(value)
    except ValueError:
        assume(False)
        return
    note = note_of(folder, raw)
    if note is not None:
        assert 1 <= len(note.parts) <= MAX_PARTS
        assert all(note.span(number)[0] < 2**60 for number in range(1, len(note.parts) + 1))


@thorough
@given(st.from_regex(r"[a-z]{1,9}\.bundle\.tar\.zst(\.age)?", fullmatch=True), st.integers(1, MAX_PARTS))
def test_the_name_of_a_part_is_read_as_it_was_written(bundle: str, number: int) -> None:
    assert split_name(part_name(bundle, number)) == (bundle, number)


@thorough
@given(st.text(max_size=60))
def test_any_name_is_that_of_a_part_or_is_none(name: str) -> None:
    found = split_name(name)
    assert found is None or part_name(*found) == name or found[1] != int(name[-3:]) or not name[-3:].isascii()


@thorough
@given(data=st.data())
def test_a_part_of_any_bytes_beside_any_note_is_right_or_refused(folder: Path, data: st.DataObject) -> None:
    note_of(folder, spliced(data, NOTE))
    part = folder / part_name(NAME, data.draw(st.integers(0, 5)))
    part.write_bytes(data.draw(st.binary(max_size=30)))
    try:
        check_part(part)
    except SealiftError as error:
        assert error.exit_code in REFUSALS
    else:
        raise AssertionError("nothing has this hash")
    finally:
        part.unlink()


@thorough
@given(sizes=st.dictionaries(st.integers(1, 6), st.integers(0, 40), min_size=1, max_size=5), data=st.data())
def test_parts_of_any_sizes_are_one_stretch_with_holes(
    folder: Path, sizes: dict[int, int], data: st.DataObject
) -> None:
    for path in folder.iterdir():
        path.unlink()
    if data.draw(st.booleans()):
        note_of(folder, canonical(mutated_note(data)))
    for number, size in sizes.items():
        (folder / part_name(NAME, number)).write_bytes(bytes([number]) * size)
    try:
        copy = Copy(folder / part_name(NAME, min(sizes)))
    except SealiftError as error:
        assert error.exit_code in REFUSALS
        return
    with copy:
        whole = copy.read(0, copy.size)
        missing = copy.missing(0, copy.size)
        assert len(whole) == copy.size and all(0 <= first < last <= copy.size for first, last in missing)
        assert copy.part_size is not None
        for place, byte in enumerate(whole):
            is_there = not any(first <= place < last for first, last in missing)
            assert byte == (place // copy.part_size + 1 if is_there else 0)


def mutated_note(data: st.DataObject) -> dict[str, object]:
    """A sound note of other sizes."""
    count = data.draw(st.integers(1, 7))
    value: dict[str, object] = json.loads(NOTE)
    return {
        **value,
        "part_size": data.draw(st.integers(1, 50)),
        "size": data.draw(st.integers(1, 300)),
        "parts": [DIGEST] * count,
    }


@thorough
@given(data=st.data(), content=st.binary(max_size=600), plain=st.booleans())
def test_a_frame_of_any_bytes_is_one_as_it_stands_or_is_none(
    folder: Path, data: st.DataObject, content: bytes, plain: bool
) -> None:
    raw = spliced(data, (raw_frame if plain else compress_frame)(content))
    frame = parsed(raw, len(content))
    assert frame is None or b"".join(frame.parts) == raw
    path = folder / NAME
    path.write_bytes(raw)
    with Copy(path) as copy:
        found = read_frame(copy, data.draw(st.integers(0, 3)), len(content))
    assert found is None or b"".join(found.parts) in raw
    path.unlink()


@thorough
@given(data=st.data())
def test_a_signature_of_any_bytes_names_no_release_unless_it_is_whole(data: st.DataObject) -> None:
    raw = spliced(data, SIGNATURE)
    found = read_signature(raw)
    digests = named_by([raw])
    assert digests == ({found.digest} if found is not None and is_whole(found) else set())
    sound = read_signature(SIGNATURE)
    assert isinstance(sound, KeySignature) and is_whole(sound)
    if isinstance(found, KeySignature) and is_whole(found):
        assert (found.signature, found.digest, found.key_hint) == (sound.signature, sound.digest, sound.key_hint)


@thorough
@given(st.binary(max_size=80), st.integers(0, 2**256))
def test_any_bytes_are_a_signature_by_some_keys_or_by_none(signature: bytes, digest: int) -> None:
    assert len(list(keys_of(signature, digest))) <= 4


@thorough
@given(data=st.data())
def test_checksums_of_any_bytes_are_read_as_lines_or_passed_over(folder: Path, data: st.DataObject) -> None:
    good = b"".join(b"%s  %s\n" % (b"ab" * 32, name) for name in (b"install", b"README.txt", NAME.encode()))
    raw = spliced(data, good) if data.draw(st.booleans()) else data.draw(st.binary(max_size=200))
    (folder / media.SUMS).write_bytes(raw)
    beside = Beside(folder, folder)
    text = raw.decode("ascii", errors="replace")
    assert all(f"{value}  {name}" in text for name, value in beside._sums.items())
    (folder / media.SUMS).unlink()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_two_copies_of_any_bytes_are_healed_or_refused(kit: Path, folder: Path, data: st.DataObject) -> None:
    """Stretches are lost, doubled and replaced anywhere, in the notes too; what comes out is right, or nothing does."""
    right = locate_bundle(kit).read_bytes()
    part_size = data.draw(st.sampled_from([None, 4000, 9000]))
    places = []
    for name in ("one", "two"):
        place = folder / name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(pack(kit, folder / "cut", part_size, QUIET).kit if part_size else kit, place)
        for path in data.draw(st.lists(st.sampled_from(sorted(place.glob("[!s]*"))), max_size=3, unique=True)):
            path.write_bytes(spliced(data, path.read_bytes()))
        places.append(place)
    before = {path: path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()}
    try:
        made = repair(places[0], places[1], None, QUIET)
    except SealiftError as error:
        assert error.exit_code in REFUSALS, error.id
        assert {path: path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()} == before
    else:
        files = sorted(places[0].glob("*.bundle.tar.zst*"))
        assert b"".join(path.read_bytes() for path in files[: made.parts]) == right
