"""``bundle verify`` and ``bundle inspect`` of a whole kit: every step in its order, and what ``--have`` names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundler import cli
from bundler.delta.holdings import Holdings
from bundler.media.pack import pack
from bundler.verification import verify_media
from bundler.waymedia import verify_way
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.digest import Digest
from installer.bundle.packing import Delta, read_packing
from installer.bundle.pathnote import PATH_FILE, PathNote, PathStep
from installer.bundle.release import Release
from installer.errors import SealiftError
from tests import editions
from tests.unit.receipts.forge import sealed
from tests.unit.receipts.house import QUIET, House
from tests.unit.trust.keys import root
from tests.vectors.forge import RELEASE

STEPS = ["01-board-v2.0.0", "02-board-v2.1.0"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """1.2.0 serves; a kit of two steps to 2.1.0 stands in ``media``."""
    house = House.settle(tmp_path_factory.mktemp("house"), "1.0.0", "1.1.0", "1.2.0")
    house.kit()
    return house


@pytest.fixture
def kit(house: House, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(house.folder / "media/board-v2.1.0-for-hall", tmp_path / "usb"))


Ask = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def ask(house: House, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Says a verb of ``bundle`` on the command line, with the vendor's root."""

    def say(verb: str, *words: str | Path) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        trust = () if "--key" in words or "--trust" in words else ("--trust", house.vendor.root()[0])
        code = cli.main(["--json", verb, *map(str, (*words, *trust))])
        return code, json.loads(capsys.readouterr().out)

    return say


def with_receipt(house: House) -> tuple[str | Path, ...]:
    return "--have", house.folder / "hall.receipt", "--store", house.store


def test_every_step_is_checked_with_what_the_receipt_says_and_the_steps_before_it(
    house: House, kit: Path, ask: Ask
) -> None:
    code, value = ask("verify", kit, *with_receipt(house))
    assert (code, value["verified"], value["product"], value["version"]) == (0, True, "board", "2.1.0")
    assert (value["site"], value["since"]) == ("hall", "1.2.0")
    assert [(step["folder"], step["version"]) for step in value["steps"]] == list(
        zip(STEPS, ("2.0.0", "2.1.0"), strict=True)
    )
    assert value["digest"] == value["steps"][-1]["digest"] and value["signers"] == value["steps"][-1]["signers"]
    assert value["not_checked"] == [] and value["passed_over"] == []
    assert {"signatures", "files", "images", "archive", "order"} <= set(value["checked"])
    one_code, one = ask("verify", kit / STEPS[0], *with_receipt(house))
    assert one_code == 0 and value["steps"][0] == {"folder": STEPS[0], **one}


