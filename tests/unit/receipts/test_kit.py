"""``bundle kit``: what it puts on the medium, and what it refuses; test_kit_faults.py strikes it everywhere."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bundler import cli
from bundler.delta.since import open_receipt
from bundler.media.stock import Stock
from bundler.media.waykit import Wish, make_kit, program_in
from installer.bundle.archive import BundleReader
from installer.bundle.packing import ALWAYS_CARRIED, Delta, read_packing
from installer.bundle.pathnote import PathNote
from installer.bundle.release import Descriptor, File, Release
from installer.errors import SealiftError
from installer.trust.sitekey import site_fingerprint
from tests.unit.receipts.forge import sealed
from tests.unit.receipts.house import QUIET, House


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> House:
    """1.2.0 serves: two steps to 2.1.0."""
    house = House.settle(tmp_path_factory.mktemp("house"), "1.0.0", "1.1.0", "1.2.0")
    house.receipt()
    return house


@pytest.fixture
def house(lasting: House) -> House:
    shutil.rmtree(lasting.folder / "media", ignore_errors=True)
    return lasting


def make(house: House, version: str = "2.1.0", **more: Any) -> Any:
    signed = open_receipt(house.folder / "hall.receipt", None, QUIET)
    return make_kit(signed, Wish(version, more.pop("store", house.store), house.folder / "media", **more), QUIET)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def bundle(*words: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = cli.main(["--json", *map(str, words)])
    return code, json.loads(capsys.readouterr().out)


def test_medium_holds_each_step_in_a_folder_of_its_own_and_no_program(house: House) -> None:
    made = make(house)
    assert made.kit.name == "board-v2.1.0-for-hall"
    note = PathNote.beside(made.kit)
    assert note is not None and (note.since, [step.version for step in note.steps]) == ("1.2.0", ["2.0.0", "2.1.0"])
    names = {path.name for path in made.kit.iterdir()}
    assert names == {"path.json", "README.txt", "SHA256SUMS", *(step.folder for step in note.steps)}
    for step in note.steps:
        beside = {path.name for path in (made.kit / step.folder).iterdir()}
        assert beside == {f"board-{step.version}-linux-amd64.delta.bundle.tar.zst", "signatures"}
    readme = (made.kit / "README.txt").read_text()
    assert "sealift install /media/usb/board-v2.1.0-for-hall" in readme and "runs 1.2.0" in readme
    for line in (made.kit / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((made.kit / name).read_bytes()).hexdigest() == digest


def is_small(member: File | Descriptor) -> bool:
    """What every bundle carries, whatever a site has."""
    if isinstance(member, File):
        return member.role in ALWAYS_CARRIED
    return member.media_type.endswith("+json")


def test_each_byte_is_there_once_and_nothing_that_the_site_has(house: House) -> None:
    made = make(house)
    seen: list[str] = []
    for step in made.steps:
        (path,) = (made.kit / step.folder).glob("*.bundle.tar.zst")
        with BundleReader(path) as reader:
            release = Release.parse(reader.head.release)
            packing = read_packing(reader.head.packing, release)
        whole = [one.digest for one in packing.carried(release).values() if not is_small(one)]
        seen += [*whole, *(patch.target for patch in packing.patches)]
    assert seen and len(seen) == len(set(seen))
    assert made.receipt.receipt.holds().isdisjoint(seen)


def test_store_without_the_old_bundles_means_no_patches_and_leaves_out_what_the_site_has(
    house: House, tmp_path: Path
) -> None:
    shutil.copytree(house.store / "board-v2.0.0", tmp_path / "store/board-v2.0.0")
    made = make(house, "2.0.0", store=tmp_path / "store")
    (path,) = (made.kit / made.steps[0].folder).glob("*.bundle.tar.zst")
    with BundleReader(path) as reader:
        packing = read_packing(reader.head.packing, Release.parse(reader.head.release))
    assert isinstance(packing, Delta) and packing.patches == ()
    held = made.receipt.receipt.holds()
    assert any(name.startswith("blobs/") and f"sha256:{name[13:]}" in held for name in packing.absent)
    whole = (house.store / "board-v2.0.0" / path.name.replace(".delta", "")).stat().st_size
    assert make(house, "2.0.0").sizes[0] <= made.sizes[0] < whole


def test_same_receipt_and_store_give_the_same_bytes(house: House) -> None:
    made = make(house)
    first = files(made.kit)
    assert files(make(house).kit) == first  # over the one that is there
    assert [path.name for path in (house.folder / "media").iterdir()] == [made.kit.name]


def test_steps_can_be_in_parts(house: House) -> None:
    made = make(house, part_size=70_000)
    for step in made.steps:
        assert list((made.kit / step.folder).glob("*.bundle.tar.zst.001"))
    assert sum(made.sizes) == made.as_json()["size"]


def test_nothing_is_written_where_the_site_runs_it_already(house: House) -> None:
    made = make(house, "1.2.0")
    assert (made.steps, made.as_json()["kit"]) == ((), None)
    assert not (house.folder / "media").exists()


@pytest.mark.parametrize(
    ("version", "error"), [("9.0.0", "release-missing"), ("1.1.0", "kit-no-path"), ("1.0.0", "kit-no-path")]
)
def test_refuses_what_is_not_in_store_or_lies_behind(house: House, version: str, error: str) -> None:
    with pytest.raises(SealiftError) as caught:
        make(house, version)
    assert caught.value.id == error and not (house.folder / "media").exists()


def test_names_the_gap_where_a_release_between_is_not_in_store(house: House, tmp_path: Path) -> None:
    shutil.copytree(house.store / "board-v2.1.0", tmp_path / "store/board-v2.1.0")
    with pytest.raises(SealiftError) as caught:
        make(house, store=tmp_path / "store")
    assert caught.value.id == "kit-no-path" and ">=2.0" in caught.value.message and "1.2.0" in caught.value.message


def test_refuses_two_contents_of_one_version_on_the_way(house: House, tmp_path: Path) -> None:
    shutil.copytree(house.store, tmp_path / "store")
    shutil.copytree(house.vendor.kit("2.0.0", upgrade_from=">=1.2", store="other"), tmp_path / "store/other")
    with pytest.raises(SealiftError) as caught:
        make(house, store=tmp_path / "store")
    assert caught.value.id == "release-ambiguous"
    shutil.copytree(house.vendor.kit("2.1.0", upgrade_from=">=2.0", store="other"), tmp_path / "store/target")
    with pytest.raises(SealiftError) as caught:
        make(house, store=tmp_path / "store")
    assert caught.value.id == "release-ambiguous"


def test_refuses_to_write_over_something_else(house: House) -> None:
    place = house.folder / "media/board-v2.1.0-for-hall"
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text("years of work")
    with pytest.raises(SealiftError) as caught:
        make(house)
    assert caught.value.id == "output-exists" and (place / "thesis.txt").exists()


def test_sealift_that_a_step_brings_counts(tmp_path: Path) -> None:
    house = House.settle(tmp_path, "1.0.0", "1.1.0", "1.2.0")
    shutil.rmtree(house.store / "board-v2.0.0")
    shutil.rmtree(house.store / "board-v2.1.0")
    house.stock("2.0.0", upgrade_from=">=1.2", program="7.0.0")
    house.stock("2.1.0", upgrade_from=">=1.2", needs_sealift=">=6.0")
    assert [step.version for step in house.kit().steps] == ["2.0.0", "2.1.0"]
    (path,) = (house.store / "board-v2.0.0").glob("*.bundle.tar.zst")
    assert program_in(path) == "7.0.0"
    (path,) = (house.store / "board-v1.2.0").glob("*.bundle.tar.zst")
    assert program_in(path) is None


def test_passes_over_what_is_no_bundle(house: House, tmp_path: Path) -> None:
    shutil.copytree(house.store / "board-v2.1.0", tmp_path / "board-v2.1.0")
    shutil.copytree(house.store / "board-v2.1.0", tmp_path / "again")
    (tmp_path / "x.bundle.tar.zst").write_bytes(b"junk")
    shutil.copytree(house.store / "board-v2.0.0", tmp_path / "board-v2.0.0.partial")
    said: list[str] = []
    stock = Stock.read(tmp_path, said.append)
    assert [one.release.version for one in stock.releases] == ["2.1.0"] and len(said) == 1 and "x.bundle" in said[0]


# The command line


def test_says_that_nobody_checked_whose_receipt_it_is(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("kit", "v2.1.0", "--from", house.folder / "hall.receipt", "--store", house.store, "--output")
    code, value = bundle(*words, house.folder / "media", capsys=capsys)
    assert (code, value["not_checked"]) == (0, ["who signed the releases", "who signed the receipt"])
    key = str(site_fingerprint(house.state))
    code, value = bundle(*words, house.folder / "media", "--site-key", key, capsys=capsys)
    assert (code, value["not_checked"], value["site"]) == (0, ["who signed the releases"], "hall")
    assert [step["version"] for step in value["steps"]] == ["2.0.0", "2.1.0"]
    assert cli.main(["receipt", str(house.folder / "hall.receipt")]) == 0
    shown = capsys.readouterr()
    assert "not checked: who signed" in shown.out and "warning: not checked: who signed" in shown.err


def test_a_build_packs_for_the_site_of_a_receipt_in_the_same_go(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = house.vendor.kit("2.0.0", upgrade_from=">=1.2").parents[1]
    monkeypatch.chdir(source)
    key = next(source.glob("*.key"))
    words = ("--manifest", source / "manifests/board/release.yaml", "--key", key, "--installer")
    since = ("--since", house.folder / "hall.receipt", "--store", house.store, "--output", tmp_path)
    code, value = bundle("build", "v2.0.0", *words, source / "manifests/board/install", *since, capsys=capsys)
    assert code == 0, value
    assert value["since"] == ["hall: board 1.2.0"] and Path(value["whole"]).is_dir()
    assert Path(value["bundle"]).name == "board-2.0.0-linux-amd64.delta.bundle.tar.zst"


def test_receipt_verb_knows_sites_by_fingerprint_key_or_folder(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from installer.trust.sitekey import site_key

    (tmp_path / "keys").mkdir()
    public = site_key(house.state).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "keys/hall-7.pub").write_bytes(public)
    place = house.folder / "hall.receipt"
    for known in (str(site_fingerprint(house.state)), tmp_path / "keys", tmp_path / "keys/hall-7.pub"):
        code, value = bundle("receipt", place, "--site-key", known, capsys=capsys)
        assert (code, value["not_checked"]) == (0, [])
        assert value["statement"]["site"] == "hall" and value["held"]["registry"] > 3
    code, value = bundle("receipt", place, capsys=capsys)
    assert (code, value["signed_by"], value["not_checked"]) == (0, None, ["who signed"])
    foreign = tmp_path / "mill.receipt"
    foreign.write_bytes(sealed())
    code, value = bundle("receipt", foreign, "--site-key", tmp_path / "keys", capsys=capsys)
    assert (code, value["error"]["id"]) == (5, "receipt-unknown-site")
    (tmp_path / "empty").mkdir()
    code, value = bundle("receipt", place, "--site-key", tmp_path / "empty", capsys=capsys)
    assert (code, value["error"]["id"]) == (2, "input-missing")
