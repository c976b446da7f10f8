"""Roots as people make them: each holds one key, a stick goes between them, and the commands say who is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bundler import cli
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.digest import Digest
from installer.bundle.release import Release
from installer.bundle.trust import TrustPolicy
from tests.unit.bundler.layouts import make_product
from tests.unit.trust.keys import key
from tests.unit.trust.media import write_key
from tests.unit.trust.roots import names, root


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everybody's keys in one folder."""
    for name in ("ann", "ben", "cleo", "dora", "r1", "r2", "hospital"):
        write_key(tmp_path, name)
        (tmp_path / f"{name}.pub").write_bytes(key(name).public_pem)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bundle(capsys: pytest.CaptureFixture[str]) -> Any:
    """``bundle`` with ``--json``: exit code and the JSON object. A text is split at its blanks."""

    def run(*words: str | Path) -> tuple[int, dict[str, Any]]:
        spelled = [part for word in words for part in (word.split() if isinstance(word, str) else [str(word)])]
        code = cli.main([*spelled, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


INIT = (
    "trust init --root-key ann.key --root-key ben.pub --root-key cleo.pub --root-threshold 2 "
    "--release-key r1.pub --release-key r2.pub --product shop --out root.json"
)


@pytest.fixture
def first(desk: Path, bundle: Any) -> Path:
    """A root of three people, signed by two."""
    assert bundle(INIT)[0] == 0
    assert bundle("trust", "sign", "root.json", "--root-key", "cleo.key")[1]["complete"]
    return desk / "root.json"


def read(path: str | Path, name: str = "root.json") -> TrustPolicy:
    return TrustPolicy.from_root(Path(path).read_bytes(), name)


def test_first_root_with_two_of_three_people_each_at_their_own_machine(desk: Path, bundle: Any) -> None:
    code, drafted = bundle(INIT)
    assert (code, drafted["complete"], drafted["fingerprint"]) == (0, False, None)
    assert drafted["missing"] == ["1 more of its own root keys must sign: ben, cleo"]
    assert [one["name"] for one in drafted["signed"]] == ["ann"]
    code, signed = bundle("trust", "sign", "root.json", "--root-key", "ben.key")
    assert (code, signed["complete"], signed["missing"]) == (0, True, [])
    assert signed["fingerprint"] == str(Digest.of((desk / "root.json").read_bytes()))
    assert names(read("root.json"), "r1") == {"r1"}


def test_draft_is_no_root_for_anybody_yet(desk: Path, bundle: Any) -> None:
    bundle(INIT)
    code, value = bundle("verify", "root.json", "--trust", "root.json")
    assert (code, value["error"]["id"]) == (5, "root-not-self-signed")


def test_third_signature_would_change_the_fingerprint_and_is_not_made(first: Path, bundle: Any) -> None:
    before = first.read_bytes()
    code, value = bundle("trust", "sign", "root.json", "--root-key", "ben.key")
    assert (code, value["complete"], first.read_bytes()) == (0, True, before)


@pytest.mark.parametrize("stranger", ["dora", "r1"])
def test_refuses_the_signature_of_who_holds_no_root_key(desk: Path, bundle: Any, stranger: str) -> None:
    bundle(INIT)
    before = (desk / "root.json").read_bytes()
    code, value = bundle("trust", "sign", "root.json", "--root-key", f"{stranger}.key")
    assert (code, value["error"]["id"], (desk / "root.json").read_bytes()) == (2, "root-invalid", before)


def test_stolen_release_key_is_revoked_by_two_people_on_two_machines(first: Path, bundle: Any) -> None:
    code, drafted = bundle(
        *[
            "trust",
            "rotate",
            "root.json",
            "--revoke",
            "r2",
            "--epoch",
            "+1",
            "--root-key",
            "ann.key",
            "--out",
            "2.root.json",
        ]
    )
    assert (code, drafted["version"], drafted["epoch"], drafted["complete"]) == (0, 2, 2, False)
    assert len(drafted["missing"]) == 2  # of its own, and of the one before
    code, signed = bundle("trust", "sign", "2.root.json", "--root-key", "cleo.key")
    assert (code, signed["complete"]) == (0, True)
    from installer.bundle.roots import current

    second = current(read(first), {2: Path("2.root.json").read_bytes()})
    assert names(second, "r1", "r2") == {"r1"}
    assert {one.name for one in second.roles["installer"].keys} == {"r1"}  # which followed the releases


def test_lost_root_key_is_replaced_by_the_two_others(first: Path, bundle: Any) -> None:
    bundle(
        *[
            "trust",
            "rotate",
            "root.json",
            "--remove-root-key",
            "cleo",
            "--add-root-key",
            "dora.pub",
            "--out",
            "2.root.json",
        ]
    )
    bundle("trust", "sign", "2.root.json", "--root-key", "ann.key")
    code, value = bundle("trust", "sign", "2.root.json", "--root-key", "ben.key")
    assert (code, value["complete"]) == (0, True)
    assert {one["name"] for one in value["roles"]["root"]["keys"]} == {"ann", "ben", "dora"}


def test_new_colleague_signs_the_root_that_names_her_but_does_not_count_for_the_old_one(
    first: Path, bundle: Any
) -> None:
    bundle("trust rotate root.json --add-root-key dora.pub --root-key ann.key --out 2.root.json")
    code, value = bundle("trust", "sign", "2.root.json", "--root-key", "dora.key")
    assert (code, value["complete"]) == (0, False)
    assert value["missing"] == ["1 more of the root keys of version 1 must sign: ben, cleo"]


def test_who_leaves_still_signs_as_holder_of_the_old_root(first: Path, bundle: Any) -> None:
    bundle("trust rotate root.json --remove-root-key cleo --root-key ben.key --out 2.root.json")
    code, value = bundle("trust", "sign", "2.root.json", "--root-key", "cleo.key", "--after", "root.json")
    assert (code, [one["name"] for one in value["follows"]["signed"]]) == (0, ["ben", "cleo"])
    assert value["missing"] == ["1 more of its own root keys must sign: ann"]


def test_customer_is_demanded_for_stable_by_one_option(first: Path, bundle: Any) -> None:
    code, value = bundle(
        *[
            "trust",
            "rotate",
            "root.json",
            "--require",
            "customer=hospital.pub@stable",
            "--root-key",
            "ann.key",
            "--root-key",
            "ben.key",
        ],
        "--out",
        "2.root.json",
    )
    assert (code, value["complete"]) == (0, True)
    (found,) = value["requirements"]
    assert (found["name"], found["channels"], found["threshold"]) == ("customer", ["stable"], 1)
    assert [one["name"] for one in found["keys"]] == ["hospital"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("--revoke nobody", "root-invalid"),
        ("--remove-release-key ann", "root-invalid"),
        ("--revoke r1 --revoke r2", "root-invalid"),
        ("--threshold 3", "root-invalid"),
        ("--root-threshold 4", "root-invalid"),
        ("--add-release-key r1.pub", "root-invalid"),
        ("--drop-requirement customer", "root-invalid"),
        ("--epoch 1", "bad-option"),
        ("--epoch +0", "bad-option"),
        ("--expired never", "bad-option"),
        ("--require customer", "bad-option"),
        ("--require customer=x:hospital.pub", "bad-option"),
        ("--require customer=2:hospital.pub", "root-invalid"),
        ("--add-root-key none.pub", "input-missing"),
        ("--root-key r1.key", "root-invalid"),
    ],
)
def test_refuses_a_rotation_that_cannot_be_meant_and_writes_nothing(
    first: Path, bundle: Any, words: str, error: str
) -> None:
    code, value = bundle("trust", "rotate", "root.json", *words.split(), "--out", "2.root.json")
    assert (code, value["error"]["id"]) == (2, error), value
    assert value["error"]["hint"] and not Path("2.root.json").exists()


def test_never_writes_over_a_root(first: Path, bundle: Any) -> None:
    code, value = bundle("trust rotate root.json --root-key ann.key --out root.json")
    assert (code, value["error"]["id"]) == (2, "output-exists")


def test_shows_by_whom_a_root_is_signed_and_whom_it_names(first: Path, bundle: Any) -> None:
    code, value = bundle("trust", "show", "root.json")
    assert (code, sorted(one["name"] for one in value["signed"])) == (0, ["ann", "cleo"])
    assert {one["name"] for one in value["roles"]["release"]["keys"]} == {"r1", "r2"}
    assert value["product"] == "shop" and value["follows"] is None


# --- the media -----------------------------------------------------------------------------------------------------


def built(bundle: Any, place: Path, *words: str | Path, signer: str = "r1") -> tuple[int, dict[str, Any]]:
    manifest = make_product(place / "product")
    write_key(place, signer)
    found = bundle(
        *("build", "v2.1.0", "--manifest", manifest, "--key", place / f"{signer}.key"),
        *("--installer", manifest.parent / "install", "--output", place / "out", *words),
    )
    assert isinstance(found, tuple)
    return found


def roots_in(folder: Path, product: str = "board") -> Path:
    folder.mkdir()
    for version, signer in ((1, "r1"), (2, "r1"), (3, "r1")):
        (folder / f"{version}.root.json").write_bytes(root(version, signer, product=product))
    return folder


def test_build_carries_the_roots_and_wants_the_newest(tmp_path: Path, bundle: Any) -> None:
    code, value = built(bundle, tmp_path, "--root", roots_in(tmp_path / "roots"))
    assert code == 0, value
    with BundleReader(locate_bundle(Path(value["kit"]))) as reader:
        assert sorted(reader.head.roots) == [1, 2, 3]
        assert Release.parse(reader.head.release).minimum_root_version == 3
    code, value = bundle("verify", value["kit"], "--trust", tmp_path / "roots/1.root.json")
    assert (code, value["verified"]) == (0, True)


def test_program_is_judged_by_the_root_that_the_media_lead_to(tmp_path: Path, bundle: Any) -> None:
    """The key of the first root signs neither release nor program any more; the new one signs both."""
    roots = tmp_path / "roots"
    roots.mkdir()
    (roots / "1.root.json").write_bytes(root(1, "old", product="board"))
    (roots / "2.root.json").write_bytes(root(2, "r1", product="board"))
    code, value = built(bundle, tmp_path, "--root", roots)
    assert code == 0, value
    code, value = bundle("verify", value["kit"], "--trust", roots / "1.root.json")
    assert (code, "signature of install" in value["checked"]) == (0, True), value


def test_build_without_roots_makes_the_bytes_that_it_always_made(tmp_path: Path, bundle: Any) -> None:
    _, value = built(bundle, tmp_path)
    with BundleReader(locate_bundle(Path(value["kit"]))) as reader:
        assert reader.head.roots == {} and Release.parse(reader.head.release).minimum_root_version == 1


def test_build_says_who_must_still_sign_by_the_newest_root(
    tmp_path: Path, bundle: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    roots = tmp_path / "roots"
    roots.mkdir()
    (roots / "1.root.json").write_bytes(root(1, "r1", "r2", threshold=2, product="board"))
    manifest = make_product(tmp_path / "product")
    write_key(tmp_path, "r1")
    words = ["build", "v2.1.0", "--manifest", manifest, "--key", tmp_path / "r1.key", "--root", roots]
    words += ["--installer", manifest.parent / "install", "--output", tmp_path / "out"]
    assert cli.main([*map(str, words)]) == 0
    said = capsys.readouterr().err
    assert "threshold-not-met" in said and "not yet signed by r2" in said


@pytest.mark.parametrize("kind", ["another product", "skipped", "by a stranger", "a draft"])
def test_build_refuses_roots_that_no_host_would_follow(tmp_path: Path, bundle: Any, kind: str) -> None:
    roots = roots_in(tmp_path / "roots", "bank" if kind == "another product" else "board")
    wanted = {
        "another product": "root-invalid",
        "skipped": "root-skipped",
        "by a stranger": "root-chain",
        "a draft": "root-not-self-signed",
    }[kind]
    if kind == "skipped":
        (roots / "2.root.json").unlink()
    if kind == "by a stranger":
        (roots / "3.root.json").write_bytes(root(3, "r1", product="board", holders=("mallory",)))
    if kind == "a draft":
        (roots / "3.root.json").write_bytes(
            root(3, "r1", product="board", holders=("root", "ann"), root_threshold=2, signers=("root",))
        )
    code, value = built(bundle, tmp_path, "--root", roots)
    assert value["error"]["id"] == wanted and code == value["error"]["code"]
    assert not list((tmp_path / "out").glob("*/*.zst")) if (tmp_path / "out").exists() else True
