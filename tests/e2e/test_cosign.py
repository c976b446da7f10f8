"""The real cosign, both ways: it accepts what we sign, and we accept, or refuse, what it signs. No network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bundler.build import Request, build
from bundler.signing.sign import load_key
from bundler.trust.trust import NamedKey, RootPlan, make_root
from installer.bundle.trust import TrustPolicy, read_public_key
from installer.errors import SealiftError
from installer.media import open_media
from tests.unit.bundler.layouts import make_product
from tests.unit.trust.keys import EXPIRES, key, policy
from tests.unit.trust.media import QUIET, Stick, changed, make_kit

pytestmark = pytest.mark.e2e
WORD = "pass word"
NO_LOG = ("--use-signing-config=false", "--tlog-upload=false")


@dataclass(frozen=True)
class Cosign:
    """The tool, with a home of its own and nobody to talk to."""

    home: Path

    def __call__(self, *words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        nobody = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
        environment = os.environ | nobody | {"HOME": str(self.home), "COSIGN_PASSWORD": WORD}
        return subprocess.run(
            ["cosign", *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60
        )

    def do(self, *words: str | Path, cwd: Path | None = None) -> None:
        done = self(*words, cwd=cwd)
        assert done.returncode == 0, f"{words}: {done.stderr}"

    def accepts(self, public: Path, signature: Path, file: Path) -> bool:
        words = ("--key", public, "--bundle", signature, "--insecure-ignore-tlog=true", file)
        return self("verify-blob", *words).returncode == 0

    def sign(self, private: Path, file: Path, *more: str, verb: str = "sign-blob") -> bytes:
        """The Sigstore bundle that cosign makes."""
        made = self.home / "made.sigstore.json"
        self.do(verb, "--yes", "--key", private, "--bundle", made, *(more or NO_LOG), file)
        return made.read_bytes()


@pytest.fixture(scope="module")
def cosign(tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    """With ``cosign.key``, made by it, and ``imported.key``, whose key was openssl's, in its home."""
    tool = Cosign(tmp_path_factory.mktemp("home"))
    tool.do("generate-key-pair", cwd=tool.home)
    make = "openssl ecparam -name prime256v1 -genkey -noout -out openssl.pem"
    subprocess.run(make.split(), cwd=tool.home, check=True, capture_output=True)
    tool.do("import-key-pair", "--key", "openssl.pem", "--output-key-prefix", "imported", cwd=tool.home)
    return tool


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kit(tmp_path_factory.mktemp("product"), "release")


@pytest.fixture
def stick(kit: Path, tmp_path: Path) -> Stick:
    return Stick.of(kit, tmp_path / "stick")


@pytest.fixture
def statement(stick: Stick, tmp_path: Path) -> Path:
    """``release.json`` as tar takes it out of the bundle."""
    subprocess.run(["tar", "--zstd", "-xf", stick.bundle, "-C", tmp_path, "release.json"], check=True)
    return tmp_path / "release.json"


@pytest.fixture
def publics(tmp_path: Path) -> dict[str, Path]:
    """Public keys of ours as files."""
    made = {name: tmp_path / f"{name}.pub" for name in ("release", "customer")}
    for name, path in made.items():
        path.write_bytes(key(name).public_pem)
    return made


def both(cosign: Cosign, name: str = "cosign") -> TrustPolicy:
    """A root by which the vendor and the owner of that key of cosign's must sign."""
    spki = read_public_key((cosign.home / f"{name}.pub").read_bytes(), name)
    plan = RootPlan([NamedKey(key("release").spki, "release"), NamedKey(spki, "customer")], threshold=2)
    return TrustPolicy.from_root(make_root(plan, [key("root")], EXPIRES), "root.json")


def passed_over(stick: Stick) -> list[str]:
    return [item.error.id for item in open_media(stick.folder, policy("release")).passed_over]


# --- cosign judges ours --------------------------------------------------------------------------------------------


def test_cosign_accepts_our_signatures_and_countersignatures(
    cosign: Cosign, stick: Stick, statement: Path, publics: dict[str, Path]
) -> None:
    made = stick.sign("customer")
    assert made.release and made.program
    built_in = statement.parent / "signatures/release.sigstore.json"
    subprocess.run(
        ["tar", "--zstd", "-xf", stick.bundle, "-C", statement.parent, "signatures/release.sigstore.json"], check=True
    )
    assert cosign.accepts(publics["release"], built_in, statement)
    assert cosign.accepts(publics["customer"], made.release, statement)
    assert cosign.accepts(publics["customer"], made.program, stick.folder / "install")
    assert not cosign.accepts(publics["release"], made.release, statement)
    assert not cosign.accepts(publics["customer"], made.release, stick.folder / "install")
    statement.write_bytes(statement.read_bytes() + b" ")
    assert not cosign.accepts(publics["customer"], made.release, statement)


@pytest.mark.parametrize("name", ["cosign", "imported"])
def test_key_of_cosign_builds_and_countersigns_releases(
    cosign: Cosign, stick: Stick, tmp_path: Path, name: str
) -> None:
    private, public = cosign.home / f"{name}.key", cosign.home / f"{name}.pub"
    manifest = make_product(tmp_path / "product")
    request = Request(
        "v2.1.0", tmp_path, manifest, (private,), installer=manifest.parent / "install", output=tmp_path / "out"
    )
    built = build(request, lambda _: WORD, QUIET)
    rule = TrustPolicy.from_key(public.read_bytes(), name)
    assert Stick(built.kit).signers(rule) == [name]
    stick.sign(load_key(private, lambda _: WORD))
    assert open_media(stick.folder, rule).verified.signers[0].name == name
    with pytest.raises(SealiftError) as caught:
        load_key(private, lambda _: WORD.upper())
    assert caught.value.id == "passphrase-wrong"


