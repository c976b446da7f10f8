"""Signatures and roots: who has signed, and whether that counts."""

# ruff: noqa: E501 - a table reads best with one row per line
from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from installer.bundle.digest import Digest
from installer.bundle.signature import sigstore_bundle
from installer.bundle.strictjson import canonical
from tests.vectors.forge import INSTALLER, RELEASE, ROOT, SECOND, STRANGER, Forge, Key, demands, root_of
from tests.vectors.vector import Make, Vector, good, signatures

MINE = "signatures/release.sigstore.json"
ORDER = int("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551", 16)


def by(*keys: Key) -> Make:
    return lambda: Forge(keys=keys).bytes()


def document(change: Callable[[dict[str, Any]], object]) -> Make:
    """Another value in the signature file."""

    def edit(made: dict[str, bytes], _: bytes) -> dict[str, bytes]:
        value = json.loads(made[MINE])
        change(value)
        return {MINE: canonical(value)}

    return signatures(edit)


def file(change: Callable[[bytes], bytes]) -> Make:
    """Other bytes of the signature file."""
    return signatures(lambda made, _: {MINE: change(made[MINE])})


def der(change: Callable[[bytes], bytes]) -> Make:
    """Another signature inside a right file."""
    return signatures(
        lambda _, payload: {MINE: sigstore_bundle(change(RELEASE.sign(payload)), Digest.of(payload), RELEASE.spki)}
    )


def numbers(change: Callable[[int, int], tuple[int, int]]) -> Make:
    """Other numbers r and s in the signature."""
    return der(lambda data: encode_dss_signature(*change(*decode_dss_signature(data))))


def negative(data: bytes) -> bytes:
    """A negative s, by hand."""
    r, _ = decode_dss_signature(data)
    number = r.to_bytes(33, "big")
    body = b"\x02\x21" + number + b"\x02\x01\xff"
    return b"\x30" + bytes([len(body)]) + body


def of_other(_: dict[str, bytes], payload: bytes) -> dict[str, bytes]:
    """A right signature, over another release."""
    return {MINE: RELEASE.signature_file(payload.replace(b'"1.0.0"', b'"0.9.0"'))}


def of_other_relabelled(_: dict[str, bytes], payload: bytes) -> dict[str, bytes]:
    """The same, whose file claims to be over this one."""
    return {MINE: sigstore_bundle(RELEASE.sign(b"another"), Digest.of(payload), RELEASE.spki)}


def by_stranger_as_release(_: dict[str, bytes], payload: bytes) -> dict[str, bytes]:
    return {MINE: sigstore_bundle(STRANGER.sign(payload), Digest.of(payload), RELEASE.spki)}


def by_release_as_stranger(_: dict[str, bytes], payload: bytes) -> dict[str, bytes]:
    return {MINE: sigstore_bundle(RELEASE.sign(payload), Digest.of(payload), STRANGER.spki)}


def many(count: int, made: dict[str, bytes], _: bytes) -> dict[str, bytes]:
    return {f"signatures/{number:03}.sigstore.json": made[MINE] for number in range(count)}


def copies(made: dict[str, bytes], _: bytes) -> dict[str, bytes]:
    return {"signatures/a.sigstore.json": made[MINE], "signatures/b.sigstore.json": made[MINE]}


def unsorted(made: dict[str, bytes], _: bytes) -> dict[str, bytes]:
    return {"signatures/b.sigstore.json": made[MINE], "signatures/a.sigstore.json": made[MINE]}


def with_broken(made: dict[str, bytes], _: bytes) -> dict[str, bytes]:
    return {**made, "signatures/zz.sigstore.json": b"{}\n"}


def with_stranger(made: dict[str, bytes], payload: bytes) -> dict[str, bytes]:
    return {**made, "signatures/stranger.sigstore.json": STRANGER.signature_file(payload)}


def spaced(made: dict[str, bytes], _: bytes) -> dict[str, bytes]:
    return {MINE: json.dumps(json.loads(made[MINE]), indent=2).encode()}


