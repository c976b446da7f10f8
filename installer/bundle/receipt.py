"""Receipts: what a site runs and provably holds, signed by the site's own key, in one file of two lines.

The first line is the statement, canonical JSON of a closed schema that names its type; the second is a signature file
(Sigstore v0.3) over the first one, its newline included. Stock tools take them apart: ``head -n 1``, ``tail -n 1``.
The statement carries the site's public key, so damage is always found; *whose* key it is only who knows the site's
fingerprint can say. A receipt decides nothing: a vendor that believes a wrong one makes media that the site refuses.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable
from dataclasses import InitVar, dataclass
from typing import Annotated, Final, Literal, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from installer.bundle.digest import Digest
from installer.bundle.fields import Closed, DigestText, Instant, Name, SemVer
from installer.bundle.problems import first_problem
from installer.bundle.signature import KeySignature, parse_signature, sigstore_bundle
from installer.bundle.signers import PublicKey
from installer.bundle.sigstorefields import to_base64
from installer.bundle.strictjson import canonical, parse_canonical
from installer.errors import SealiftError

RECEIPT_TYPE: Final = "application/vnd.sealift.receipt.v1+json"
MAX_RECEIPT_BYTES: Final = 8 * 1024 * 1024
"""About 190,000 digests, of which each takes 43 bytes."""
_DIGEST: Final = 32
_KEY: Final = object()
_AGAIN: Final = "carry it again from the site: sealift receipt --out FILE makes one"


def _digests(text: str) -> str:
    raw = base64.b64decode(text, validate=True)
    found = [raw[at : at + _DIGEST] for at in range(0, len(raw), _DIGEST)]
    if len(raw) % _DIGEST or to_base64(raw) != text or found != sorted(set(found)):
        raise ValueError("not SHA-256 digests, sorted, each once, as base64")
    return text


def _key(text: str) -> str:
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except UnsupportedAlgorithm as error:
        raise ValueError("a key that is not known here") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a key of ECDSA P-256")
    if to_base64(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)) != text:
        raise ValueError("not the one spelling of a key")
    return text


Digests = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/=]*$"), AfterValidator(_digests)]
"""SHA-256 digests, 32 bytes each, sorted, each once, one behind the other as base64: 43 bytes for each."""
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/=]{1,200}$"), AfterValidator(_key)]
"""The SubjectPublicKeyInfo of a P-256 key as base64."""
ProgramVersion = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.+-]{1,64}$")]
Label = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{0,64}$")]


class ReleaseName(Closed):
    """A release by its version and the digest of its ``release.json``."""

    version: SemVer
    digest: DigestText


class ReceiptMark(ReleaseName):
    """The highest release that was committed under an epoch of the root of trust: nothing lower comes in."""

    epoch: Annotated[int, Field(ge=1)]


class ReceiptProduct(Closed):
    """One product: what serves, what a rollback returns to, and every release that is kept whole, by digest."""

    product: Name
    current: ReleaseName | None
    previous: ReleaseName | None
    kept: tuple[ReleaseName, ...]
    mark: ReceiptMark | None

    @model_validator(mode="after")
    def _kept_once_and_sorted(self) -> Self:
        names = [one.digest for one in self.kept]
        if names != sorted(set(names)):
            raise ValueError("kept releases that are not sorted by digest, or twice there")
        return self


class OwnService(Closed):
    """An image of the site's own services, of which the site has an archive. ``version`` is what its label says."""

    digest: DigestText
    version: Label


class OwnServices(Closed):
    """The images of front door and registry, as far as the site has them whole."""

    haproxy: OwnService | None
    registry: OwnService | None


class ReceiptProgram(Closed):
    """The site program: its version, and the digest of its payload where it is one (None: run from sources)."""

    version: ProgramVersion
    digest: DigestText | None


class ReceiptTrust(Closed):
    """The root of trust in force: the product it is for (None: any), its version, digest, epoch and end."""

    product: Name | None
    version: Annotated[int, Field(ge=1)]
    epoch: Annotated[int, Field(ge=1)]
    digest: DigestText
    expires: Instant | None


class Held(Closed):
    """Content that was looked at when the receipt was made: in the registry (manifests and blobs), in archives of the
    site's own services, and files of kept releases. ``brought`` came with kept releases and is not kept, since nothing
    at such a site asks for it again (the site program, binaries, charts)."""

    registry: Digests
    archives: Digests
    files: Digests
    brought: Digests