def test_people_see_every_step(house: House, kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", kit, "--trust", house.vendor.root()[0], *with_receipt(house)]
    assert cli.main(list(map(str, words))) == 0
    shown = capsys.readouterr().out
    assert "board 1.2.0 -> 2.0.0 -> 2.1.0, for hall" in shown
    assert [line.split()[-1] for line in shown.splitlines() if line.startswith("step ")] == STEPS


def test_a_kit_alone_is_incomplete_as_a_delta_is(kit: Path, ask: Ask) -> None:
    code, value = ask("verify", kit)
    assert (code, value["error"]["id"]) == (4, "incomplete")
    assert f"{STEPS[0]}, step 1 of 2" in value["error"]["message"] and "--have" in value["error"]["hint"]


def test_what_the_receipt_says_and_nobody_has_read_is_named(house: House, kit: Path, ask: Ask) -> None:
    code, value = ask("verify", kit, "--have", house.folder / "hall.receipt")
    assert code == 0
    assert all("members that sites are said to hold" in line for line in value["not_checked"])
    assert value["not_checked"][0].startswith(f"{STEPS[0]}: ")


def test_a_receipt_of_a_site_that_holds_nothing_is_not_enough(kit: Path, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "mill.receipt").write_bytes(sealed())
    code, value = ask("verify", kit, "--have", tmp_path / "mill.receipt")
    assert (code, value["error"]["id"]) == (4, "incomplete")


@pytest.mark.parametrize("step", STEPS)
def test_a_damaged_step_is_refused_and_named(house: House, kit: Path, ask: Ask, step: str) -> None:
    path = locate_bundle(kit / step)
    data = bytearray(path.read_bytes())
    data[-len(data) // 4] ^= 1
    path.write_bytes(data)
    code, value = ask("verify", kit, *with_receipt(house))
    assert code in (3, 4) and step in value["error"]["message"]


def test_steps_in_another_order_or_place_are_refused(house: House, kit: Path, ask: Ask) -> None:
    (kit / STEPS[0]).rename(kit / "x")
    (kit / STEPS[1]).rename(kit / STEPS[0])
    assert ask("verify", kit, *with_receipt(house))[1]["error"]["id"] == "path-note-differs"
    (kit / "x").rename(kit / STEPS[1])
    code, value = ask("verify", kit, *with_receipt(house))
    assert (code, value["error"]["id"]) == (3, "path-note-differs")
    assert ask("inspect", kit)[1]["error"]["id"] == "path-note-differs"


def test_a_kit_by_strangers_is_refused(kit: Path, ask: Ask, tmp_path: Path, house: House) -> None:
    (tmp_path / "stranger.json").write_bytes(root("stranger"))
    for verb in ("verify", "inspect"):
        code, value = ask(verb, kit, "--trust", tmp_path / "stranger.json")
        assert (code, value["error"]["code"]) == (5, 5)


def test_a_note_that_is_none_is_refused(kit: Path, ask: Ask) -> None:
    (kit / PATH_FILE).write_bytes(b'{"steps": []}')
    for verb in ("verify", "inspect"):
        assert ask(verb, kit)[0] == 3


def test_inspect_names_the_steps_and_says_what_was_not_checked(
    kit: Path, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--json", "inspect", str(kit)]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["verified"], value["signatures_hold"], value["version"]) == (False, False, "2.1.0")
    assert [step["folder"] for step in value["steps"]] == STEPS
    assert value["size"] == sum(step["size"] for step in value["steps"])
    code, signed = ask("inspect", kit)
    assert (code, signed["signatures_hold"], signed["verified"]) == (0, True, False)
    assert cli.main(["inspect", str(kit)]) == 0
    shown = capsys.readouterr().out
    assert "NOT VERIFIED" in shown and all(step in shown for step in STEPS)


# Layers that are patched in one step and patched again in the next


@pytest.fixture
def twice(tmp_path: Path) -> tuple[Path, Path]:
    """1.0.0, and a kit over it in which one layer is patched by both steps; nothing has the one between as a whole."""
    base = editions.tree(70)
    middle = editions.upgraded(base, 71)
    layers = [editions.layer(files) for files in (base, middle, editions.upgraded(middle, 72))]
    whole = [
        editions.write(editions.edition(f"1.{number}.0", {"web": [layer]}), tmp_path / f"whole-{number}")
        for number, layer in enumerate(layers)
    ]
    kit = tmp_path / "kit"
    steps = []
    for number in (1, 2):
        made = pack(whole[number], kit, None, QUIET, [Holdings.of_bundle(whole[number - 1])])
        assert made.delta is not None and [patch.target for patch in made.delta.patches] == [
            editions.sha256(layers[number])
        ]
        place = made.kit.rename(kit / f"{number:02}-p-v1.{number}.0")
        steps.append(PathStep(folder=place.name, version=f"1.{number}.0", digest=str(made.digest)))
    note = PathNote(product="p", site="hall", since="1.0.0", steps=tuple(steps))
    (kit / PATH_FILE).write_bytes(note.to_bytes())
    shutil.rmtree(tmp_path / "whole-1")
    shutil.rmtree(tmp_path / "whole-2")
    return whole[0], kit


def test_a_layer_that_a_step_rebuilds_is_the_base_of_the_next_patch(twice: tuple[Path, Path]) -> None:
    old, kit = twice
    note = PathNote.beside(kit)
    assert note is not None
    found = verify_way(kit, note, RELEASE.policy, QUIET, have=[Holdings.of_bundle(old)])
    assert [folder for folder, _ in found.steps] == [step.folder for step in note.steps]
    assert found.as_json()["not_checked"] == []
    with pytest.raises(SealiftError) as caught:
        verify_media(kit / note.steps[1].folder, RELEASE.policy, QUIET, have=[Holdings.of_bundle(old)])
    assert caught.value.id == "incomplete", "alone, the last step lacks what the first one brings"


def test_a_wrong_patch_in_the_second_step_is_found(twice: tuple[Path, Path]) -> None:
    old, kit = twice
    note = PathNote.beside(kit)
    assert note is not None
    path = locate_bundle(kit / note.steps[1].folder)
    with BundleReader(path) as reader:
        packing = read_packing(reader.head.packing, Release.parse(reader.head.release))
        assert isinstance(packing, Delta) and str(Digest.of(reader.head.release)) == note.steps[1].digest
        while (header := reader.next_header()) is not None and header.name != packing.patches[0].name:
            reader.skip(header.size)
        place = reader.position + packing.patches[0].size // 2
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(SealiftError) as caught:
        verify_way(kit, note, RELEASE.policy, QUIET, have=[Holdings.of_bundle(old)])
    assert caught.value.exit_code in (3, 4)
    assert note.steps[1].folder in caught.value.message
