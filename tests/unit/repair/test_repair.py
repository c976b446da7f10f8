"""``bundle repair``: two damaged copies become one whole bundle where they hold it together, else it says what not."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bundler.build import Request, build
from bundler.cli import main
from bundler.media.pack import pack
from bundler.repair.verb import Repaired, repair
from bundler.verification import verify_media
from installer.bundle.archive import locate_bundle
from installer.bundle.frames import FrameReader
from installer.bundle.parts import PARTS_FILE, PartsNote, part_name
from installer.errors import SealiftError
from installer.talk import Table, Talk
from tests.unit.repair.damage import draw
from tests.unit.trust.keys import policy
from tests.unit.trust.media import QUIET, make_kit

COUNT = int(os.environ.get("REPAIRS", "100"))
"""Of the 500 drawn damages, so many from :data:`FIRST` on (``make repairs``)."""
FIRST = int(os.environ.get("FIRST", "0"))
HEAD = ("release.json", "signatures/release.sigstore.json", "packing.json")


@dataclass(frozen=True)
class Bundle:
    """A whole one: its media folder, its bytes, and the first byte of every frame with what it is."""

    kit: Path
    right: bytes
    frames: dict[int, str]

    @property
    def name(self) -> str:
        return locate_bundle(self.kit).name

    def at(self, word: str) -> int:
        """Where the first frame whose description begins with ``word`` stands."""
        return next(place for place, what in self.frames.items() if what.startswith(word))


class Ear(Talk):
    """Keeps what is told as lost."""

    lost: list[dict[str, Any]]

    def result(self, text: str | Table, value: dict[str, object]) -> None:
        self.lost = value["lost"]  # type: ignore[assignment]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    kit = make_kit(tmp_path_factory.mktemp("product"), "release")
    right = locate_bundle(kit).read_bytes()
    return Bundle(kit, right, frames_of(locate_bundle(kit)))


def frames_of(path: Path) -> dict[int, str]:
    """The first byte of every frame, with ``header NAME``, ``data NAME``, ``end`` or ``table``."""
    from installer.bundle.tarheader import END, parse_header

    found: dict[int, str] = {}
    name = ""
    with path.open("rb") as file:
        reader = FrameReader(file)
        while True:
            place, data = reader.position, reader.read()
            if data == END:
                return {**found, place: "end", reader.position: "table"}
            if len(data) == 512 and data[257:262] == b"ustar":
                name = parse_header(data).name
                found[place] = f"header {name}"
            else:
                found[place] = f"data {name}"


@pytest.fixture
def copies(bundle: Bundle, tmp_path: Path) -> tuple[Path, Path]:
    """Two media folders of it, to be damaged."""
    for name in ("one", "two"):
        shutil.copytree(bundle.kit, tmp_path / name)
    return tmp_path / "one", tmp_path / "two"


def damage(kit: Path, place: int, count: int = 1, value: int | None = None) -> None:
    """Other bytes there; zeros with ``value`` 0."""
    path = next(path for path in kit.iterdir() if ".bundle.tar.zst" in path.name)
    data = bytearray(path.read_bytes())
    for at in range(place, place + count):
        data[at] = data[at] ^ 0x10 if value is None else value
    path.write_bytes(data)


def refusal(call: Callable[[], object]) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        call()
    return caught.value


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def joined(folder: Path, name: str) -> bytes:
    files = sorted(path for path in folder.iterdir() if path.name.startswith(name))
    return b"".join(path.read_bytes() for path in files)


def derived(bundle: Bundle, place: int) -> bool:
    """Whether this byte follows from the list, so that it need not be in any copy."""
    what = bundle.frames[max(start for start in bundle.frames if start <= place)]
    return what.startswith(("header", "end", "table")) or what == "data packing.json"


@pytest.mark.parametrize("ten", range(FIRST, FIRST + COUNT, 10))
def test_heals_whatever_two_copies_hold_together_and_names_what_they_do_not(
    ten: int, bundle: Bundle, tmp_path: Path
) -> None:
    for seed in range(ten, ten + 10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        case = draw(seed, bundle.right, bundle.name, folder, overlap=seed % 4 == 3)
        before = [content(path) for path in case.paths]
        talk = Ear(quiet=True)
        try:
            made = repair(case.paths[0], case.paths[1], None, talk)
        except SealiftError as error:
            assert (error.id, error.exit_code) == ("beyond-repair", 4), case.told
            assert case.lost, f"{case.told}: {error.message}"
            assert [content(path) for path in case.paths] == before, case.told
            assert_named(bundle, case.lost, talk.lost, case.told)
        else:
            healed = joined(case.paths[0], bundle.name)
            assert made.digest == verify_media(made.bundle, policy("release"), QUIET).verified.digest
            assert case.lost or healed == bundle.right, case.told
            assert all(derived(bundle, place) for place in case.lost) or len(case.lost) < 4, case.told
            assert content(case.paths[1]) == before[1], case.told


def assert_named(bundle: Bundle, lost: set[int], ranges: list[dict[str, Any]], told: str) -> None:
    """Every range that is named has a byte in it, or lies in a frame with a byte, that both copies have wrong."""
    starts = sorted(bundle.frames)
    bad = {max(start for start in starts if start <= place) for place in lost}
    for one in ranges:
        first, last = one["from"], one["to"]
        frames = {max(start for start in starts if start <= place) for place in (first, min(last, starts[-1]))}
        assert any(first <= place <= last for place in lost) or frames & bad, f"{told}: {one}"
        assert not one["exact"] or set(range(first, last + 1)) <= lost | zeros(bundle), f"{told}: {one}"
    named = {place for one in ranges for place in lost if one["from"] <= place <= one["to"]}
    if not any(one["member"] in (*HEAD, "all that follows") for one in ranges):
        left = {start for start in bad if not derived(bundle, start)}
        covered = {max(start for start in starts if start <= place) for place in named}
        assert left <= covered, f"{told}: {ranges}"


def zeros(bundle: Bundle) -> set[int]:
    """Where losing a byte to zeros changes nothing."""
    return {place for place, value in enumerate(bundle.right) if not value}


def test_heals_in_place_with_everything_beside_it(bundle: Bundle, copies: tuple[Path, Path]) -> None:
    one, two = copies
    damage(one, bundle.at("data release.json") + 100, 512, 0)
    damage(two, bundle.at("data index.json") + 7)
    (one / "install").write_bytes(b"scratched")
    (one / "SHA256SUMS").unlink()
    made = repair(one, two, None, QUIET)
    assert content(one) == content(bundle.kit)
    assert (made.healed, made.not_healed) == (512, ()) and made.beside == ("SHA256SUMS", "install")
    assert stat.S_IMODE((one / "install").stat().st_mode) == 0o755
    assert verify_media(one, policy("release"), QUIET).not_checked == ()


def test_what_is_whole_is_left_alone(bundle: Bundle, copies: tuple[Path, Path]) -> None:
    one, two = copies
    damage(two, 300, 5000, 0)
    stamps = {path: path.stat().st_mtime_ns for path in one.rglob("*")}
    made = repair(one, two, None, QUIET)
    assert (made.healed, made.beside) == (0, ())
    assert {path: path.stat().st_mtime_ns for path in one.rglob("*")} == stamps


@pytest.mark.parametrize("sizes", [(4096, 5000), (5000, None), (None, 3000), (1000, 999)])
def test_heals_parts_of_any_sizes_from_each_other(
    bundle: Bundle, tmp_path: Path, sizes: tuple[int | None, ...]
) -> None:
    kits = []
    for name, part_size in zip(("one", "two"), sizes, strict=True):
        made = pack(bundle.kit, tmp_path / name, part_size, QUIET)
        kits.append(made.kit)
    first, second = (sorted(kit.glob("*.bundle.tar.zst*")) for kit in kits)
    if sizes[0] is not None:
        first[1].unlink()
    else:
        first[0].write_bytes(first[0].read_bytes()[:4000])
    damaged = bytearray(second[0].read_bytes())
    damaged[100:800] = bytes(700)
    second[0].write_bytes(damaged)
    repair(kits[0], second[-1], None, QUIET)
    assert joined(kits[0], bundle.name) == bundle.right
    assert verify_media(kits[0], policy("release"), QUIET).checked
    if sizes[0] is not None:
        note = PartsNote.beside(first[0])
        assert note is not None and len(note.parts) == len(list(kits[0].glob("*.bundle.tar.zst.*")))


def test_needs_no_part_to_be_there_twice(bundle: Bundle, tmp_path: Path) -> None:
    kits = [pack(bundle.kit, tmp_path / name, 3000, QUIET).kit for name in ("one", "two")]
    for number, path in enumerate(sorted(kits[0].glob("*.bundle.tar.zst.*"))):
        (path if number % 2 else kits[1] / path.name).unlink()
    repair(kits[1], kits[0], None, QUIET)
    assert joined(kits[1], bundle.name) == bundle.right


def test_heals_a_member_that_is_damaged_in_both_copies_in_different_places(
    bundle: Bundle, copies: tuple[Path, Path]
) -> None:
    place = bundle.at("data release.json")
    for kit, first in zip(copies, (place + 3, place + 90), strict=True):
        for step in range(4):
            damage(kit, first + 200 * step)
    repair(*copies, None, QUIET)
    assert joined(copies[0], bundle.name) == bundle.right


@pytest.mark.parametrize("word", ["header release.json", "header signatures", "data signatures", "data packing", "end"])
def test_heals_every_frame_of_the_head_and_the_end(bundle: Bundle, copies: tuple[Path, Path], word: str) -> None:
    place = bundle.at(word)
    for kit, offset in zip(copies, (1, 9), strict=True):
        damage(kit, place + offset)
    repair(*copies, None, QUIET)
    assert joined(copies[0], bundle.name) == bundle.right


def test_tells_the_right_signature_from_a_damaged_one_without_a_key(bundle: Bundle, copies: tuple[Path, Path]) -> None:
    """A flipped bit leaves it well-formed: only the fingerprint in it says which of two belongs to its key."""
    place = bundle.at("data signatures")
    for offset in range(20, 330, 31):
        for kit in copies:
            shutil.copyfile(locate_bundle(bundle.kit), kit / bundle.name)
            shutil.rmtree(kit / "signatures", ignore_errors=True)
        damage(copies[0], place + offset)
        repair(*copies, None, QUIET)
        assert verify_media(copies[0] / bundle.name, policy("release"), QUIET)


def test_names_the_bytes_that_neither_copy_has_and_the_part_and_changes_nothing(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kits = [pack(bundle.kit, tmp_path / name, 1000, QUIET).kit for name in ("one", "two")]
    for kit in kits:
        (kit / part_name(bundle.name, 6)).unlink()
    before = content(kits[0])
    assert main(["repair", str(kits[0]), "--from", str(kits[1]), "--json"]) == 4
    said = json.loads(capsys.readouterr().out)
    assert said["error"]["id"] == "beyond-repair" and "neither copy" in said["error"]["message"]
    assert {tuple(one["parts"]) for one in said["lost"]} == {(part_name(bundle.name, 6),)}
    assert all(one["exact"] and 5000 <= one["from"] < one["to"] <= 5999 for one in said["lost"])
    assert content(kits[0]) == before


def test_says_what_it_has_not_checked(bundle: Bundle, copies: tuple[Path, Path]) -> None:
    made = repair(*copies, None, QUIET)
    assert made.as_json()["not_checked"] == ["who signed: bundle verify"]
    assert made.as_json()["digest"] == str(verify_media(copies[0], policy("release"), QUIET).verified.digest)


def test_reads_discs_that_cannot_be_written_and_writes_elsewhere(bundle: Bundle, tmp_path: Path) -> None:
    kits = [pack(bundle.kit, tmp_path / name, 4000, QUIET).kit for name in ("one", "two")]
    (kits[0] / part_name(bundle.name, 2)).unlink()
    (kits[1] / part_name(bundle.name, 1)).unlink()
    out = tmp_path / "out"
    repair(kits[0], kits[1], out, QUIET)
    assert joined(out, bundle.name) == bundle.right
    assert not (kits[0] / part_name(bundle.name, 2)).exists()
    assert verify_media(out, policy("release"), QUIET).not_checked == ()
    assert refusal(lambda: repair(kits[0], kits[1], out, QUIET)).id == "output-exists"
    assert refusal(lambda: repair(kits[0], kits[1], kits[0], QUIET)).id == "output-exists"


# Hostile copies


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle of the same name: another release, signed by another key."""
    root = tmp_path_factory.mktemp("stranger")
    kit = make_kit(root, "customer")
    (root / "manifests/board/UPGRADE.md").write_text("other words\n")
    shutil.rmtree(kit)
    request = Request("v2.1.0", root, keys=(root / "customer.key",), output=root / "out")
    return build(
        Request(**{**request.__dict__, "installer": root / "manifests/board/install"}), lambda _: "", QUIET
    ).kit


