"""``bundle push`` and ``bundle pull`` on the command line: what is said, as JSON too, and how each refusal ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bundler.cli import main
from tests.unit.trust.keys import key, root

from .conftest import LOGIN, Distribution, Start
from .shelf import TAG, Shelf, files

pytestmark = pytest.mark.e2e


@pytest.fixture
def place(shared_registry: Distribution, kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A release that has been pushed; the working folder has the keys of who signed it, and of a stranger."""
    monkeypatch.chdir(tmp_path)
    for name in ("release", "stranger"):
        Path(f"{name}.pub").write_bytes(key(name).public_pem)
    Path("root.json").write_bytes(root("release", "colleague", threshold=2))
    where = Shelf.at(shared_registry.address.host, kit, tmp_path)
    where.push()
    return str(where.place)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the one JSON object, and what people see without ``--json``."""
    capsys.readouterr()
    code = main([*words, "--json"])
    value = json.loads(capsys.readouterr().out)
    return code, value, capsys.readouterr().err


def test_push_and_pull_tell_what_they_did_and_did_not_check(
    place: str, kit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, pushed, _ = said(capsys, "push", str(kit), place)
    assert code == 0 and pushed["reference"] == place and pushed["sent"] == 0
    assert pushed["not_checked"] == ["who signed"] and pushed["signers"] == []
    assert pushed["attached"][:2] == ["signatures/colleague.sigstore.json", "signatures/release.sigstore.json"]
    code, pulled, _ = said(capsys, "pull", place)
    assert code == 0 and pulled["manifest"] == pushed["manifest"] and pulled["digest"] == pushed["digest"]
    assert pulled["not_checked"] == ["who signed"] and pulled["parts"] == 1
    assert files(Path(pulled["kit"])) == files(kit) and Path(pulled["bundle"]).parent == Path(pulled["kit"])
    by_digest = f"{place.rpartition(':')[0]}@{pushed['manifest']}"
    code, again, _ = said(capsys, "pull", by_digest, "--trust", "root.json", "--output", "again")
    assert code == 0 and again["not_checked"] == []
    assert {signer["name"] for signer in again["signers"]} == {"colleague", "release"}
    code, signed, _ = said(capsys, "push", str(kit), place, "--key", "release.pub")
    assert code == 0 and [signer["name"] for signer in signed["signers"]] == ["release"]


@pytest.mark.parametrize(
    ("words", "code", "id", "message", "hint"),
    [
        ("pull PLACE --key stranger.pub", 5, "no-valid-signature", "", ""),
        ("push KIT PLACE --key stranger.pub", 5, "no-valid-signature", "", ""),
        ("pull PLACE-no", 2, "release-not-found", "PLACE-no does not exist", "bundle push puts it there"),
        ("pull PLACE --trust root.json --key release.pub", 2, "bad-option", "whom to trust", "--trust ROOT.JSON"),
        ("pull REPO:sealift-web", 3, "not-a-release", "no artifactType", "what bundle push has put there"),
        ("pull REPO", 2, "bad-option", "not a place in a registry", "oci://REGISTRY/REPOSITORY:TAG"),
        ("push KIT REPO@sha256:DIGEST", 2, "bad-option", "no tag to push to", "oci://REGISTRY/REPOSITORY:TAG"),
        ("push KIT REPO:sealift-web", 2, "output-exists", "holds something else", "--force"),
        ("push nothing PLACE", 4, "media-unreadable", "", ""),
        ("pull oci://127.0.0.1:1/a/b:1", 9, "registry-unreachable", "cannot be reached", "is it running"),
        ("push KIT oci://127.0.0.1:1/a/b:1", 9, "registry-unreachable", "nothing accepts", "is it running"),
        ("pull PLACE --part-size 3", 2, "bad-option", "is no size of a part", "700MB"),
        ("pull PLACE --ca root.json", 7, "certificate-missing", "it holds no certificate", "PEM"),
    ],
)
def test_refusals_end_with_their_code_and_a_way_out(
    place: str,
    shared_registry: Distribution,
    kit: Path,
    capsys: pytest.CaptureFixture[str],
    words: str,
    code: int,
    id: str,
    message: str,
    hint: str,
) -> None:
    shelf = Shelf.at(shared_registry.address.host, kit, kit)
    web, client = shelf.release.image("web"), shared_registry.client()
    raw = client.manifest(shelf.place.repository, web.digest) or b""
    client.put_manifest(shelf.place.repository, "sealift-web", web.manifests[-1].media_type, web.digest, raw)
    meant = {"PLACE": place, "REPO": place.rpartition(":")[0], "KIT": str(kit), "DIGEST": "0" * 64}
    for word, what in meant.items():
        words, message = words.replace(word, what), message.replace(word, what)
    ended, value, _ = said(capsys, *words.split())
    error = value["error"]
    assert (ended, error["code"], error["id"]) == (code, code, id), value
    assert message in error["message"] and hint in error["hint"] and error["hint"]
    assert main(words.split()) == code
    shown = capsys.readouterr().err
    assert f"error: {error['message']}" in shown and f"hint: {error['hint']}" in shown
    assert not Path("dist/board-v2.1.0").exists()


def test_login_that_is_missing_or_wrong_is_named_without_its_secret(
    start_registry: Start,
    password_config: dict[str, Any],
    kit: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from .pulling import docker_config

    registry = start_registry(password_config)
    where = f"oci://{registry.address.host}/releases/board:{TAG}"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    for words in (["push", str(kit), where], ["pull", where]):
        code, value, _ = said(capsys, *words)
        assert (code, value["error"]["id"]) == (9, "registry-login")
        assert "there is none" in value["error"]["message"] and "docker login" in value["error"]["hint"]
    wrong = type(LOGIN)(LOGIN.user, "not the password")
    for name, text in docker_config(tmp_path / "docker", registry.address.host, wrong).items():
        monkeypatch.setenv(name, text)
    for words in (["push", str(kit), where], ["pull", where]):
        code, value, _ = said(capsys, *words)
        assert (code, value["error"]["id"]) == (9, "registry-login")
        assert "not the password" not in json.dumps(value)
