"""Key files that people have already are read; all others are refused, each for its own reason."""

from __future__ import annotations

import ast
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bundler.program.parts import DISTRIBUTIONS
from bundler.signing.sign import load_key
from installer.errors import SealiftError
from tests.unit.trust.keys import cosign_file, cosign_value, der, pem

OURS = ec.derive_private_key(11, ec.SECP256R1())
SPKI = OURS.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
PLAIN = OURS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
OTHER_KINDS = {
    "P-384": ec.derive_private_key(11, ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.from_private_bytes(b"7" * 32),
    "RSA": rsa.generate_private_key(65537, 2048),
}


def word(_: Path) -> str:
    return "word"


def never(_: Path) -> str:
    raise AssertionError("nobody must be asked")


def always(wrong: str) -> Callable[[Path], str]:
    return lambda _: wrong


def refused(path: Path, ask: Callable[[Path], str] = word) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        load_key(path, ask)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


def written(folder: Path, text: str) -> Path:
    path = folder / "k.key"
    path.write_text(text)
    return path


@pytest.mark.parametrize("label", ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"])
@pytest.mark.parametrize("cost", [2**15, 2**16])
def test_opens_key_files_of_cosign(tmp_path: Path, label: str, cost: int) -> None:
    path = cosign_file(tmp_path / "cosign.key", cosign_value(der(OURS), "word", cost), label)
    assert load_key(path, word).spki == SPKI


def test_opens_a_key_that_openssl_wrote_after_its_parameters(tmp_path: Path) -> None:
    sec1 = OURS.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    parameters = pem("EC PARAMETERS", bytes.fromhex("06082a8648ce3d030107"))
    assert load_key(written(tmp_path, parameters + sec1), never).spki == SPKI


def test_opens_a_key_whose_lines_end_as_on_windows(tmp_path: Path) -> None:
    path = cosign_file(tmp_path / "k.key", cosign_value(der(OURS), "word"))
    for text in (path.read_text(), PLAIN):
        path.write_bytes(text.replace("\n", "\r\n").encode())
        assert load_key(path, word).spki == SPKI


def test_refuses_a_wrong_passphrase_of_a_cosign_key(tmp_path: Path) -> None:
    path = cosign_file(tmp_path / "k.key", cosign_value(der(OURS), "word"))
    for wrong in ("", "Word", "word "):
        assert refused(path, always(wrong)).id == "passphrase-wrong"


def test_refuses_a_wrong_passphrase_of_an_encrypted_pkcs8_key(tmp_path: Path) -> None:
    data = OURS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    for wrong in ("", "Word", "x" * 2000):
        assert refused(written(tmp_path, data.decode()), always(wrong)).id == "passphrase-wrong"


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_refuses_keys_of_another_kind_whatever_the_form(tmp_path: Path, kind: str) -> None:
    private: Any = OTHER_KINDS[kind]
    plain = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert refused(written(tmp_path, plain)).id == "key-kind"
    assert refused(cosign_file(tmp_path / "c.key", cosign_value(der(private), "word"))).id == "key-kind"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "junk",
        pem("PUBLIC KEY", SPKI),
        pem("CERTIFICATE", b"x"),
        "\x00" * 100,
        "\u00e9",
        "x" * 70_000,
    ],
    ids=["empty", "junk", "public", "certificate", "zeros", "accent", "large"],
)
def test_refuses_what_is_no_private_key(tmp_path: Path, text: str) -> None:
    assert refused(written(tmp_path, text), never).id == "key-unreadable"


def test_refuses_a_key_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.key", never).id == "key-unreadable"
    assert refused(tmp_path, never).id == "key-unreadable"


@pytest.mark.parametrize("cut", [40, 100, 150, len(PLAIN) - 3])
def test_refuses_a_key_file_that_is_cut_short(tmp_path: Path, cut: int) -> None:
    assert refused(written(tmp_path, PLAIN[:cut]), never).id == "key-damaged"


@pytest.mark.parametrize("label", ["PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"])
def test_refuses_a_key_file_with_other_content(tmp_path: Path, label: str) -> None:
    assert refused(written(tmp_path, pem(label, b"\x30\x03\x02\x01\x00")), never).id == "key-damaged"
    bad = f"-----BEGIN {label}-----\n!!!\n-----END {label}-----\n"
    assert refused(written(tmp_path, bad), never).id == "key-damaged"


def other_cost(value: dict[str, Any], **cost: int) -> None:
    value["kdf"]["params"].update(cost)


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no kdf": lambda v: v.pop("kdf"),
    "kdf a list": lambda v: v.update(kdf=[]),
    "another kdf": lambda v: v["kdf"].update(name="argon2"),
    "another cipher": lambda v: v["cipher"].update(name="none"),
    "costs of gigabytes": lambda v: other_cost(v, N=2**24),
    "no cost at all": lambda v: other_cost(v, N=2),
    "another block size": lambda v: other_cost(v, r=2**20),
    "a short salt": lambda v: v["kdf"].update(salt="AA=="),
    "a short nonce": lambda v: v["cipher"].update(nonce="AAAA"),
    "no base64": lambda v: v.update(ciphertext="?"),
    "nothing encrypted": lambda v: v.update(ciphertext=""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_refuses_a_damaged_key_file_of_cosign(tmp_path: Path, damage: str) -> None:
    value = cosign_value(der(OURS), "word")
    DAMAGES[damage](value)
    assert refused(cosign_file(tmp_path / "k.key", value)).id == "key-damaged"


def test_refuses_a_key_file_of_cosign_that_is_no_json_or_encrypts_no_key(tmp_path: Path) -> None:
    for body in (b"{", b"\xff", b"[]", b'{"kdf":1,"kdf":2}'):
        assert refused(written(tmp_path, pem("ENCRYPTED COSIGN PRIVATE KEY", body))).id == "key-damaged"
    assert refused(cosign_file(tmp_path / "k.key", cosign_value(b"no key", "word"))).id == "key-damaged"


def test_refuses_every_altered_byte_of_what_cosign_encrypted(tmp_path: Path) -> None:
    value = cosign_value(der(OURS), "word")
    box = bytearray(base64.b64decode(value["ciphertext"]))
    for place in (0, 15, 16, len(box) // 2, len(box) - 1):
        box[place] ^= 1
        value["ciphertext"] = base64.b64encode(box).decode()
        assert refused(cosign_file(tmp_path / "k.key", value)).id == "passphrase-wrong"
        box[place] ^= 1


def test_never_shows_key_or_passphrase_in_a_refusal(tmp_path: Path) -> None:
    path = cosign_file(tmp_path / "k.key", cosign_value(der(OURS), "word"))
    error = refused(path, lambda _: "hunter2-secret")
    shown = f"{error.message} {error.hint} {error.details} {error!r}"
    assert "hunter2" not in shown and "ciphertext" not in shown


def test_keeps_what_opens_private_keys_out_of_the_site_program() -> None:
    assert "pynacl" not in DISTRIBUTIONS
    sources = Path(__file__).resolve().parents[3] / "installer"
    for path in sources.rglob("*.py"):
        names = [
            name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        ]
        assert not [name for name in names if name.split(".")[0] == "nacl"], path