def test_refuses_a_copy_of_another_release(copies: tuple[Path, Path], stranger: Path) -> None:
    error = refusal(lambda: repair(copies[0], stranger, None, QUIET))
    assert (error.id, error.exit_code) == ("copies-differ", 2)


def test_takes_nothing_wrong_from_another_release_however_damaged_its_head(
    bundle: Bundle, copies: tuple[Path, Path], stranger: Path
) -> None:
    other = shutil.copytree(stranger, copies[0].parent / "stranger")
    damage(other, 0, 60, 0)
    damage(copies[0], bundle.at("data docs/UPGRADE.md") + 12)
    before = content(copies[0])
    assert refusal(lambda: repair(copies[0], other, None, QUIET)).id == "beyond-repair"
    assert content(copies[0]) == before


def test_a_copy_whose_head_is_gone_does_not_become_another_release(
    bundle: Bundle, copies: tuple[Path, Path], stranger: Path
) -> None:
    damage(copies[0], 0, 2200, 0)
    before = content(copies[0])
    assert refusal(lambda: repair(copies[0], stranger, None, QUIET)).id in ("copies-differ", "beyond-repair")
    assert content(copies[0]) == before
    repair(copies[0], copies[1], None, QUIET)
    assert joined(copies[0], bundle.name) == bundle.right


