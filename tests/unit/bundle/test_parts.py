"""A bundle in parts is the same bundle; what is missing or damaged is named with its bytes; packing needs no key."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.media.pack import Packed, pack
from bundler.verification import inspect_media, verify_media
from bundler.writing.parts import parse_size
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.parts import PARTS_FILE, PartsNote, check_part, open_bundle, part_name
from installer.errors import SealiftError
from installer.media import open_media
from tests.unit.trust.keys import policy
from tests.unit.trust.media import QUIET, Stick, make_kit

PART = 4096


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kit(tmp_path_factory.mktemp("product"), "release")


@pytest.fixture(scope="module")
def packed(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    made = pack(kit, tmp_path_factory.mktemp("parts"), PART, QUIET)
    assert made.parts > 2
    return made


@pytest.fixture
def stick(packed: Packed, tmp_path: Path) -> Stick:
    return Stick.of(packed.kit, tmp_path / "stick")


def refusal(call: Callable[[], object]) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        call()
    return caught.value


def parts_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.bundle.tar.zst.[0-9]*"))


def test_parts_joined_by_cat_are_the_bundle(kit: Path, packed: Packed) -> None:
    joined = b"".join(part.read_bytes() for part in parts_of(packed.kit))
    assert joined == locate_bundle(kit).read_bytes()
    assert all(part.stat().st_size == PART for part in parts_of(packed.kit)[:-1])


def test_parts_verify_inspect_and_install_as_the_one_file_does(kit: Path, packed: Packed) -> None:
    rule = policy("release")
    whole, cut = (verify_media(path, rule, QUIET) for path in (kit, packed.kit))
    assert whole.as_json() == cut.as_json()
    assert open_media(packed.kit, rule).files == open_media(kit, rule).files
    assert open_media(packed.kit, rule).size == locate_bundle(kit).stat().st_size
    assert inspect_media(packed.first, rule)[1]["digest"] == str(packed.digest)


def test_first_part_alone_is_enough_to_inspect(packed: Packed, stick: Stick) -> None:
    for part in parts_of(stick.folder)[1:]:
        part.unlink()
    assert inspect_media(stick.folder, policy("release"))[1]["digest"] == str(packed.digest)


def test_finds_parts_on_discs_that_are_mounted_side_by_side(stick: Stick, tmp_path: Path) -> None:
    for number, part in enumerate(parts_of(stick.folder)[1:], 2):
        (tmp_path / f"disc{number}").mkdir()
        part.rename(tmp_path / f"disc{number}" / part.name)
    assert stick.signers(policy("release")) == ["release"]


def test_asks_for_one_disc_after_the_other_and_says_which(stick: Stick, tmp_path: Path) -> None:
    shelf = tmp_path / "elsewhere/shelf"
    shelf.mkdir(parents=True)
    for part in parts_of(stick.folder)[1:]:
        part.rename(shelf / part.name)
    asked: list[str] = []

    def bring(name: str) -> bool:
        asked.append(name)
        for part in parts_of(stick.folder)[1:]:
            part.rename(shelf / part.name)
        (shelf / name).rename(stick.folder / name)
        return True

    media = open_media(stick.folder, policy("release"), ask=bring)
    names = [
        part_name(media.bundle.name.removesuffix(".001"), number) for number in range(2, len(list(shelf.iterdir())) + 3)
    ]
    assert asked == names[: len(asked)] and len(asked) == len(names)
    asked.clear()
    assert media.read([], progress=lambda _: None) == ()
    assert asked == names or asked == names[1:]


def test_gives_up_on_a_disc_that_nobody_brings_and_names_its_bytes(stick: Stick) -> None:
    parts_of(stick.folder)[1].unlink()
    for ask in (None, lambda name: False):
        error = refusal(lambda ask=ask: open_media(stick.folder, policy("release"), ask=ask))  # type: ignore[misc]
        assert (error.id, error.exit_code) == ("part-missing", 4)
        assert f"bytes {PART} to {2 * PART - 1}" in error.message and ".002 (2 of" in error.message


def test_without_a_note_a_missing_part_is_an_early_end(stick: Stick) -> None:
    (stick.folder / PARTS_FILE).unlink()
    assert stick.signers(policy("release")) == ["release"]
    parts_of(stick.folder)[-1].unlink()
    assert refusal(lambda: stick.verify(policy("release"))).id == "truncated"


@pytest.mark.parametrize("noted", [True, False])
def test_refuses_a_part_of_another_size_and_names_its_bytes(stick: Stick, noted: bool) -> None:
    if not noted:
        (stick.folder / PARTS_FILE).unlink()
    second = parts_of(stick.folder)[1]
    second.write_bytes(second.read_bytes() + b"x")
    error = refusal(lambda: stick.verify(policy("release")))
    assert (error.id, error.exit_code) == ("part-size", 4)
    assert f"bytes {PART} to {2 * PART - 1}" in error.message


def test_refuses_altered_parts_however_the_note_agrees(stick: Stick) -> None:
    second = parts_of(stick.folder)[1]
    data = bytearray(second.read_bytes())
    data[1000] ^= 1
    second.write_bytes(data)
    note = PartsNote.beside(second)
    assert note is not None
    assert refusal(lambda: check_part(second)).id == "part-damaged"
    lie = list(note.parts)
    lie[1] = f"sha256:{hashlib.sha256(data).hexdigest()}"
    (stick.folder / PARTS_FILE).write_bytes(note.model_copy(update={"parts": tuple(lie)}).to_bytes())
    check_part(second)
    assert refusal(lambda: stick.verify(policy("release"))).exit_code in (3, 4, 5)


@pytest.mark.parametrize(
    "note",
    [b"", b"{}", b"[" * 9000, b"\xff", b'{"parts":[]}', b"x" * 300_000],
    ids=["empty", "object", "deep", "bytes", "other", "large"],
)
def test_a_note_that_is_none_is_no_harm(stick: Stick, note: bytes) -> None:
    (stick.folder / PARTS_FILE).write_bytes(note)
    assert stick.signers(policy("release")) == ["release"]


def test_no_byte_of_the_note_can_bring_in_anything_else(kit: Path, stick: Stick) -> None:
    """Each byte altered, a low or a high bit of it in turn: what comes is what was signed, or a refusal as damaged."""
    rule, note = policy("release"), (stick.folder / PARTS_FILE).read_bytes()
    signed = open_media(kit, rule).verified.digest
    for at in range(len(note)):
        altered = bytes([note[at] ^ (1, 0x40)[at % 2]])
        (stick.folder / PARTS_FILE).write_bytes(note[:at] + altered + note[at + 1 :])
        try:
            assert open_media(stick.folder, rule).verified.digest == signed
        except SealiftError as error:
            assert error.exit_code in (3, 4), (at, error.id)


def test_each_part_is_checked_alone(stick: Stick) -> None:
    for part in parts_of(stick.folder):
        check_part(part)
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=stick.folder, check=True)
    last = parts_of(stick.folder)[-1]
    last.write_bytes(last.read_bytes()[:-1])
    error = refusal(lambda: check_part(last))
    assert (error.id, error.exit_code) == ("part-damaged", 4) and "repair" in error.hint
    last.unlink()
    assert refusal(lambda: check_part(last)).id == "part-missing"
    (stick.folder / PARTS_FILE).unlink()
    assert refusal(lambda: check_part(parts_of(stick.folder)[0])).id == "part-unknown"


def test_refuses_to_begin_with_another_part_than_the_first(stick: Stick) -> None:
    error = refusal(lambda: BundleReader(parts_of(stick.folder)[1]))
    assert (error.id, error.exit_code) == ("part-not-first", 3) and ".001" in error.hint


def test_packs_parts_back_into_the_one_file(kit: Path, packed: Packed, tmp_path: Path) -> None:
    again = pack(packed.kit, tmp_path, None, QUIET)
    assert again.first.read_bytes() == locate_bundle(kit).read_bytes()
    assert not (again.kit / PARTS_FILE).exists()


def test_packing_folds_countersignatures_in_and_keeps_the_statement(kit: Path, tmp_path: Path) -> None:
    stick = Stick.of(kit, tmp_path / "stick")
    stick.sign("customer")
    stick.put("junk.sigstore.json", b"{}")
    made = pack(stick.folder, tmp_path / "out", None, QUIET)
    assert made.signatures == ("signatures/customer.sigstore.json", "signatures/release.sigstore.json")
    shutil.rmtree(made.kit / "signatures")
    assert Stick(made.kit).signers(policy("release", "customer", threshold=2)) == ["customer", "release"]
    assert Stick(made.kit).statement == stick.statement


def test_packing_keeps_everything_of_the_folder_and_says_how_to_join(packed: Packed) -> None:
    names = {path.name for path in packed.kit.iterdir()}
    assert {"install", "install.sigstore.json", "README.txt", "SHA256SUMS", "signatures", PARTS_FILE} <= names
    assert (packed.kit / "install").stat().st_mode & 0o777 == 0o755
    text = (packed.kit / "README.txt").read_text()
    assert "cat board-2.1.0-linux-amd64.bundle.tar.zst.[0-9]* | tar --zstd -xf -" in text


def test_packing_refuses_damage_and_leaves_nothing(kit: Path, tmp_path: Path) -> None:
    stick = Stick.of(kit, tmp_path / "stick")
    data = bytearray(stick.bundle.read_bytes())
    data[-3000] ^= 1
    stick.bundle.write_bytes(data)
    assert refusal(lambda: pack(stick.folder, tmp_path / "out", PART, QUIET)).exit_code in (3, 4)
    assert list((tmp_path / "out").iterdir()) == []


def test_packing_refuses_to_write_over_what_it_reads_or_another_release(kit: Path, tmp_path: Path) -> None:
    assert refusal(lambda: pack(kit, kit.parent, PART, QUIET)).id == "output-exists"
    (tmp_path / kit.name).mkdir()
    (tmp_path / kit.name / "other").touch()
    assert refusal(lambda: pack(kit, tmp_path, PART, QUIET)).id == "output-exists"
    assert [path.name for path in (tmp_path / kit.name).iterdir()] == ["other"]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64KiB", 65536),
        ("700MB", 700_000_000),
        ("4GiB", 2**32),
        ("4 G", 4 * 10**9),
        ("fat32", 2**32 - 1),
        ("DVD", 4_700_000_000),
    ],
)
def test_reads_sizes_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5G", "ten", "63KiB", "9" * 20])
def test_refuses_sizes_that_make_no_part(text: str) -> None:
    assert refusal(lambda: parse_size(text)).id == "bad-option"


@given(
    data=st.binary(min_size=1, max_size=400), part=st.integers(1, 60), cuts=st.lists(st.integers(0, 450), max_size=6)
)
def test_parts_read_and_sought_give_the_bytes_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, part: int, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("cut") / "disc"
    folder.mkdir()
    name = "p.bundle.tar.zst"
    pieces = [data[start : start + part] for start in range(0, len(data), part)]
    for number, piece in enumerate(pieces, 1):
        (folder / part_name(name, number)).write_bytes(piece)
    with open_bundle(folder / part_name(name, 1)) as file:
        assert file.read() == data
        for cut in cuts:
            file.seek(cut)
            assert file.read(7) == data[cut : cut + 7]
        assert file.seek(0, 2) == len(data)


def test_note_is_written_back_byte_for_byte(packed: Packed) -> None:
    raw = (packed.kit / PARTS_FILE).read_bytes()
    assert PartsNote.model_validate_json(raw).to_bytes() == raw
