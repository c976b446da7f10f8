"""Whether a signature file is undamaged, told without any key: its hint is the fingerprint of the key that made it.

An ECDSA signature over a known digest fits at most four keys, which follow from it (SEC 1, 4.1.6); one of them has that
fingerprint, or a bit of the file has changed. Own code: cryptography recovers no keys, and public numbers are no secret
that its timing could betray. Nobody is trusted for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from installer.bundle.signature import KeySignature, SignatureFile, key_fingerprint

_P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B: Final = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_G: Final = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
Point = tuple[int, int] | None


@lru_cache(64)
def is_whole(found: SignatureFile) -> bool:
    """Whether the signature belongs to the key or certificate that the same file names."""
    if isinstance(found, KeySignature):
        digest = int(found.digest.hex, 16)
        return any(_fingerprint(key) == found.key_hint for key in keys_of(found.signature, digest))
    try:
        key = x509.load_der_x509_certificate(found.certificate).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(found.signature, bytes.fromhex(found.digest.hex), ec.ECDSA(Prehashed(hashes.SHA256())))
    except (ValueError, InvalidSignature):
        return False
    return True


def keys_of(signature: bytes, digest: int) -> Iterator[tuple[int, int]]:
    """The P-256 public keys that accept this DER signature over ``digest``."""
    try:
        r, s = decode_dss_signature(signature)
    except ValueError:
        return
    if not (0 < r < _N and 0 < s < _N):
        return
    inverse = pow(r, -1, _N)
    for x in range(r, _P, _N):
        square = (x**3 - 3 * x + _B) % _P
        root = pow(square, (_P + 1) // 4, _P)
        if root * root % _P != square:
            continue
        for y in (root, _P - root):
            key = _add(_times(s * inverse % _N, (x, y)), _times(-digest * inverse % _N, _G))
            if key is not None:
                yield key


def _fingerprint(key: tuple[int, int]) -> bytes:
    public = ec.EllipticCurvePublicNumbers(*key, ec.SECP256R1()).public_key()
    return bytes.fromhex(key_fingerprint(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hex)


def _add(left: Point, right: Point) -> Point:
    if left is None or right is None:
        return left or right
    (x1, y1), (x2, y2) = left, right
    if x1 == x2 and (y1 + y2) % _P == 0:
        return None
    slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, _P) if left == right else (y2 - y1) * pow(x2 - x1, -1, _P)
    x = (slope * slope - x1 - x2) % _P
    return x, (slope * (x1 - x) - y1) % _P


def _times(count: int, point: Point) -> Point:
    total: Point = None
    while count:
        if count & 1:
            total = _add(total, point)
        point, count = _add(point, point), count >> 1
    return total