# --- we judge cosign's ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cosign", "imported"])
def test_signature_of_cosign_in_the_media_folder_counts(
    cosign: Cosign, stick: Stick, statement: Path, name: str
) -> None:
    rule = both(cosign, name)
    with pytest.raises(SealiftError) as caught:
        open_media(stick.folder, rule)
    assert caught.value.id == "threshold-not-met"
    made = cosign.sign(cosign.home / f"{name}.key", statement)
    assert cosign.accepts(cosign.home / f"{name}.pub", stick.put("customer.sigstore.json", made), statement)
    assert [signer.name for signer in open_media(stick.folder, rule).verified.signers] == sorted(
        ["release", "customer"],
        key=lambda who: str(next(k.fingerprint for k in rule.roles["release"].keys if k.name == who)),
    )


def test_signature_counts_whichever_services_cosign_was_told_to_do_without(
    cosign: Cosign, stick: Stick, statement: Path
) -> None:
    config = cosign.home / "services.json"
    cosign.do("signing-config", "create", "--out", config)
    made = cosign.sign(cosign.home / "cosign.key", statement, "--signing-config", str(config))
    stick.put("customer.sigstore.json", made)
    assert len(open_media(stick.folder, both(cosign)).verified.signers) == 2
    material = json.loads(made)["verificationMaterial"] | {"tlogEntries": []}
    stick.put("customer.sigstore.json", changed(made, "verificationMaterial", value=material))
    assert len(open_media(stick.folder, both(cosign)).verified.signers) == 2


def test_signature_of_cosign_over_the_program_meets_the_installer_role(
    cosign: Cosign, stick: Stick, statement: Path
) -> None:
    stick.put("customer.sigstore.json", cosign.sign(cosign.home / "cosign.key", statement))
    assert stick.refusal(both(cosign), demands_program=True).message.startswith("install: ")
    proof = cosign.sign(cosign.home / "cosign.key", stick.folder / "install")
    (stick.folder / "install.customer.sigstore.json").write_bytes(proof)
    assert "signature of install" in stick.verify(both(cosign), demands_program=True).checked


def test_refuses_a_signature_of_cosign_over_another_file(cosign: Cosign, stick: Stick) -> None:
    made = cosign.sign(cosign.home / "cosign.key", stick.folder / "README.txt")
    stick.put("customer.sigstore.json", made)
    assert passed_over(stick) == ["signature-of-another"]
    assert stick.refusal(both(cosign)).id == "threshold-not-met"


def test_refuses_a_signature_by_another_key_of_cosign(cosign: Cosign, stick: Stick, statement: Path) -> None:
    stick.put("customer.sigstore.json", cosign.sign(cosign.home / "imported.key", statement))
    assert passed_over(stick) == ["no-valid-signature"]
    assert stick.refusal(both(cosign)).id == "threshold-not-met"


def test_refuses_an_attestation_of_cosign_in_place_of_a_signature(
    cosign: Cosign, stick: Stick, statement: Path
) -> None:
    (cosign.home / "predicate.json").write_text("{}")
    more = ("--predicate", str(cosign.home / "predicate.json"), "--type", "custom", *NO_LOG)
    made = cosign.sign(cosign.home / "cosign.key", statement, *more, verb="attest-blob")
    assert "dsseEnvelope" in json.loads(made)
    stick.put("customer.sigstore.json", made)
    assert passed_over(stick) == ["signature-envelope"]
    assert stick.refusal(both(cosign)).id == "threshold-not-met"


def test_refuses_a_certificate_without_the_proofs_that_belong_to_it(
    cosign: Cosign, stick: Stick, statement: Path
) -> None:
    made = cosign.sign(cosign.home / "cosign.key", statement)
    for material, reason in (
        ({"certificate": {"rawBytes": "MIIB"}}, "signature-certificate"),
        ({"certificate": {"rawBytes": "MIIB"}, "tlogEntries": [{"logIndex": "1"}]}, "signature-field"),
    ):
        stick.put("customer.sigstore.json", changed(made, "verificationMaterial", value=material))
        assert passed_over(stick) == [reason]
        assert stick.refusal(both(cosign)).id == "threshold-not-met"


def test_refuses_the_older_form_of_cosign(cosign: Cosign, stick: Stick, statement: Path) -> None:
    old = cosign.home / "old.json"
    more = ("--new-bundle-format=false", *NO_LOG)
    cosign.do("sign-blob", "--yes", "--key", cosign.home / "cosign.key", "--bundle", old, *more, statement)
    stick.put("customer.sigstore.json", old.read_bytes())
    assert passed_over(stick) == ["signature-field"]


def test_refuses_a_signature_of_cosign_with_any_altered_byte(cosign: Cosign, stick: Stick, statement: Path) -> None:
    good = cosign.sign(cosign.home / "cosign.key", statement)
    rule = both(cosign)
    inside = {"signatures/release.sigstore.json": key("release").signature_file(stick.statement)}
    for place in range(len(good)):
        bad = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        with pytest.raises(SealiftError):
            rule.judge("release", stick.statement, inside | {"signatures/customer.sigstore.json": bad})


def test_refuses_a_key_of_cosign_that_is_not_p256(cosign: Cosign, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    pem = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "rsa.pem").write_bytes(pem)
    cosign.do("import-key-pair", "--key", "rsa.pem", "--output-key-prefix", "rsa", cwd=tmp_path)
    shutil.copy(tmp_path / "rsa.key", tmp_path / "k.key")
    with pytest.raises(SealiftError) as caught:
        load_key(tmp_path / "k.key", lambda _: WORD)
    assert caught.value.id == "key-kind"
