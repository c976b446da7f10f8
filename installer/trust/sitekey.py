"""The site's own key: ECDSA P-256, made on first need, never leaves the state dir. Its fingerprint names the site.

A permit is for one site only because it names this fingerprint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from installer.bundle.digest import Digest
from installer.bundle.signature import key_fingerprint
from installer.durable import create_durably
from installer.errors import SealiftError

NAME: Final = "site.key"
_MAX: Final = 4096


def site_key(state_dir: Path) -> ec.EllipticCurvePrivateKey:
    """The site's key; made, mode 0600, where there is none. Raises ``site-key-damaged`` (4), ``OSError``."""
    place = state_dir / NAME
    if not place.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        create_durably(place, pem)  # another process may have been quicker: what stands there counts
    with place.open("rb") as file:
        found = _parse(file.read(_MAX))
    if found is None:
        raise SealiftError(
            "site-key-damaged",
            f"{place} is not a private key of ECDSA P-256",
            hint="take it from a backup of the state dir; without one remove it, and tell the vendor the new "
            "fingerprint: sealift trust show",
        )
    return found


def site_fingerprint(state_dir: Path) -> Digest:
    """How the site is called in permits and receipts. Raises what :func:`site_key` raises."""
    public = site_key(state_dir).public_key()
    return key_fingerprint(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _parse(pem: bytes) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1) else None
