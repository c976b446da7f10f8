"""``bundle permit`` and ``bundle sign`` on what it wrote: two people on two machines, and what is not signed."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bundler.cli import main
from bundler.trust.permit import DEFAULT_DAYS
from bundler.verbs import permit as permit_verb
from installer.trust.permit import LONGEST, read_permit
from tests.unit.permits.scenes import PRODUCT, SITE, permit, release, root
from tests.unit.trust.media import make_kit, write_key

OLD, NEW = release("1.0.0"), release("1.2.0")
DIGESTS = ("--from", str(NEW.digest), "--to", str(OLD.digest), "--product", PRODUCT)


class Desk:
    """A folder with keys; runs ``bundle``."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        for name in ("officer", "second", "release"):
            write_key(folder, name)

    @property
    def out(self) -> Path:
        return self.folder / "down.permit.json"

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        code = main(["--json", *words])
        return code, json.loads(self.capsys.readouterr().out)

    def permit(self, *words: str, key: str = "officer") -> tuple[int, dict[str, Any]]:
        more = ("--site", str(SITE), "--out", str(self.out), "--key", str(self.folder / f"{key}.key"))
        return self.run("permit", *(words or DIGESTS), *more)

    def sign(self, file: Path, key: str) -> tuple[int, dict[str, Any]]:
        return self.run("sign", str(file), "--key", str(self.folder / f"{key}.key"))


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("SEALIFT_KEY", raising=False)
    return Desk(tmp_path, capsys)


def test_writes_a_permit_that_a_host_takes(desk: Desk) -> None:
    code, said = desk.permit()
    assert code == 0 and said["signers"] == ["officer"]
    found = read_permit(desk.out, root())
    assert [signer.name for signer in found.signers] == ["officer"]
    one = found.permit
    assert (one.product, one.coming_from, one.to, one.site) == (
        PRODUCT,
        str(NEW.digest),
        str(OLD.digest),
        str(SITE),
    )
    assert said["id"] == one.id and said["from"] == one.coming_from and said["expires"] == one.expires


def test_each_permit_has_an_id_of_its_own(desk: Desk) -> None:
    _, first = desk.permit()
    shutil.move(desk.out, desk.folder / "other")
    shutil.move(desk.folder / f"{desk.out.name}.officer.sigstore.json", desk.folder / "gone")
    _, second = desk.permit()
    assert first["id"] != second["id"]


def test_second_person_signs_on_another_machine(desk: Desk, tmp_path: Path) -> None:
    assert desk.permit()[0] == 0
    stick = tmp_path / "stick"
    stick.mkdir()
    for path in desk.folder.glob("down.permit.json*"):
        shutil.copy(path, stick)
    code, said = desk.sign(stick / desk.out.name, "second")
    assert code == 0 and said["files"] == [str(stick / "down.permit.json.second.sigstore.json")]
    assert {signer.name for signer in read_permit(stick / desk.out.name, root(("officer", "second"))).signers} == {
        "officer",
        "second",
    }
    assert desk.sign(stick / desk.out.name, "second")[1]["files"] == [], "once is enough"


def test_reads_digest_and_product_from_a_bundle(desk: Desk, tmp_path: Path) -> None:
    kit = make_kit(tmp_path / "product", "release")
    code, said = desk.permit("--from", "lost", "--to", str(kit))
    assert code == 0 and said["from"] is None and said["product"] == "board"
    assert said["to"] == desk.run("inspect", str(kit))[1]["digest"]


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("--from", str(NEW.digest), "--to", str(OLD.digest)), 2, "permit-wish"),
        (("--from", str(NEW.digest), "--to", str(NEW.digest), "--product", "p"), 2, "permit-wish"),
        (("--from", str(NEW.digest), "--to", "sha256:12", "--product", "p"), 2, "permit-wish"),
        (("--from", "nothing-here", "--to", str(NEW.digest), "--product", "p"), 4, "media-unreadable"),
        ((*DIGESTS, "--days", "400"), 2, "bad-option"),
        ((*DIGESTS, "--out", "plain.json"), 2, "bad-option"),
    ],
)
def test_refuses_what_makes_no_permit_and_writes_nothing(
    desk: Desk, words: tuple[str, ...], code: int, error: str
) -> None:
    before = sorted(desk.folder.iterdir())
    more = () if "--out" in words else ("--out", str(desk.out))
    got, said = desk.run("permit", "--site", str(SITE), *more, "--key", str(desk.folder / "officer.key"), *words)
    assert (got, said["error"]["id"]) == (code, error) and said["error"]["hint"]
    assert sorted(desk.folder.iterdir()) == before


def test_never_writes_over_a_permit(desk: Desk) -> None:
    assert desk.permit()[0] == 0
    before = desk.out.read_bytes()
    assert desk.permit()[1]["error"]["id"] == "output-exists"
    assert desk.out.read_bytes() == before


def test_refuses_to_write_a_permit_that_nobody_signs(desk: Desk) -> None:
    code, said = desk.run("permit", *DIGESTS, "--site", str(SITE), "--out", str(desk.out))
    assert (code, said["error"]["id"]) == (2, "no-signing-key") and not desk.out.exists()


def test_signs_nothing_that_is_no_permit(desk: Desk) -> None:
    desk.out.write_bytes(OLD.to_bytes())
    assert desk.sign(desk.out, "officer")[1]["error"]["id"] == "permit-type"
    desk.out.write_bytes(permit(NEW, OLD).to_bytes() + b" ")
    assert desk.sign(desk.out, "officer")[1]["error"]["id"] == "json-not-canonical"
    desk.out.write_bytes(b"x" * 20_000)
    assert desk.sign(desk.out, "officer")[1]["error"]["id"] == "permit-too-large"
    assert not list(desk.folder.glob("*.sigstore.json"))


def test_other_persons_key_of_the_same_name_gets_a_file_of_its_own(desk: Desk, tmp_path: Path) -> None:
    assert desk.permit()[0] == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_key(elsewhere, "second").rename(elsewhere / "officer.key")
    code, said = desk.run("sign", str(desk.out), "--key", str(elsewhere / "officer.key"))
    assert code == 0 and len(said["files"]) == 1 and said["files"][0] != str(desk.out) + ".officer.sigstore.json"
    assert len(read_permit(desk.out, root(("officer", "second"))).signers) == 2


def test_the_command_bounds_days_as_the_format_does() -> None:
    assert timedelta(days=permit_verb.MAX_DAYS) == LONGEST
    assert permit_verb.DEFAULT_DAYS == DEFAULT_DAYS
