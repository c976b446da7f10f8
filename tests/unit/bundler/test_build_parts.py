"""``bundle build --part-size``: cut as it is written; joined, it is the one file, and checked again like it."""

from __future__ import annotations

import io
import json
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.build import Request, build
from bundler.built import Built
from bundler.check import check
from bundler.cli import main
from bundler.durable import PARTIAL
from bundler.signing.sign import generate
from bundler.writing import press
from bundler.writing import reuse as reusing
from bundler.writing.parts import Parts
from bundler.writing.reuse import Earlier, Reuse
from installer.bundle.parts import MAX_PARTS, PARTS_FILE, PartsNote, part_name
from installer.errors import SealiftError
from installer.talk import Talk
from tests.unit.bundler.layouts import make_product

QUIET = Talk(quiet=True)
PART = 4096


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    for name in ("SEALIFT_KEY", "SEALIFT_PASSPHRASE", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    manifest = make_product(tmp_path)
    generate(tmp_path, "release", "word")
    keys = (tmp_path / "release.key",)
    return Request("v2.1.0", tmp_path, keys=keys, installer=manifest.parent / "install", output=tmp_path / "out")


def make(request: Request) -> Built:
    return build(request, lambda _: "word", QUIET)


def joined(built: Built) -> bytes:
    return b"".join(part.read_bytes() for part in sorted(built.kit.glob("*.bundle.tar.zst.[0-9]*")))


def test_parts_are_cut_as_they_are_written_and_join_to_the_one_file(asked: Request, tmp_path: Path) -> None:
    whole = make(replace(asked, output=tmp_path / "whole"))
    cut = make(replace(asked, part_size=PART))
    assert joined(cut) == whole.bundle.read_bytes()
    assert cut.parts == len(list(cut.kit.glob("*.bundle.tar.zst*"))) > 2
    assert cut.bundle.name.endswith(".001") and cut.size == whole.size
    note = PartsNote.beside(cut.bundle)
    assert note is not None and (note.size, note.part_size, len(note.parts)) == (whole.size, PART, cut.parts)
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=cut.kit, check=True)
    assert "[0-9]* | tar --zstd -xf -" in (cut.kit / "README.txt").read_text()
    assert not list(cut.kit.rglob(f"*{PARTIAL}"))


def test_json_of_a_build_names_the_first_part_and_how_many_there_are(
    asked: Request, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(asked.root)
    monkeypatch.setenv("SEALIFT_PASSPHRASE", "word")
    (asked.root / "manifests/board/helper").write_bytes(random.Random(1).randbytes(200_000))
    words = ["build", "v2.1.0", "--key", "release.key", "--installer", str(asked.installer), "--json", "--part-size"]
    assert main([*words, "64KiB"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["parts"] == len(list(Path(said["kit"]).glob("*.bundle.tar.zst.[0-9]*"))) > 3
    assert Path(said["bundle"]).name.endswith(".001")
    assert main([*words, "1KiB"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["id"] == "bad-option"


def test_parts_are_reproducible_and_what_differs_is_named(asked: Request, tmp_path: Path) -> None:
    cut = make(replace(asked, part_size=PART))
    assert check(asked, cut.kit, QUIET, {}).reproducible
    (tmp_path / "manifests/board/UPGRADE.md").write_text("other words\n")
    found = check(asked, cut.kit, QUIET, {})
    assert [line.partition(":")[0] for line in found.differences] == ["docs/UPGRADE.md"]


def test_parts_stand_in_for_the_one_file_and_give_their_members_to_the_next_build(asked: Request) -> None:
    make(replace(asked, part_size=PART))
    again = make(asked)
    assert [path.name for path in again.kit.glob("*.bundle.tar.zst*")] == [again.bundle.name]
    assert not (again.kit / PARTS_FILE).exists()
    cut = make(replace(asked, part_size=PART))
    with Reuse([cut.bundle]) as reuse:
        found = {name for name, member in cut.assembly.release.members() if name in reuse._bundles[0].places}
    assert found == set(cut.assembly.parts)


def test_an_interrupted_build_in_parts_leaves_all_its_parts_for_the_next(
    asked: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = replace(asked, part_size=PART)
    right = joined(make(wish))
    members, count = reusing.Reuse.find, 0

    def find(self: Reuse, *arguments: object) -> Earlier | None:
        nonlocal count
        count += str(arguments[0]).startswith("blobs/")
        if count == 8:
            raise KeyboardInterrupt
        return members(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(reusing.Reuse, "find", find)
        patch.setattr(press, "_BATCH", 0)
        make(wish)
    left = sorted(path.name for path in (asked.output / f"board-v2.1.0{PARTIAL}").iterdir())
    assert len(left) > 1 and left == [part_name("leftover.bundle.tar.zst", n) for n in range(1, len(left) + 1)]
    earlier = Earlier.open(asked.output / f"board-v2.1.0{PARTIAL}" / left[0])
    assert earlier is not None and earlier.places and earlier.same_encoder
    earlier.reader.close()
    assert joined(make(wish)) == right
    assert [path.name for path in asked.output.iterdir()] == ["board-v2.1.0"]


def test_a_damaged_earlier_bundle_costs_a_second_beginning_and_no_wrong_byte(asked: Request, tmp_path: Path) -> None:
    wish = replace(asked, part_size=PART)
    before = make(replace(wish, output=tmp_path / "before"))
    places = Earlier.open(before.bundle)
    assert places is not None
    places.reader.close()
    victim = before.bundle.with_name(part_name(before.bundle.name.removesuffix(".001"), 2))
    data = bytearray(victim.read_bytes())
    data[100:3000] = bytes(2900)
    victim.write_bytes(data)
    words = io.StringIO()
    made = build(replace(wish, reuse=(before.bundle,)), lambda _: "word", Talk(err=words))
    assert "is damaged, so nothing is taken from it" in words.getvalue()
    clean = make(replace(asked, output=tmp_path / "whole"))
    assert joined(made) == clean.bundle.read_bytes()


def test_refuses_more_parts_than_the_format_has_names_for(asked: Request, tmp_path: Path) -> None:
    with pytest.raises(SealiftError) as caught:
        make(replace(asked, part_size=8))
    assert caught.value.id == "bad-option" and "999" in caught.value.message
    assert list(asked.output.iterdir()) == []
    with Parts(tmp_path, "p.bundle.tar.zst", 2) as out, pytest.raises(SealiftError) as caught:
        out.write(bytes(2 * MAX_PARTS + 1))
    assert caught.value.id == "bad-option"
