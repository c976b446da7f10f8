"""What stands in a signature file beside a certificate: a closed form, read before any library sees a byte of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from installer.bundle.digest import Digest
from installer.bundle.sigstorefields import Fields

MAX_TIMESTAMPS: Final = 4
MAX_PATH: Final = 63
"""Hashes in the proof of inclusion in a log: its depth."""

_KINDS: Final = {("hashedrekord", "0.0.1"): 1, ("hashedrekord", "0.0.2"): 2}
"""Entries that are about a signature over bytes, and the version of Rekor that makes them."""


@dataclass(frozen=True)
class LogEntry:
    """What a transparency log says about a signature. ``time``: seconds since 1970, only where it promised it."""

    log_id: bytes
    version: int
    time: int | None


@dataclass(frozen=True)
class KeylessSignature:
    """A signature whose key a certificate (DER) binds to an identity; ``raw`` is the whole file."""

    certificate: bytes
    digest: Digest
    signature: bytes
    entry: LogEntry
    timestamps: tuple[bytes, ...]
    raw: bytes = field(repr=False)


def read_keyless(
    material: dict[str, Any], digest: Digest, signature: bytes, raw: bytes, fields: Fields
) -> KeylessSignature:
    """The keyless signature of a file whose ``verificationMaterial`` holds a certificate.

    Every field is checked, so that sigstore, which reads ``raw`` again, finds none that nobody has seen here.
    """
    if "publicKey" in material or "x509CertificateChain" in material:
        raise fields.refusal("signature-certificate", "not one certificate alone, but a key or a chain besides")
    if "tlogEntries" not in material:
        raise fields.refusal("signature-certificate", "a certificate without the log entry that belongs to it")
    top = fields.object(material, {"certificate", "tlogEntries"}, {"timestampVerificationData"})
    certificate = fields.object(top["certificate"], {"rawBytes"})["rawBytes"]
    entries = fields.list(top["tlogEntries"], 1, 1, "signature-log-entry", "log entries")
    return KeylessSignature(
        certificate=fields.bytes(certificate),
        digest=digest,
        signature=signature,
        entry=_log_entry(entries[0], fields),
        timestamps=_timestamps(top.get("timestampVerificationData", {}), fields),
        raw=raw,
    )


def _log_entry(value: Any, fields: Fields) -> LogEntry:
    entry = fields.object(
        value,
        {"logIndex", "logId", "kindVersion", "inclusionProof", "canonicalizedBody"},
        {"integratedTime", "inclusionPromise"},
    )
    kind = fields.object(entry["kindVersion"], {"kind", "version"})
    version = _KINDS.get((str(kind["kind"]), str(kind["version"])))
    if version is None:
        raise fields.refusal("signature-log-entry", "a log entry of another kind than hashedrekord 0.0.1 or 0.0.2")
    fields.number(entry["logIndex"], "signature-log-entry")
    fields.bytes(entry["canonicalizedBody"])
    proof = fields.object(entry["inclusionProof"], {"logIndex", "treeSize", "rootHash", "checkpoint"}, {"hashes"})
    index, size = (fields.number(proof[name], "signature-log-entry") for name in ("logIndex", "treeSize"))
    if index >= size:
        raise fields.refusal("signature-log-entry", "an index beyond the size of the log")
    fields.bytes(proof["rootHash"], 32)
    for part in fields.list(proof.get("hashes", []), 0, MAX_PATH, "signature-log-entry", "hashes of a proof"):
        fields.bytes(part, 32)
    if not isinstance(fields.object(proof["checkpoint"], {"envelope"})["envelope"], str):
        raise fields.refusal("signature-log-entry", "a checkpoint that is no text")
    return LogEntry(
        log_id=fields.bytes(fields.object(entry["logId"], {"keyId"})["keyId"]),
        version=version,
        time=_promised_time(entry, version, fields),
    )


def _promised_time(entry: dict[str, Any], version: int, fields: Fields) -> int | None:
    """The time of an entry of version 1, if the log has signed it with the entry; version 2 says none."""
    time = fields.number(entry.get("integratedTime", "0"), "signature-log-entry")
    if "inclusionPromise" not in entry:
        return None
    fields.bytes(fields.object(entry["inclusionPromise"], {"signedEntryTimestamp"})["signedEntryTimestamp"])
    if version != 1 or not 0 < time < 2**36:
        raise fields.refusal("signature-log-entry", "a promise by the log without a time, or where it gives none")
    return time


def _timestamps(value: Any, fields: Fields) -> tuple[bytes, ...]:
    listed = fields.object(value, set(), {"rfc3161Timestamps"}).get("rfc3161Timestamps", [])
    found = [
        fields.bytes(fields.object(one, {"signedTimestamp"})["signedTimestamp"])
        for one in fields.list(listed, 0, MAX_TIMESTAMPS, "signature-timestamp", "timestamps")
    ]
    if len(set(found)) != len(found):
        raise fields.refusal("signature-timestamp", "one timestamp twice")
    return tuple(found)