def unsigned_broken() -> bytes:
    """Not signed at all, and no JSON: the first refusal counts."""
    forge = Forge(raw=b"\xff")
    forge.edit_signatures = lambda _: {}
    return forge.bytes()


def stale(old: bytes, new: bytes) -> bytes:
    """Another release.json under the signatures of the good one."""
    forge = Forge()
    kept = forge.signatures
    forge.raw = forge.statement.replace(old, new)
    forge.edit_signatures = lambda _: kept
    return forge.bytes()


def hint(value: dict[str, Any], text: str) -> None:
    value["verificationMaterial"]["publicKey"]["hint"] = text


def message(value: dict[str, Any], **fields: str) -> None:
    value["messageSignature"]["messageDigest"].update(fields)


def sig(value: dict[str, Any], text: str) -> None:
    value["messageSignature"]["signature"] = text


def respelled(value: dict[str, Any]) -> None:
    """The same bytes in another base64: the unused bits of the last digit are set."""
    text = value["verificationMaterial"]["publicKey"]["hint"]
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    hint(value, text[:-2] + last[last.index(text[-2]) | 1] + "=")


def certificate(value: dict[str, Any]) -> None:
    value["verificationMaterial"] = {"certificate": {"rawBytes": base64.b64encode(b"x").decode()}}


def keyless(**more: Any) -> Callable[[dict[str, Any]], None]:
    """A signature by a certificate, of the right form; ``more`` stands beside the certificate."""

    def change(value: dict[str, Any]) -> None:
        octets = base64.b64encode(bytes(32)).decode()
        proof = {
            "checkpoint": {"envelope": "x"},
            "hashes": [octets],
            "logIndex": "0",
            "rootHash": octets,
            "treeSize": "1",
        }
        entry = {
            "canonicalizedBody": octets,
            "inclusionProof": proof,
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.1"},
            "logId": {"keyId": octets},
            "logIndex": "0",
        }
        value["verificationMaterial"] = {"certificate": {"rawBytes": octets}, "tlogEntries": [entry], **more}

    return change


def envelope(value: dict[str, Any]) -> None:
    del value["messageSignature"]
    value["dsseEnvelope"] = {"payload": "", "payloadType": "application/vnd.in-toto+json", "signatures": []}


