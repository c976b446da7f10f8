"""Media that hold the whole way: each step an upgrade of its own, whatever the hint, a fault or a kill does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installer.bundle.pathnote import PATH_FILE, PathNote
from installer.bundle.strictjson import canonical
from installer.errors import SealiftError
from installer.journey import Journey
from installer.report import Outcome
from installer.state.journal import Journal
from installer.state.state import load_state
from tests.contract import program
from tests.unit.permits.places import Killed
from tests.unit.receipts.house import House


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> House:
    """1.0.0 serves; the way to 2.1.0 is made."""
    house = House.settle(tmp_path_factory.mktemp("house"), "1.0.0")
    house.kit()
    shutil.copytree(house.folder / "site", house.folder / "kept", symlinks=True)
    shutil.copytree(house.folder / "media", house.folder / "kept-media")
    return house


@pytest.fixture
def house(lasting: House) -> Iterator[House]:
    """The same, as it was at first."""
    for name, kept in (("site", "kept"), ("media", "kept-media")):
        shutil.rmtree(lasting.folder / name)
        shutil.copytree(lasting.folder / kept, lasting.folder / name, symlinks=True)
    yield lasting


def media(house: House) -> Path:
    return house.folder / "media/board-v2.1.0-for-hall"


def refused(house: House, **more: Any) -> str:
    with pytest.raises(SealiftError) as caught:
        house.install(media(house), **more)
    assert house.serving() == "1.0.0"
    return caught.value.id


def test_every_step_is_installed_in_order_and_each_can_be_gone_back_to(house: House) -> None:
    assert house.walked(media(house)) == ["installed"] * 4
    assert house.serving() == "2.1.0"
    runs = [json.loads(run.intent)["new"]["version"] for run in Journal(house.state).runs()]
    assert runs == ["1.0.0", "1.1.0", "1.2.0", "2.0.0", "2.1.0"]
    previous = load_state(house.state).products["board"].previous
    assert previous is not None and previous.version == "2.0.0"


def test_again_changes_nothing(house: House) -> None:
    house.install(media(house))
    lines = Journal(house.state).length()
    assert house.walked(media(house)) == ["passed-over"] * 3 + ["unchanged"]
    assert Journal(house.state).length() == lines


def test_what_the_site_runs_already_is_passed_over(house: House) -> None:
    house.install(house.store / "board-v1.1.0")
    house.install(house.store / "board-v1.2.0")
    assert house.walked(media(house)) == ["passed-over"] * 2 + ["installed"] * 2
    assert house.serving() == "2.1.0"


def test_dry_run_shows_the_way_and_changes_nothing(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    lines = Journal(house.state).length()
    assert program.main(["--json", "install", str(house.state), str(media(house)), "--dry-run"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [(step["version"], step["result"]) for step in value["path"]] == [
        ("1.1.0", "planned"),
        ("1.2.0", "to-do"),
        ("2.0.0", "to-do"),
        ("2.1.0", "to-do"),
    ]
    assert value["result"] == "planned" and value["plan"]["new"]["version"] == "1.1.0"
    assert Journal(house.state).length() == lines and house.serving() == "1.0.0"


def test_a_step_that_fails_leaves_the_one_before_it_serving(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    house = House.settle(tmp_path, "1.0.0", v2_0_0="mute")
    kit = house.kit().kit
    code = program.main(["--json", "install", str(house.state), str(kit)])
    value = json.loads(capsys.readouterr().out)
    assert (code, value["error"]["id"], value["result"]) == (10, "upgrade-rolled-back", "rolled-back")
    assert [step["result"] for step in value["path"]] == ["installed", "installed", "rolled-back", "to-do"]
    assert "board 1.2.0 is serving" in value["error"]["message"]
    assert "step 3 of 4, 2.0.0" in value["error"]["message"]
    assert house.serving() == "1.2.0"


def test_the_same_command_goes_on_where_it_failed(house: House) -> None:
    def fails(number: int, act: Any) -> None:
        run = Journal(house.state).unfinished()
        if run is not None and json.loads(run.intent)["new"]["version"] == "2.0.0":
            raise SealiftError("engine-failed", "the engine refused", hint="try again")
        act()

    ended = house.install(media(house), fault=fails)
    assert isinstance(ended, Journey) and ended.error is not None
    assert [step["result"] for step in ended.as_json()] == ["installed", "installed", "failed", "to-do"]
    assert house.walked(media(house)) == ["passed-over"] * 2 + ["installed"] * 2
    assert house.serving() == "2.1.0"


def test_killed_in_and_between_steps_the_next_run_gets_there(house: House) -> None:
    count = 0

    def counting(number: int, act: Any) -> None:
        nonlocal count
        count += 1
        act()

    house.install(media(house), fault=counting)
    assert count > 40
    for target in range(1, count + 1, 31):
        seen = 0

        def killed(number: int, act: Any, target: int = target) -> None:
            nonlocal seen
            seen += 1
            if seen == target:
                raise Killed
            act()

        shutil.rmtree(house.folder / "site")
        shutil.copytree(house.folder / "kept", house.folder / "site", symlinks=True)
        with pytest.raises(Killed):
            house.install(media(house), fault=killed)
        ended = house.install(media(house))
        assert isinstance(ended, Journey) and ended.error is None, target
        assert house.serving() == "2.1.0"


def test_verify_checks_every_step_and_says_what_it_cannot(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--json", "verify", str(house.state), str(media(house))]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["verified"], value["version"], len(value["steps"])) == (True, "2.1.0", 4)
    assert "build on" in value["not_checked"][0]
    place = media(house) / steps(house)[3]["folder"]
    bundle = next(place.glob("*.bundle.tar.zst"))
    data = bytearray(bundle.read_bytes())
    data[-2000] ^= 0xFF
    bundle.write_bytes(data)
    assert program.main(["--json", "verify", str(house.state), str(media(house))]) in (3, 4)


def test_only_the_last_step_is_on_trial(house: House) -> None:
    house.install(media(house), within=3600.0)
    product = load_state(house.state).products["board"]
    assert product.trial is not None and product.current is not None and product.current.version == "2.1.0"
    assert product.previous is not None and product.previous.version == "2.0.0"
    with pytest.raises(SealiftError) as caught:
        house.install(house.store / "board-v2.1.0")
    assert caught.value.id == "unconfirmed"


def test_one_step_left_is_an_upgrade_like_any_other(house: House) -> None:
    for version in ("1.1.0", "1.2.0", "2.0.0"):
        house.install(house.store / f"board-v{version}")
    ended = house.install(media(house), stage=True)
    assert isinstance(ended, Journey) and ended.last is not None and ended.last.result == "staged"
    assert isinstance(house.install(house.store / "board-v2.1.0"), Outcome)


def test_refuses_what_is_for_one_release_alone(house: House, tmp_path: Path) -> None:
    assert refused(house, stage=True) == "bad-option"
    assert refused(house, permit=tmp_path / "x.permit.json") == "bad-option"


# The hint


def rewrite(house: House, **changes: Any) -> None:
    place = media(house) / PATH_FILE
    place.write_bytes(canonical(json.loads(place.read_bytes()) | changes))


def steps(house: House) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((media(house) / PATH_FILE).read_bytes())["steps"]
    return found


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "json-invalid"),
        (b"{}\n", "path-note-invalid"),
        (b"x" * 70_000, "path-note-invalid"),
        (b'{"type":"application/vnd.sealift.path.v1+json"}\n', "path-note-invalid"),
    ],
)
def test_refuses_a_hint_that_is_none(house: House, content: bytes, error: str) -> None:
    (media(house) / PATH_FILE).write_bytes(content)
    assert refused(house) == error


@pytest.mark.parametrize("folder", ["../01-x", "/etc", "01-..", "", "01-a/b", "x" * 200, "01-a\n"])
def test_refuses_a_hint_that_names_anything_but_a_folder_beside_it(house: House, folder: str) -> None:
    first, *rest = steps(house)
    rewrite(house, steps=[first | {"folder": folder}, *rest])
    assert refused(house) == "path-note-invalid"


def test_refuses_a_folder_that_is_a_link(house: House) -> None:
    place = media(house) / steps(house)[0]["folder"]
    place.rename(house.folder / "media/elsewhere")
    place.symlink_to(house.folder / "media/elsewhere")
    assert refused(house) == "path-note-differs"


def test_refuses_a_hint_in_a_pipe_or_link(house: House) -> None:
    import os

    place = media(house) / PATH_FILE
    place.unlink()
    os.mkfifo(place)
    assert refused(house) == "path-note-invalid"
    place.unlink()
    place.symlink_to("/dev/zero")
    assert refused(house) == "media-unreadable"


def test_a_hint_that_leaves_a_step_out_is_found_out_before_anything_is_done(house: House) -> None:
    rewrite(house, steps=[one for one in steps(house) if one["version"] != "1.2.0"])
    assert refused(house) == "upgrade-path"


def test_a_hint_that_lies_about_a_folder_is_found_out(house: House) -> None:
    first, second, *rest = steps(house)
    for lie in (
        [first | {"digest": second["digest"]}, second, *rest],
        [first | {"version": "1.1.5"}, second, *rest],
        [first | {"folder": second["folder"]}, second | {"folder": "03-x"}, *rest],
    ):
        rewrite(house, steps=lie)
        assert refused(house) in ("path-note-differs", "path-note-invalid")
    rewrite(house, product="lunch", steps=[first, second, *rest])
    assert refused(house) == "path-note-differs"


def test_steps_in_another_order_are_refused(house: House) -> None:
    folders = [one["folder"] for one in steps(house)]
    turned = list(reversed(steps(house)))
    for old, new in zip(reversed(folders), folders, strict=True):
        (media(house) / old).rename(media(house) / f"x{new}")
    for place in media(house).glob("x0*"):
        place.rename(place.with_name(place.name[1:]))
    rewrite(house, steps=[one | {"folder": name} for one, name in zip(turned, folders, strict=True)])
    assert refused(house) == "path-note-differs"


@pytest.mark.parametrize("number", range(4))
def test_a_step_by_a_stranger_stops_the_walk_before_it_begins(house: House, number: int) -> None:
    place = media(house) / steps(house)[number]["folder"]
    bundle = next(place.glob("*.bundle.tar.zst"))
    data = bytearray(bundle.read_bytes())
    data[300] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(SealiftError) as caught:
        house.install(media(house))
    assert int(caught.value.exit_code) in (3, 4, 5) and house.serving() == "1.0.0"
    assert any(place.name in line for line in caught.value.details)


def test_a_step_whose_content_is_damaged_leaves_the_one_before_it(house: House) -> None:
    place = media(house) / steps(house)[2]["folder"]
    bundle = next(place.glob("*.bundle.tar.zst"))
    data = bytearray(bundle.read_bytes())
    data[-2000] ^= 0xFF
    bundle.write_bytes(data)
    ended = house.install(media(house))
    assert isinstance(ended, Journey) and ended.error is not None and int(ended.error.exit_code) in (3, 4)
    assert house.serving() == "1.2.0"
    assert "step 3 of 4" in ended.error.message


def test_the_note_is_read_back_byte_for_byte(house: House) -> None:
    raw = (media(house) / PATH_FILE).read_bytes()
    note = PathNote.parse(raw)
    assert note.to_bytes() == raw and (note.since, note.site, len(note.steps)) == ("1.0.0", "hall", 4)
    for place in range(len(raw)):
        altered = bytearray(raw)
        altered[place] ^= 1
        try:
            assert PathNote.parse(bytes(altered)).to_bytes() == altered
        except SealiftError:
            continue


def test_a_folder_of_the_way_can_be_installed_by_itself(house: House) -> None:
    ended = house.install(media(house) / steps(house)[0]["folder"])
    assert isinstance(ended, Outcome) and house.serving() == "1.1.0"


def test_a_first_installation_goes_straight_there(tmp_path: Path) -> None:
    house = House.settle(tmp_path)
    made = house.kit()
    assert [step.version for step in made.steps] == ["2.1.0"]
    assert house.walked(made.kit) == ["installed"] and house.serving() == "2.1.0"
