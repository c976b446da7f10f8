"""``bundle build`` and ``bundle sign`` as an identity, against an instance on loopback; and what they refuse."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bundler.build import Request, build
from bundler.built import Built
from bundler.cli import main
from bundler.signing.keyless import Asked, KeylessSigner, open_keyless
from bundler.trust.trust import Named, RootPlan, make_root
from installer.bundle.signers import Identity, PublicKey
from installer.bundle.trust import TrustPolicy
from installer.errors import SealiftError
from tests.keyless.instance import IDENTITY, Instance
from tests.keyless.services import FULCIO, REKOR, TSA, Services, serving
from tests.unit.bundler.layouts import make_product
from tests.unit.trust.keys import EXPIRES, key
from tests.unit.trust.media import QUIET, Stick, make_kit, write_key

PAYLOAD = b'{"type":"a release"}\n'


def yesterday() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


@pytest.fixture(scope="module")
def running() -> Iterator[Services]:
    with serving(Instance(yesterday())) as services:
        yield services


@pytest.fixture
def services(running: Services) -> Services:
    running.broken.clear()
    running.seen.clear()
    return running


def config(services: Services, folder: Path) -> Path:
    path = folder / "client-trust-config.json"
    path.write_text(json.dumps(services.trust_config()))
    return path


def asked(services: Services, folder: Path, **more: Any) -> Asked:
    (folder / "token").write_text(services.token(**more) + "\n")
    return Asked(None, folder / "token", config(services, folder))


def signer(services: Services, folder: Path, **more: Any) -> KeylessSigner:
    return open_keyless(config(services, folder), services.token(**more))


def policy(services: Services, *others: str, threshold: int = 1, identity: str = IDENTITY) -> TrustPolicy:
    """A root by which the identity, and the keys of these names, may sign."""
    who: list[Named] = [
        Identity(identity, services.issuer, "pipeline"),
        *(PublicKey(key(name).spki, name) for name in others),
    ]
    permit = [PublicKey(key("permit").spki, "permit")]
    plan = RootPlan(who, threshold, permit=permit, keyless=services.instance.trusted_root())
    return TrustPolicy.from_root(make_root(plan, [key("root")], EXPIRES), "root.json")


def built(folder: Path, keyless: Asked, *names: str) -> Built:
    manifest = make_product(folder)
    keys = tuple(write_key(folder, name) for name in names)
    program = manifest.parent / "install"
    request = Request("v2.1.0", folder, keys=keys, installer=program, output=folder / "out", keyless=keyless)
    return build(request, lambda _: "", QUIET)


def refused(act: Any) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        act()
    assert caught.value.hint
    return caught.value


# --- it signs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "timestamps"), [(1, True), (1, False), (2, True)])
def test_signs_with_logs_of_either_version(version: int, timestamps: bool, tmp_path: Path) -> None:
    with serving(Instance(yesterday(), version), timestamps=timestamps) as services:
        made = signer(services, tmp_path).signature_file(PAYLOAD)
        assert len(policy(services).judge("release", PAYLOAD, {"signatures/x.sigstore.json": made})) == 1
        assert services.seen.count(TSA) == timestamps


def test_one_certificate_serves_all_that_is_signed_in_one_go(services: Services, tmp_path: Path) -> None:
    """So that a release that takes long to write needs no token that lasts as long."""
    one = signer(services, tmp_path)
    assert one.signature_file(PAYLOAD) != one.signature_file(b"the program")
    assert services.seen.count(FULCIO) == 1 and services.seen.count(REKOR) == 2


def test_builds_a_release_that_an_identity_has_signed(services: Services, tmp_path: Path) -> None:
    made = built(tmp_path, asked(services, tmp_path))
    stick = Stick(made.kit)
    found = stick.verify(policy(services), demands_program=True)
    assert found.as_json()["signers"] == [{"identity": IDENTITY, "issuer": services.issuer, "name": "pipeline"}]
    assert "signature of install" in found.checked and not found.not_checked
    page = (made.kit / "README.txt").read_text()
    assert f"--certificate-identity {IDENTITY}" in page and "release.pub" not in page
    name = "release-pipeline-vendor.example.sigstore.json"
    assert f"look/signatures/{name}" in page.replace('"$look/', "look/") and (made.kit / "signatures" / name).is_file()


def test_builds_a_release_that_a_key_and_an_identity_have_signed(services: Services, tmp_path: Path) -> None:
    made = built(tmp_path, asked(services, tmp_path), "release")
    assert made.signers == ("release", "release-pipeline-vendor.example")
    assert len(Stick(made.kit).signers(policy(services, "release", threshold=2))) == 2
    assert "release.pub" in (made.kit / "README.txt").read_text()


def test_token_is_in_nothing_that_is_written_or_said(
    services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keyless = asked(services, tmp_path)
    token = (tmp_path / "token").read_text().strip()
    made = built(tmp_path, keyless)
    services.broken.add(FULCIO)
    error = refused(lambda: open_keyless(config(services, tmp_path), token).signature_file(PAYLOAD))
    said = capsys.readouterr()
    texts = [str(error), error.hint, said.out, said.err, repr(Asked(token)), repr(signer(services, tmp_path))]
    for part in token.split("."):
        assert not [text for text in texts if part in text]
        assert not [path for path in made.kit.rglob("*") if path.is_file() and part.encode() in path.read_bytes()]


def test_identity_countersigns_a_release_once(services: Services, tmp_path: Path) -> None:
    stick = Stick(make_kit(tmp_path, "release"))
    made = stick.sign(signer(services, tmp_path))
    assert made.release is not None and made.program is not None
    assert len(stick.signers(policy(services, "release", threshold=2))) == 2
    assert stick.sign(signer(services, tmp_path)).files == []


def test_two_identities_of_one_name_have_files_of_their_own(services: Services, tmp_path: Path) -> None:
    stick = Stick(make_kit(tmp_path, "release"))
    for identity in ("a@vendor.example", "A@vendor.example"):
        assert len(stick.sign(signer(services, tmp_path, identity=identity)).files) == 2
    assert len(list((stick.folder / "signatures").iterdir())) == 3


# --- the command line ----------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    code = main(["--json", *map(str, words)])
    return code, json.loads(capsys.readouterr().out)


def test_command_line_makes_a_root_and_a_release_by_an_identity(
    services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = make_product(tmp_path / "product")
    write_key(tmp_path, "root")
    (tmp_path / "permit.pub").write_bytes(key("permit").public_pem)
    root = ["--root-key", tmp_path / "root.key", "--permit-key", tmp_path / "permit.pub"]
    who = [
        "--release-identity",
        f"{IDENTITY}@@{services.issuer}",
        "--sigstore-trusted-root",
        config(services, tmp_path),
    ]
    code, value = run(capsys, "trust", "init", *root, *who, "--out", tmp_path / "root.json")
    assert code == 0
    people = [{"identity": IDENTITY, "issuer": services.issuer, "name": "release-pipeline-vendor.example"}]
    assert value["roles"]["release"] == {"threshold": 1, "keys": [], "identities": people}
    monkeypatch.setenv("SEALIFT_IDENTITY_TOKEN", services.token())
    monkeypatch.setenv("SEALIFT_SIGSTORE_CONFIG", str(config(services, tmp_path)))
    request = ["--manifest", manifest, "--installer", manifest.parent / "install", "--output", tmp_path / "out"]
    code, value = run(capsys, "build", "v2.1.0", *request)
    assert (code, value["signers"]) == (0, ["release-pipeline-vendor.example"])
    kit = value["kit"]
    code, value = run(capsys, "inspect", kit)
    name = "signatures/release-pipeline-vendor.example.sigstore.json"
    claim = {"name": name, "identity": IDENTITY, "issuer": services.issuer}
    assert (value["signatures"], value["signers"]) == ([claim], [])
    assert run(capsys, "inspect", kit, "--trust", tmp_path / "root.json")[1]["signers"] == people
    code, value = run(capsys, "verify", kit, "--trust", tmp_path / "root.json")
    assert (code, value["signers"]) == (0, people)
    monkeypatch.setenv("SEALIFT_IDENTITY_TOKEN", services.token("colleague@vendor.example"))
    code, value = run(capsys, "sign", kit)
    assert (code, value["identity"], len(value["files"])) == (0, "colleague@vendor.example", 2)


def test_token_on_the_command_line_is_taken_with_a_warning_and_a_file_without(
    services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kit = make_kit(tmp_path, "release")
    (tmp_path / "token").write_text(services.token("b@vendor.example"))
    for token, warned in ((services.token("a@vendor.example"), True), (str(tmp_path / "token"), False)):
        words = ["sign", kit, "--identity-token", token, "--sigstore-config", config(services, tmp_path)]
        assert main([str(word) for word in words]) == 0
        assert ("can read a token" in capsys.readouterr().err) is warned
    two = ["--identity-token", services.token(), "--identity-token-file", tmp_path / "token"]
    code, value = run(capsys, "sign", kit, *two)
    assert (code, value["error"]["id"]) == (2, "bad-option")


# --- what it refuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [FULCIO, REKOR, TSA])
def test_refuses_when_a_service_does_not_do_its_part_and_writes_nothing(
    services: Services, tmp_path: Path, path: str
) -> None:
    """sigstore only warns of a timestamp that did not come."""
    services.broken.add(path)
    error = refused(lambda: built(tmp_path, asked(services, tmp_path)))
    assert (error.id, int(error.exit_code)) == ("signing-service-failed", 9)
    assert not list((tmp_path / "out").iterdir())


def test_refuses_when_nobody_answers(services: Services, tmp_path: Path) -> None:
    value = services.trust_config()
    value["signingConfig"]["caUrls"][0]["url"] = "http://127.0.0.1:9"
    (tmp_path / "config.json").write_text(json.dumps(value))
    one = open_keyless(tmp_path / "config.json", services.token())
    assert refused(lambda: one.signature_file(PAYLOAD)).id == "signing-service-failed"


def test_refuses_to_wait_for_ever_for_a_service_that_takes_the_question_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundler.signing.keyless.PATIENCE", 0.5)
    with serving(Instance(yesterday()), silent=threading.Event()) as services:
        error = refused(lambda: signer(services, tmp_path).signature_file(PAYLOAD))
        assert services.silent is not None
        services.silent.set()
    assert error.id == "signing-service-failed" and "no answer" in error.message


def test_refuses_a_token_that_the_instance_does_not_take(services: Services, tmp_path: Path) -> None:
    with serving(Instance(yesterday())) as other:
        one = open_keyless(config(services, tmp_path), other.token())
    assert refused(lambda: one.signature_file(PAYLOAD)).id == "signing-service-failed"


def test_refuses_what_an_instance_makes_whose_time_nobody_proves(tmp_path: Path) -> None:
    with serving(Instance(yesterday(), 2), timestamps=False) as services:
        error = refused(lambda: signer(services, tmp_path).signature_file(PAYLOAD))
    assert error.id == "signing-service-failed"


@pytest.mark.parametrize("part", ["certificateAuthorities", "tlogs", "ctlogs", "timestampAuthorities"])
def test_refuses_what_our_own_verifier_would_refuse(services: Services, tmp_path: Path, part: str) -> None:
    """The trusted root is not that of the services: better here than on every host."""
    value = services.trust_config()
    value["trustedRoot"][part] = Instance(yesterday()).trusted_root()[part]
    (tmp_path / "config.json").write_text(json.dumps(value))
    one = open_keyless(tmp_path / "config.json", services.token())
    assert refused(lambda: one.signature_file(PAYLOAD)).id == "signing-service-failed"


@pytest.mark.parametrize("token", ["", "junk", "a.b.c", "ä"])
def test_refuses_what_is_no_token(services: Services, tmp_path: Path, token: str) -> None:
    assert refused(lambda: open_keyless(config(services, tmp_path), token)).id == "identity-token-unusable"


@pytest.mark.parametrize("more", [{"minutes": -6}, {"aud": "somebody else"}])
def test_refuses_a_token_that_has_expired_or_is_for_others(services: Services, tmp_path: Path, more: Any) -> None:
    error = refused(lambda: signer(services, tmp_path, **more))
    assert error.id == "identity-token-unusable" and "audience" in error.hint


def test_refuses_a_token_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("missing", "binary", "."):
        assert refused(Asked(token_file=tmp_path / name).read_token).id == "identity-token-unusable"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"trustedRoot":{}}', "missing", '{"mediaType":"x","trustedRoot":1,"signingConfig":2}']
)
def test_refuses_a_configuration_that_is_none(services: Services, tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    if text != "missing":
        path.write_text(text)
    assert refused(lambda: open_keyless(path, services.token())).id == "sigstore-config-invalid"


def test_refuses_a_configuration_without_services(services: Services, tmp_path: Path) -> None:
    value = services.trust_config()
    for name in ("caUrls", "rekorTlogUrls"):
        (tmp_path / "config.json").write_text(
            json.dumps(value | {"signingConfig": {**value["signingConfig"], name: []}})
        )
        assert refused(lambda: open_keyless(tmp_path / "config.json", services.token())).id == "sigstore-config-invalid"


def test_refuses_a_root_of_an_identity_whose_instance_is_none(
    services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_key(tmp_path, "root")
    (tmp_path / "config.json").write_text("{}")
    root = ["--root-key", tmp_path / "root.key", "--out", tmp_path / "root.json"]
    who = ["--release-identity", f"{IDENTITY}@@{services.issuer}", "--sigstore-trusted-root", tmp_path / "config.json"]
    code, value = run(capsys, "trust", "init", *root, *who)
    assert (code, value["error"]["id"]) == (2, "sigstore-config-invalid")
    assert not (tmp_path / "root.json").exists()


@pytest.mark.parametrize(
    "text", ["", "pipeline@vendor.example", "@@https://login.example", "pipeline@vendor.example@@"]
)
def test_refuses_an_identity_without_its_issuer(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    write_key(tmp_path, "root")
    root = ["--root-key", tmp_path / "root.key", "--out", tmp_path / "root.json"]
    code, value = run(capsys, "trust", "init", *root, "--release-identity", text)
    assert (code, value["error"]["id"]) == (2, "bad-option")