# fmt: off
SIGNATURES = [
    Vector("good-two-signers", "signed by a stranger as well", None, signatures(with_stranger)),
    Vector("good-signed-twice", "two files with the same signature", None, signatures(copies)),
    Vector("good-32-signatures", "as many signatures as there may be", None, signatures(partial(many, 32))),
    Vector("good-signature-spaced", "a signature file with blanks, as other tools write", None, signatures(spaced)),
    Vector("good-two-of-two", "both of two", None, by(RELEASE, SECOND), lambda: root_of(RELEASE, SECOND, threshold=2)),
    Vector("unsigned", "no signature", "unsigned", signatures(lambda m, p: {})),
    Vector("unsigned-broken", "no signature and no JSON: nothing is parsed before trust", "unsigned", unsigned_broken),
    Vector("stranger", "signed by somebody else", "no-valid-signature", by(STRANGER)),
    Vector("stranger-unknown-field", "by somebody else, and with an unknown field", "no-valid-signature", lambda: Forge(keys=(STRANGER,), raw=b'{"x":1}\n').bytes()),
    Vector("stranger-bad-packing", "by somebody else, with a bad packing", "no-valid-signature", lambda: Forge(keys=(STRANGER,), packing=b"x").bytes()),
    Vector("role-of-root", "signed with a key of the root role", "no-valid-signature", by(ROOT)),
    Vector("role-of-installer", "signed with a key of the installer role", "no-valid-signature", by(INSTALLER)),
    Vector("hint-of-stranger", "a right signature that names another key", "no-valid-signature", signatures(by_release_as_stranger)),
    Vector("hint-of-release", "a stranger's signature that names our key", "signature-wrong", signatures(by_stranger_as_release)),
    Vector("of-another", "a right signature over another release", "signature-of-another", signatures(of_other)),
    Vector("of-another-relabelled", "the same, relabelled", "signature-wrong", signatures(of_other_relabelled)),
    Vector("release-changed", "another version number, the old signature", "signature-of-another", partial(stale, b'"1.0.0"', b'"9.9.9"')),
    Vector("release-swapped-case", "one letter of release.json", "signature-of-another", partial(stale, b"where", b"Where")),
    Vector("threshold-one-of-two", "one signature where two are needed", "threshold-not-met", by(RELEASE), lambda: root_of(RELEASE, SECOND, threshold=2)),
    Vector("threshold-key-twice", "one key twice where two are needed", "threshold-not-met", signatures(copies), lambda: root_of(RELEASE, SECOND, threshold=2)),
    Vector("threshold-stranger", "one of ours and a stranger where two are needed", "threshold-not-met", by(RELEASE, STRANGER), lambda: root_of(RELEASE, SECOND, threshold=2)),
    Vector("der-empty", "a signature of no bytes", "signature-base64", der(lambda d: b"")),
    Vector("der-cut", "a signature without its last byte", "signature-wrong", der(lambda d: d[:-1])),
    Vector("der-more", "a signature with a byte too many", "signature-wrong", der(lambda d: d + b"\0")),
    Vector("der-garbage", "no signature", "signature-wrong", der(lambda d: b"not a signature")),
    Vector("der-long-form", "a length spelled in the long form", "signature-wrong", der(lambda d: d[:1] + b"\x81" + d[1:])),
    Vector("der-leading-zero", "a number with a needless zero", "signature-wrong", der(lambda d: b"\x30" + bytes([d[1] + 1]) + b"\x02" + bytes([d[3] + 1]) + b"\0" + d[4:])),
    Vector("ecdsa-zeros", "r = s = 0", "signature-wrong", numbers(lambda r, s: (0, 0))),
    Vector("ecdsa-r-zero", "r = 0", "signature-wrong", numbers(lambda r, s: (0, s))),
    Vector("ecdsa-s-zero", "s = 0", "signature-wrong", numbers(lambda r, s: (r, 0))),
    Vector("ecdsa-ones", "r = s = 1", "signature-wrong", numbers(lambda r, s: (1, 1))),
    Vector("ecdsa-order", "r and s of the order of the curve", "signature-wrong", numbers(lambda r, s: (ORDER, ORDER))),
    Vector("ecdsa-r-order", "r beyond the order", "signature-wrong", numbers(lambda r, s: (r + ORDER, s))),
    Vector("ecdsa-s-order", "s beyond the order", "signature-wrong", numbers(lambda r, s: (r, s + ORDER))),
    Vector("ecdsa-negative", "a negative s", "signature-wrong", der(negative)),
    Vector("ecdsa-swapped", "r and s swapped", "signature-wrong", numbers(lambda r, s: (s, r))),
    Vector("sig-no-json", "a signature file that is no JSON", "json-invalid", file(lambda b: b"\x30\x45")),
    Vector("sig-empty", "an empty signature file", "json-invalid", file(lambda b: b"")),
    Vector("sig-not-utf8", "a signature file in UTF-16", "json-not-utf8", file(lambda b: b.decode().encode("utf-16"))),
    Vector("sig-key-twice", "a key twice in the signature file", "json-duplicate-key", file(lambda b: b.replace(b'{"hint"', b'{"hint":"","hint"'))),
    Vector("sig-deep", "a signature file of 30,000 levels", "json-depth", file(lambda b: b"[" * 30000 + b"]" * 30000)),
    Vector("sig-number", "a fraction in the signature file", "json-number", file(lambda b: b"[1.5]")),
    Vector("sig-surrogate", "half a surrogate pair in the signature file", "json-surrogate", file(lambda b: b'["\\ud800"]')),
    Vector("sig-second-broken", "a broken second signature beside a good one", "signature-field", signatures(with_broken)),
    Vector("sig-list", "a list", "signature-field", file(lambda b: b"[]")),
    Vector("sig-list-of-names", "a list of the fields' names", "signature-field", file(lambda b: b'["mediaType","verificationMaterial","messageSignature"]')),
    Vector("sig-unknown-field", "a field that nobody knows", "signature-field", document(lambda v: v.update(trusted=True))),
    Vector("sig-unknown-inside", "such a field inside", "signature-field", document(lambda v: v["verificationMaterial"]["publicKey"].update(rawBytes=""))),
    Vector("sig-field-gone", "no digest", "signature-field", document(lambda v: v["messageSignature"].pop("messageDigest"))),
    Vector("sig-signature-gone", "a file without its signature", "signature-field", document(lambda v: v["messageSignature"].pop("signature"))),
    Vector("sig-certificate", "a certificate instead of a key", "signature-certificate", document(certificate)),
    Vector("sig-both", "a certificate beside the key", "signature-certificate", document(lambda v: v["verificationMaterial"].update(certificate={}))),
    Vector("sig-envelope", "an envelope instead of a signature", "signature-envelope", document(envelope)),
    Vector("sig-version-2", "Sigstore bundle 0.2", "signature-type", document(lambda v: v.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"))),
    Vector("sig-version-4", "Sigstore bundle 0.4", "signature-type", document(lambda v: v.update(mediaType="application/vnd.dev.sigstore.bundle.v0.4+json"))),
    Vector("sig-version-null", "no kind of bundle", "signature-type", document(lambda v: v.update(mediaType=None))),
    Vector("sig-keyless", "a certificate that nobody here asks for", "no-valid-signature", document(keyless())),
    Vector("sig-timestamps", "timestamps that are no list", "signature-timestamp", document(keyless(timestampVerificationData={"rfc3161Timestamps": {}}))),
    Vector("sig-log", "a log entry that nobody checks", "signature-log-entry", document(lambda v: v["verificationMaterial"].update(tlogEntries=[{}]))),
    Vector("sig-log-null", "log entries that are null", "signature-log-entry", document(lambda v: v["verificationMaterial"].update(tlogEntries=None))),
    Vector("sig-sha-1", "SHA-1", "signature-algorithm", document(partial(message, algorithm="SHA1"))),
    Vector("sig-sha-512", "SHA-512", "signature-algorithm", document(partial(message, algorithm="SHA2_512"))),
    Vector("sig-algorithm-none", "no algorithm", "signature-algorithm", document(partial(message, algorithm=""))),
    Vector("base64-blank", "blanks in base64", "signature-base64", document(lambda v: sig(v, " " + v["messageSignature"]["signature"]))),
    Vector("base64-newline", "a newline in base64", "signature-base64", document(lambda v: sig(v, v["messageSignature"]["signature"] + "\n"))),
    Vector("base64-url", "the alphabet for addresses", "signature-base64", document(lambda v: hint(v, "-_" * 21 + "8="))),
    Vector("base64-open", "no padding", "signature-base64", document(lambda v: hint(v, v["verificationMaterial"]["publicKey"]["hint"].rstrip("=")))),
    Vector("base64-bits", "the same bytes in another spelling", "signature-base64", document(respelled)),
    Vector("base64-more", "something after the padding", "signature-base64", document(lambda v: hint(v, v["verificationMaterial"]["publicKey"]["hint"] + "AAAA"))),
    Vector("base64-accent", "letters that are not in the alphabet", "signature-base64", document(lambda v: hint(v, "\u00e9" * 44))),
    Vector("base64-number", "a number instead of base64", "signature-base64", document(lambda v: hint(v, 1))),  # type: ignore[arg-type]
    Vector("hint-short", "a key hint of 31 bytes", "signature-base64", document(lambda v: hint(v, base64.b64encode(bytes(31)).decode()))),
    Vector("hint-long", "a key hint of 33 bytes", "signature-base64", document(lambda v: hint(v, base64.b64encode(bytes(33)).decode()))),
    Vector("named-digest-short", "a digest of 31 bytes", "signature-base64", document(lambda v: message(v, digest=base64.b64encode(bytes(31)).decode()))),
    Vector("signatures-33", "one signature more than there may be", "signatures-too-many", signatures(partial(many, 33))),
    Vector("signatures-unsorted", "signatures in the wrong order", "member-order", signatures(unsorted)),
]
# fmt: on


def rooted(change: Callable[[dict[str, Any]], object], *, sign: bool = True) -> Make:
    """A root with another value, signed by the root key unless the signature is the subject."""

    def make() -> bytes:
        value = json.loads(root_of(RELEASE))
        change(value)
        if sign:
            signed_by(ROOT, value)
        return json.dumps(value, indent=2, sort_keys=True).encode()

    return make


def _tuf_bytes(signed: dict[str, Any]) -> bytes:
    """What TUF signs: canonical JSON, as securesystemslib spells it."""
    from securesystemslib.formats import encode_canonical

    text = encode_canonical(signed)
    return text.encode() if isinstance(text, str) else b""


def signed_by(key: Key, value: dict[str, Any]) -> None:
    """The root key's name, another key's signature."""
    value["signatures"] = [{"keyid": Digest.of(ROOT.spki).hex, "sig": key.sign(_tuf_bytes(value["signed"])).hex()}]


def key_of(value: dict[str, Any], key: Key) -> dict[str, Any]:
    found: dict[str, Any] = value["signed"]["keys"][Digest.of(key.spki).hex]
    return found


def pem_of(public: Any) -> str:
    return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def two_names(value: dict[str, Any]) -> None:
    """One key under two keyids, so that it could count twice."""
    value["signed"]["keys"]["f" * 64] = key_of(value, RELEASE)
    value["signed"]["roles"]["targets"] = {"keyids": [Digest.of(RELEASE.spki).hex, "f" * 64], "threshold": 2}


def renamed_key(value: dict[str, Any]) -> None:
    """A key under the fingerprint of another."""
    keys = value["signed"]["keys"]
    keys[Digest.of(STRANGER.spki).hex] = keys.pop(Digest.of(RELEASE.spki).hex)
    for role in value["signed"]["roles"].values():
        role["keyids"] = [
            Digest.of(STRANGER.spki).hex if k == Digest.of(RELEASE.spki).hex else k for k in role["keyids"]
        ]


def role(name: str, **fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda value: value["signed"]["roles"][name].update(fields)


def listed_twice(value: dict[str, Any]) -> None:
    value["signed"]["roles"]["targets"] = {"keyids": [Digest.of(RELEASE.spki).hex] * 2, "threshold": 2}


def public(text: str) -> Callable[[dict[str, Any]], object]:
    return lambda value: key_of(value, RELEASE)["keyval"].update(public=text)


def root_raw(change: Callable[[bytes], bytes]) -> Make:
    return lambda: change(root_of(RELEASE))


P384 = ec.derive_private_key(7, ec.SECP384R1()).public_key()
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(b"7" * 32).public_key()
# fmt: off
ROOTS = [
    Vector("root-spaced", "the same root, spelled with other blanks", None, good, rooted(lambda v: None)),
    Vector("root-any-product", "a root for any product", None, good, lambda: root_of(RELEASE, product="*")),
    Vector("root-other-product", "a root for another product", "wrong-product", good, lambda: root_of(RELEASE, product="q")),
    Vector("root-threshold-zero", "a threshold of 0", "root-threshold", good, rooted(role("targets", threshold=0))),
    Vector("root-threshold-minus", "a threshold of -1", "root-threshold", good, rooted(role("targets", threshold=-1))),
    Vector("root-threshold-text", "a threshold in quotes", "root-threshold", good, rooted(role("targets", threshold="1"))),
    Vector("root-threshold-true", "a threshold of true", "root-threshold", good, rooted(role("targets", threshold=True))),
    Vector("root-threshold-high", "a threshold that nobody can meet", "root-threshold", good, rooted(role("targets", threshold=2))),
    Vector("root-threshold-root", "a root that needs no signature", "root-threshold", good, rooted(role("root", threshold=0))),
    Vector("root-key-two-names", "one key under two keyids", "root-key-twice", good, rooted(two_names)),
    Vector("root-key-listed-twice", "one keyid twice in a role", "root-key-twice", good, rooted(listed_twice)),
    Vector("root-keyid-lies", "a keyid that is another key's", "root-keyid", good, rooted(renamed_key)),
    Vector("root-key-p384", "a key on another curve", "root-key", good, rooted(public(pem_of(P384)))),
    Vector("root-key-ed25519", "a key of another kind", "root-key", good, rooted(public(pem_of(ED25519)))),
    Vector("root-key-garbage", "a key that is none", "root-key", good, rooted(public("none"))),
    Vector("root-key-scheme", "a key for another scheme", "root-key", good, rooted(lambda v: key_of(v, RELEASE).update(scheme="ecdsa-sha2-nistp384"))),
    Vector("root-type-targets", "targets metadata passed off as a root", "root-type", good, rooted(lambda v: v["signed"].update(_type="targets"))),
    Vector("root-role-gone", "no role for releases", "root-malformed", good, rooted(lambda v: v["signed"]["roles"].pop("targets"))),
    Vector("root-key-gone", "a role with a key that is not there", "root-malformed", good, rooted(role("targets", keyids=["0" * 64]))),
    Vector("root-product-gone", "a root that names no product", "root-malformed", good, rooted(lambda v: v["signed"].pop("x-sealift"))),
    Vector("root-product-number", "a product that is a number", "root-malformed", good, rooted(lambda v: v["signed"]["x-sealift"].update(product=1))),
    Vector("root-expiry-garbage", "an expiry that is none", "root-malformed", good, rooted(lambda v: v["signed"].update(expires="never"))),
    Vector("root-expiry-small-letters", "an expiry in small letters, which the library takes for the same", "root-malformed", good, root_raw(lambda b: b.replace(b"T00:00:00Z", b"t00:00:00z"))),
    Vector("root-signatures-object", "signatures that are an object", "root-not-self-signed", good, rooted(lambda v: v.update(signatures={}), sign=False)),
    Vector("root-keyids-object", "keyids that are an object", "root-malformed", good, rooted(role("targets", keyids={"0" * 64: 1}))),
    Vector("root-keyids-number", "keyids that are a number", "root-malformed", good, rooted(role("targets", keyids=1))),
    Vector("root-list", "a list", "root-malformed", good, root_raw(lambda b: b"[]")),
    Vector("root-empty", "no bytes", "json-invalid", good, root_raw(lambda b: b"")),
    Vector("root-key-twice-json", "a JSON key twice", "json-duplicate-key", good, root_raw(lambda b: b.replace(b'"version": 1', b'"version": 1, "version": 2', 1))),
    Vector("root-deep", "100,000 levels", "json-depth", good, root_raw(lambda b: b"[" * 100000)),
    Vector("root-large", "one byte over the cap", "root-too-large", good, root_raw(lambda b: b + b" " * (512 * 1024 + 1 - len(b)))),
    Vector("root-unsigned", "a root that nobody signed", "root-not-self-signed", good, rooted(lambda v: v.update(signatures=[]), sign=False)),
    Vector("root-changed", "a root changed after it was signed", "root-not-self-signed", good, rooted(lambda v: v["signed"].update(version=7), sign=False)),
    Vector("root-by-stranger", "a root signed by a stranger", "root-not-self-signed", good, rooted(partial(signed_by, STRANGER), sign=False)),
    Vector("root-by-release", "a root signed by its release key", "root-not-self-signed", good, rooted(partial(signed_by, RELEASE), sign=False)),
    Vector("root-signature-garbage", "a signature that is no hex", "root-not-self-signed", good, rooted(lambda v: v["signatures"][0].update(sig=7), sign=False)),
]
# fmt: on


def says(**fields: Any) -> Make:
    """Other fields of ours in the root, signed again."""
    return rooted(lambda value: value["signed"]["x-sealift"].update(fields))


def demanded(**fields: Any) -> dict[str, Any]:
    """A requirement as the root spells it: the second key must sign, unless ``fields`` say otherwise."""
    return {"name": "customer", "role": "release", "threshold": 1, "keys": [Digest.of(RELEASE.spki).hex], **fields}


def identity(value: dict[str, Any], *roles: str, keyid: str = "", scheme: str = "Fulcio", **keyval: Any) -> None:
    """An identity among the keys, beside those that ``roles`` have."""
    keyval = keyval or {"identity": "release@vendor.example", "issuer": "https://id.vendor.example"}
    key = {"keytype": "sigstore-oidc", "scheme": scheme, "keyval": keyval}
    keyid = keyid or Digest.of(canonical({**key, "scheme": "Fulcio"}).removesuffix(b"\n")).hex
    value["signed"]["keys"][keyid] = key
    for name in roles:
        value["signed"]["roles"][name]["keyids"].append(keyid)


def permits_by_identity(value: dict[str, Any]) -> None:
    identity(value)
    rule = demanded(
        role="permit", keys=[next(k for k, v in value["signed"]["keys"].items() if v["scheme"] == "Fulcio")]
    )
    value["signed"]["x-sealift"]["requirements"] = [rule]


def of_customer(threshold: int = 1, *channels: str) -> Make:
    """A root of the release key by which the second key must sign too."""
    rule = demands("customer", SECOND, threshold=threshold, channels=frozenset(channels) or None)
    return lambda: root_of(RELEASE, requirements=[rule])


VENDORS = (RELEASE, STRANGER, INSTALLER)
PAST = datetime(2026, 1, 1, tzinfo=UTC)
# fmt: off
POLICIES = [
    Vector("good-root-of-old", "a root that says no more than its product, as the first ones did", None, good, rooted(lambda v: v["signed"].update({"x-sealift": {"product": "p"}}))),
    Vector("good-customer-agrees", "vendor and customer, both demanded", None, by(RELEASE, SECOND), of_customer()),
    Vector("good-one-of-three-vendors", "one of three vendors, and the customer", None, by(SECOND, STRANGER), lambda: root_of(*VENDORS, requirements=[demands("customer", SECOND)])),
    Vector("good-requirement-of-another-channel", "what only the channel candidate demands", None, good, of_customer(1, "candidate")),
    Vector("good-identity-beside", "an identity that may sign, and need not", None, good, rooted(lambda v: identity(v, "targets", "snapshot"))),
    Vector("good-expired-warns", "a root that has expired, and only warns", None, good, lambda: root_of(RELEASE, expires=PAST)),
    Vector("good-refuses-once-expired", "a root that will refuse once it has expired", None, good, lambda: root_of(RELEASE, expired="refuse")),
    Vector("root-expired", "a root that has expired, and says that nothing comes in", "root-expired", good, lambda: root_of(RELEASE, expires=PAST, expired="refuse")),
    Vector("customer-missing", "the vendor alone, where the customer must agree", "requirement-not-met", good, of_customer()),
    Vector("customer-alone", "the customer alone, where the vendor must sign too", "threshold-not-met", by(SECOND), of_customer()),
    Vector("customer-stranger", "vendor and a stranger, where the customer must agree", "requirement-not-met", by(RELEASE, STRANGER), of_customer()),
    Vector("customer-vendor-twice", "two vendors, where the customer must agree", "requirement-not-met", by(RELEASE, STRANGER), lambda: root_of(*VENDORS, requirements=[demands("customer", SECOND)])),
    Vector("channel-demands-more", "one signature, where the channel stable demands another", "requirement-not-met", good, of_customer(1, "stable", "lts")),
    Vector("channel-without-ci", "the key of the build machine, which may sign for candidate only", "requirement-not-met", good, lambda: root_of(RELEASE, SECOND, requirements=[demands("people", SECOND, channels=frozenset({"stable"}))])),
    Vector("root-of-version-true", "a version that is true", "root-malformed", good, rooted(lambda v: v["signed"].update(version=True))),
    Vector("root-of-version-zero", "version 0", "root-malformed", good, rooted(lambda v: v["signed"].update(version=0))),
    Vector("root-says-unknown", "a rule that nobody here knows", "root-unknown-field", good, says(quorum=3)),
    Vector("root-says-list", "a list where the rules must be", "root-malformed", good, rooted(lambda v: v["signed"].update({"x-sealift": []}))),
    Vector("root-product-capitals", "a product that is no name", "root-malformed", good, says(product="P")),
    Vector("root-epoch-zero", "epoch 0", "root-malformed", good, says(epoch=0)),
    Vector("root-epoch-text", "an epoch in quotes", "root-malformed", good, says(epoch="1")),
    Vector("root-expired-word", "another word than warn and refuse", "root-malformed", good, says(expired="never")),
    Vector("root-keyless-list", "a list where sigstore's root must be", "root-malformed", good, says(keyless=[])),
    Vector("root-keyless-nobody", "a Sigstore instance of nobody", "root-keyless", good, says(keyless={"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "tlogs": [], "certificateAuthorities": [], "ctlogs": []})),
    Vector("root-requirements-33", "a requirement too many", "root-malformed", good, says(requirements=[demanded(name=f"r{n}") for n in range(33)])),
    Vector("requirement-unknown-field", "a requirement with a word that nobody knows", "root-unknown-field", good, says(requirements=[demanded(platform="arm64")])),
    Vector("requirement-role-root", "a requirement of the root role", "root-malformed", good, says(requirements=[demanded(role="root")])),
    Vector("requirement-no-keys", "a requirement of nobody", "root-threshold", good, says(requirements=[demanded(keys=[])])),
    Vector("requirement-no-channel", "a requirement for no channel at all", "root-malformed", good, says(requirements=[demanded(channels=[])])),
    Vector("requirement-channel-name", "a channel that is no name", "root-malformed", good, says(requirements=[demanded(channels=["*"])])),
    Vector("requirement-threshold-zero", "a requirement of 0 signatures", "root-threshold", good, says(requirements=[demanded(threshold=0)])),
    Vector("requirement-threshold-true", "a requirement of true signatures", "root-malformed", good, says(requirements=[demanded(threshold=True)])),
    Vector("requirement-threshold-high", "a requirement that nobody can meet", "root-threshold", good, says(requirements=[demanded(threshold=2)])),
    Vector("requirement-key-twice", "one key twice in a requirement", "root-key-twice", good, says(requirements=[demanded(keys=[Digest.of(RELEASE.spki).hex] * 2)])),
    Vector("requirement-key-gone", "a requirement of a key that is not there", "root-malformed", good, says(requirements=[demanded(keys=["0" * 64])])),
    Vector("requirement-twice", "two requirements of one name", "root-requirement", good, says(requirements=[demanded(), demanded()])),
    Vector("requirement-installer-channel", "a channel for the installer, which has none", "root-requirement", good, says(requirements=[demanded(role="installer", channels=["stable"])])),
    Vector("requirement-permit-identity", "an identity that must sign permits", "root-identity", good, rooted(permits_by_identity)),
    Vector("identity-in-root", "an identity in the root role", "root-identity", good, rooted(lambda v: identity(v, "root"))),
    Vector("identity-in-permit", "an identity that may sign permits", "root-identity", good, rooted(lambda v: identity(v, "timestamp"))),
    Vector("identity-keyid-lies", "an identity under a keyid that is not its own", "root-keyid", good, rooted(lambda v: identity(v, "targets", keyid="e" * 64))),
    Vector("identity-scheme", "an identity of another scheme", "root-identity", good, rooted(lambda v: identity(v, "targets", scheme="other"))),
    Vector("identity-without-issuer", "an identity without who vouches for it", "root-identity", good, rooted(lambda v: identity(v, "targets", identity="a@b.example"))),
    Vector("identity-blank", "an identity of a blank", "root-identity", good, rooted(lambda v: identity(v, "targets", identity=" ", issuer="https://id.example"))),
    Vector("identity-any", "an identity that is a pattern of nothing", "root-identity", good, rooted(lambda v: identity(v, "targets", identity="", issuer="https://id.example"))),
]
# fmt: on


VECTORS = [*SIGNATURES, *ROOTS, *POLICIES]