@pytest.mark.parametrize("lie", ["sizes", "count", "other", "junk"])
def test_a_note_that_lies_fools_nobody(bundle: Bundle, tmp_path: Path, lie: str) -> None:
    kits = [pack(bundle.kit, tmp_path / name, 2000, QUIET).kit for name in ("one", "two")]
    for kit in kits:
        note = PartsNote.beside(kit / part_name(bundle.name, 1))
        assert note is not None
        lies: dict[str, dict[str, Any]] = {
            "sizes": {"part_size": 1_000_000},
            "count": {"parts": note.parts[:1], "size": 2000},
            "other": {"size": 7},
        }
        (kit / PARTS_FILE).write_bytes(note.model_copy(update=lies.get(lie)).to_bytes() if lie != "junk" else b"{")
    (kits[0] / part_name(bundle.name, 2)).unlink()
    (kits[1] / part_name(bundle.name, 3)).unlink()
    repair(kits[0], kits[1], None, QUIET)
    assert joined(kits[0], bundle.name) == bundle.right


def test_a_link_is_replaced_and_never_written_through(
    bundle: Bundle, copies: tuple[Path, Path], tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    data = bytearray(bundle.right)
    data[3000:3400] = bytes(400)
    victim.write_bytes(data)
    path = locate_bundle(copies[0])
    path.unlink()
    path.symlink_to(victim)
    (copies[0] / f"{bundle.name}.repair.partial").symlink_to(tmp_path)
    with pytest.raises(OSError):
        repair(copies[0], copies[1], None, QUIET)
    (copies[0] / f"{bundle.name}.repair.partial").unlink()
    repair(copies[0], copies[1], None, QUIET)
    assert victim.read_bytes() == data and not path.is_symlink() and path.read_bytes() == bundle.right


def test_refuses_what_is_no_bundle(copies: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refusal(lambda: repair(tmp_path / "empty", copies[0], None, QUIET)).id == "not-a-bundle"
    assert refusal(lambda: repair(tmp_path / "none", copies[0], None, QUIET)).id == "input-missing"
    os.mkfifo(tmp_path / "pipe.bundle.tar.zst")
    assert refusal(lambda: repair(tmp_path / "pipe.bundle.tar.zst", copies[0], None, QUIET)).id == "input-missing"


def test_a_huge_hollow_copy_costs_neither_time_nor_memory(bundle: Bundle, copies: tuple[Path, Path]) -> None:
    with locate_bundle(copies[1]).open("r+b") as file:
        file.truncate(2**42)
    with locate_bundle(copies[0]).open("r+b") as file:
        file.truncate(len(bundle.right) - 10)
    made: Repaired = repair(*copies, None, QUIET)
    assert made.size == len(bundle.right) and joined(copies[0], bundle.name) == bundle.right
