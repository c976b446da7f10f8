"""``bundle repair`` from media with sectors that cannot be read: heals what the other copy has, and names the rest."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from bundler.cli import main
from bundler.media.pack import pack
from bundler.repair.verb import repair
from bundler.verification import verify_media
from installer.bundle.archive import locate_bundle
from installer.bundle.parts import part_name
from installer.errors import SealiftError
from tests.unit.repair.drive import Drive, reading
from tests.unit.repair.test_repair import Bundle, Ear, content, frames_of, joined
from tests.unit.trust.keys import policy
from tests.unit.trust.media import QUIET, make_kit

SEED = 20261128


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    kit = make_kit(tmp_path_factory.mktemp("product"), "release")
    return Bundle(kit, locate_bundle(kit).read_bytes(), frames_of(locate_bundle(kit)))


@pytest.fixture
def copies(bundle: Bundle, tmp_path: Path) -> tuple[Path, Path]:
    for name in ("one", "two"):
        shutil.copytree(bundle.kit, tmp_path / name)
    return tmp_path / "one", tmp_path / "two"


def scratched(copies: tuple[Path, Path], size: int, sector: int, seed: int, both: int = 0) -> dict[Path, set[int]]:
    """Half of all sectors bad in the one copy, the other half in the other one, and ``both`` of them in both."""
    dice, numbers = random.Random(seed), list(range(-(-size // sector)))
    dice.shuffle(numbers)
    half = len(numbers) // 2
    one, two = set(numbers[:half]), set(numbers[half:])
    two |= set(dice.sample(sorted(one), both))
    return {locate_bundle(copies[0]): one, locate_bundle(copies[1]): two}


@pytest.mark.parametrize("short", [False, True], ids=["at-once", "short"])
@pytest.mark.parametrize("sector", [2048, 4096])
def test_heals_when_each_sector_can_be_read_on_one_of_them(
    bundle: Bundle, copies: tuple[Path, Path], tmp_path: Path, sector: int, short: bool
) -> None:
    for seed in range(SEED, SEED + 4):
        drive = Drive(scratched(copies, len(bundle.right), sector, seed), sector, short)
        out = tmp_path / f"out-{seed}"
        with reading(drive):
            made = repair(copies[0], copies[1], out, QUIET)
        assert {path for path, _ in drive.failed} == {str(path) for path in drive.bad}
        assert joined(out, bundle.name) == bundle.right
        assert verify_media(out, policy("release"), QUIET)
        assert made.healed > 0
        assert {Path(str(one["file"])) for one in made.unreadable} == drive.bad.keys()


def test_says_which_bytes_of_which_copy_could_not_be_read(
    bundle: Bundle, copies: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = map(locate_bundle, copies)
    with reading(Drive({one: {1, 2}, two: {3}})):
        assert main(["--json", "repair", str(copies[0]), "--from", str(copies[1])]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["unreadable"] == [
        {"file": str(one), "from": 2048, "to": 6143},
        {"file": str(two), "from": 6144, "to": 8191},
    ]
    assert f"{one}: bytes 2048 to 6143 cannot be read" in said.err
    assert one.read_bytes() == bundle.right
    assert main(["--json", "repair", str(copies[0]), "--from", str(copies[1])]) == 0
    assert json.loads(capsys.readouterr().out)["unreadable"] == []


@pytest.mark.parametrize("sector", [2048, 4096])
def test_names_the_sectors_that_neither_can_read_and_changes_nothing(
    bundle: Bundle, copies: tuple[Path, Path], sector: int
) -> None:
    for seed in range(SEED, SEED + 4):
        bad = scratched(copies, len(bundle.right), sector, seed, both=1)
        (lost,) = set.intersection(*bad.values())
        before = content(copies[0])
        talk = Ear(quiet=True)
        try:
            with reading(Drive(bad, sector)):
                repair(copies[0], copies[1], None, talk)
        except SealiftError as error:
            assert (error.id, error.exit_code) == ("beyond-repair", 4)
            assert content(copies[0]) == before
            for one in talk.lost:
                assert one["from"] < (lost + 1) * sector and lost * sector <= one["to"], (seed, lost, one)
                within = lost * sector <= one["from"] <= one["to"] < (lost + 1) * sector
                assert within or not one["exact"], (seed, lost, one)
        else:  # it held nothing but what follows from the list
            assert joined(copies[0], bundle.name) == bundle.right
            shutil.rmtree(copies[0])
            shutil.copytree(bundle.kit, copies[0])


def test_heals_parts_of_which_single_sectors_and_the_files_beside_them_cannot_be_read(
    bundle: Bundle, tmp_path: Path
) -> None:
    kits = [pack(bundle.kit, tmp_path / name, 5000, QUIET).kit for name in ("one", "two")]
    bad = {kits[0] / name: {0} for name in ("parts.json", "SHA256SUMS", "README.txt", "install")}
    bad |= {path: {0} for path in (kits[0] / "signatures").iterdir()}
    bad |= {kits[0] / part_name(bundle.name, 2): {0}, kits[1] / part_name(bundle.name, 2): {1}}
    with reading(Drive(bad)):
        made = repair(kits[0], kits[1], tmp_path / "out", QUIET)
    assert joined(tmp_path / "out", f"{bundle.name}.") == bundle.right
    assert made.parts == len(list((tmp_path / "out").glob("*.bundle.tar.zst.*")))
    assert verify_media(tmp_path / "out", policy("release"), QUIET)


def test_a_part_whose_beginning_cannot_be_read_is_no_reason_to_stop(bundle: Bundle, tmp_path: Path) -> None:
    """With two parts and no note, where the second one belongs is looked up in the other copy, by its beginning."""
    kits = [pack(bundle.kit, tmp_path / name, 5000, QUIET).kit for name in ("one", "two")]
    (kits[0] / "parts.json").unlink()
    for path in kits[0].glob("*.bundle.tar.zst.*"):
        if path.name not in (part_name(bundle.name, 2), part_name(bundle.name, 3)):
            path.unlink()
    with reading(Drive({kits[0] / part_name(bundle.name, 2): {0, 1, 2}})):
        repair(kits[0], kits[1], tmp_path / "out", QUIET)
    assert joined(tmp_path / "out", bundle.name) == bundle.right