class Receipt(Closed):
    """What ``site`` runs and holds. ``key`` is the site's public key; ``time`` is a claim."""

    type: Literal["application/vnd.sealift.receipt.v1+json"] = RECEIPT_TYPE
    site: Name
    key: Key
    time: Instant
    platform: Annotated[str, StringConstraints(pattern=r"^linux/(amd64|arm64)$")]
    channel: Name
    target: Literal["compose"]
    program: ReceiptProgram
    trust: ReceiptTrust
    products: tuple[ReceiptProduct, ...]
    edge: OwnServices
    held: Held

    @model_validator(mode="after")
    def _products_once_and_sorted(self) -> Self:
        names = [one.product for one in self.products]
        if names != sorted(set(names)):
            raise ValueError("products that are not sorted, or twice there")
        return self

    @classmethod
    def parse(cls, raw: bytes) -> Receipt:
        """Read the statement. Raises the ``json-…`` errors, ``receipt-type``, ``receipt-invalid`` (3)."""
        value = parse_canonical(raw, "the receipt")
        if not isinstance(value, dict) or value.get("type") != RECEIPT_TYPE:
            raise SealiftError("receipt-type", "this is no receipt: its type is another", hint=_AGAIN)
        try:
            receipt = cls.model_validate_json(raw)
        except ValidationError as error:
            raise SealiftError(
                "receipt-invalid", f"the receipt breaks its format: {first_problem(error)}", hint=_AGAIN
            ) from error
        if receipt.to_bytes() != raw:
            raise SealiftError("receipt-invalid", "the receipt is spelled otherwise", hint=_AGAIN)
        return receipt

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed."""
        return canonical(self.model_dump(mode="json"))

    @property
    def public_key(self) -> PublicKey:
        """The site's key, called as the site calls itself."""
        return PublicKey(base64.b64decode(self.key), self.site)

    def product(self, name: str) -> ReceiptProduct | None:
        """What it says of a product."""
        return next((one for one in self.products if one.product == name), None)

    def holds(self) -> frozenset[str]:
        """All that media for this site may leave out."""
        return frozenset[str]().union(*(unpack_digests(packed) for packed in self.held.model_dump().values()))

    def kept(self) -> frozenset[str]:
        """The digests of all releases that are kept at the site."""
        return frozenset(one.digest for product in self.products for one in product.kept)


def pack_digests(digests: Collection[str]) -> str:
    """``sha256:…`` digests as a receipt spells them."""
    return to_base64(b"".join(sorted({bytes.fromhex(Digest.parse(one).hex) for one in digests})))


def unpack_digests(packed: str) -> frozenset[str]:
    """What :func:`pack_digests` packed."""
    raw = base64.b64decode(packed)
    return frozenset(f"sha256:{raw[at : at + _DIGEST].hex()}" for at in range(0, len(raw), _DIGEST))


@dataclass(frozen=True)
class SignedReceipt:
    """A receipt whose signature is by the key that it names. Only :func:`read_receipt` makes one.

    ``known`` is what its reader calls that key; None where nobody said whose key it is.
    """

    receipt: Receipt
    raw: bytes
    known: str | None
    _made_by: InitVar[object] = None

    def __post_init__(self, _made_by: object) -> None:
        if _made_by is not _KEY:
            raise TypeError("a SignedReceipt is made by read_receipt alone")

    @property
    def fingerprint(self) -> Digest:
        """The site's, as ``sealift trust show`` says it there."""
        return self.receipt.public_key.fingerprint


def seal(receipt: Receipt, signature_der: bytes) -> bytes:
    """The file: the statement, and the site's signature (ECDSA with SHA-256, DER) over it."""
    raw = receipt.to_bytes()
    return raw + sigstore_bundle(signature_der, Digest.of(raw), receipt.public_key.spki)


def read_receipt(data: bytes, known: Iterable[tuple[str, Digest]] | None = None) -> SignedReceipt:
    """Read the file ``data``. ``known`` are sites' fingerprints with what they are called here; None: nobody knows.

    With ``known``, nothing is parsed that is not signed by one of them. Raises ``receipt-too-large``,
    ``receipt-type``, ``receipt-invalid``, the ``json-…`` errors (3), ``receipt-damaged`` (4), ``receipt-unsigned``,
    ``receipt-unknown-site`` (5).
    """
    if len(data) > MAX_RECEIPT_BYTES:
        raise SealiftError("receipt-too-large", f"it is larger than {MAX_RECEIPT_BYTES} bytes: no receipt", hint=_AGAIN)
    raw, sign = _two_lines(data)
    if sign.digest != Digest.of(raw):
        raise SealiftError("receipt-damaged", "the receipt is damaged: its signature is over other bytes", hint=_AGAIN)
    hint = Digest(sign.key_hint.hex())
    name = None
    if known is not None:
        name = next((called for called, fingerprint in known if fingerprint == hint), None)
        if name is None:
            raise _stranger(hint)
    receipt = Receipt.parse(raw)
    key = receipt.public_key
    if key.fingerprint != hint or not key.accepts(sign.signature, raw) or seal(receipt, sign.signature) != data:
        raise SealiftError("receipt-damaged", "the receipt is not signed by the key that it names", hint=_AGAIN)
    return SignedReceipt(receipt, raw, name, _KEY)


def _two_lines(data: bytes) -> tuple[bytes, KeySignature]:
    """The statement and its signature; the end of the last line is :func:`read_receipt`'s business."""
    lines = [line + b"\n" for line in data.removesuffix(b"\n").split(b"\n")]
    if len(lines) == 1:
        Receipt.parse(data)  # another document, or a receipt that nobody signed
        raise SealiftError("receipt-unsigned", "the receipt is not signed", hint=_AGAIN)
    if len(lines) != 2:
        raise SealiftError("receipt-invalid", f"{len(lines)} lines instead of two: no receipt", hint=_AGAIN)
    try:
        sign = parse_signature(lines[1], "the second line")
    except SealiftError as error:
        raise SealiftError("receipt-invalid", f"no receipt: {error.message}", hint=_AGAIN) from error
    if not isinstance(sign, KeySignature):
        raise SealiftError("receipt-invalid", "a site signs with its key, not with a certificate", hint=_AGAIN)
    return lines[0], sign


def _stranger(fingerprint: Digest) -> SealiftError:
    return SealiftError(
        "receipt-unknown-site",
        f"the receipt is signed by {fingerprint}, which is none of the sites that were named",
        hint="compare with what `sealift trust show` says at the site, then name its key or fingerprint: --site-key",
    )
