"""What ``--since`` and ``--have`` name: an old bundle, or a site's receipt; and by whose key that must be signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.delta.holdings import Holdings
from bundler.media.stock import Stock
from installer.bundle.digest import Digest
from installer.bundle.receipt import MAX_RECEIPT_BYTES, Receipt, SignedReceipt, read_receipt, unpack_digests
from installer.bundle.signature import key_fingerprint
from installer.bundle.trust import read_public_key
from installer.errors import SealiftError
from installer.talk import Table, Talk

_LABEL: Final = 100
"""How long a delta may say what it builds on."""
NOT_CHECKED: Final = "not checked: who signed the receipt (--site-key says whose key it must be)"


@dataclass(frozen=True)
class Sites:
    """Sites whose keys are known, by what they are called here."""

    known: tuple[tuple[str, Digest], ...]

    @classmethod
    def read(cls, text: str) -> Sites:
        """A fingerprint, a public key (PEM), or a folder of them called ``NAME.pub``.

        Raises ``digest-malformed`` (3), ``key-unreadable``, ``input-missing`` (2).
        """
        if text.startswith("sha256:"):
            return cls(((text[:15], Digest.parse(text)),))
        place = Path(text)
        keys = sorted(place.glob("*.pub")) if place.is_dir() else [place]
        if not keys:
            raise SealiftError(
                "input-missing", f"{place} holds no key of a site", hint="public keys are called NAME.pub there"
            )
        return cls(tuple((key.stem, key_fingerprint(read_public_key(_read(key), str(key)))) for key in keys))


def read_since(paths: Sequence[Path], stock: Stock | None, sites: Sites | None, talk: Talk) -> tuple[Holdings, ...]:
    """What the sites hold that ``paths`` tell of: bundles, media folders, receipts.

    Says of each receipt whether anybody checked whose it is. Raises what reading them raises.
    """
    found = []
    for path in paths:
        if is_receipt(path):
            found.append(holdings_of(open_receipt(path, sites, talk).receipt, stock))
        else:
            found.append(Holdings.of_bundle(path))
    return tuple(found)


def is_receipt(path: Path) -> bool:
    """Whether ``path`` is a file that begins as a receipt does, and no bundle can."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(1) == b"{"


def open_receipt(path: Path, sites: Sites | None, talk: Talk) -> SignedReceipt:
    """Read the receipt at ``path``, by a known site where somebody says which. Raises what ``read_receipt`` raises."""
    signed = read_receipt(_read(path), None if sites is None else sites.known)
    receipt = signed.receipt
    talk.say(f"{path.name}: {receipt.site} ({signed.fingerprint.short}), {receipt.time}, {_runs(receipt)}")
    if signed.known is None:
        talk.warn(NOT_CHECKED)
    return signed


def holdings_of(receipt: Receipt, stock: Stock | None) -> Holdings:
    """All that the site proved to hold; old bytes to patch against are those of its kept releases that are in stock."""
    bundles = () if stock is None else stock.holding(receipt.kept())
    return Holdings(f"{receipt.site}: {_runs(receipt)}"[:_LABEL], receipt.holds(), bundles)


def describe(path: Path, signed: SignedReceipt) -> tuple[Table, dict[str, object]]:
    """A receipt, for people and as JSON."""
    receipt = signed.receipt
    counts = {name: len(unpack_digests(getattr(receipt.held, name))) for name in type(receipt.held).model_fields}
    rows = [
        ("site", f"{receipt.site}, {signed.fingerprint}"),
        ("signed by", f"the site {signed.known}" if signed.known else "its own key; " + NOT_CHECKED),
        ("made", f"{receipt.time} (a claim)"),
        ("follows", f"channel {receipt.channel}, {receipt.platform}, {receipt.target}"),
        ("sealift", receipt.program.version),
        ("root of trust", f"version {receipt.trust.version}, until {receipt.trust.expires or 'for ever'}"),
        *((one.product, _product(receipt, one.product)) for one in receipt.products),
        ("holds", ", ".join(f"{count} in {name}" for name, count in counts.items())),
    ]
    value: dict[str, object] = {
        "receipt": str(path),
        "key": str(signed.fingerprint),
        "signed_by": signed.known,
        "not_checked": [] if signed.known else ["who signed"],
        "statement": receipt.model_dump(mode="json", exclude={"held"}),
        "held": counts,
    }
    return Table(("", ""), tuple(rows), "the receipt is whole, and signed by the key that it names"), value


def _runs(receipt: Receipt) -> str:
    runs = [f"{one.product} {one.current.version}" for one in receipt.products if one.current]
    return ", ".join(runs) or "nothing runs"


def _product(receipt: Receipt, name: str) -> str:
    one = receipt.product(name)
    assert one is not None  # noqa: S101 - the name comes from the receipt
    current = f"{one.current.version} serves ({one.current.digest})" if one.current else "nothing serves"
    return f"{current}, back to {one.previous.version if one.previous else 'nothing'}, {len(one.kept)} kept"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_RECEIPT_BYTES + 1)
    except OSError as error:
        raise SealiftError("input-missing", f"cannot read {path}: {error.strerror}", hint="check the path") from error
