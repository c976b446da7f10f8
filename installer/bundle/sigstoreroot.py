"""The trusted root of a Sigstore instance: whose certificates, logs and timestamps count, each for its own period.

It stands in the signed root of trust (``x-sealift.keyless``), in the form of ``trusted_root.json``; nothing is fetched.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from cryptography import x509

from installer.errors import SealiftError

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
_T = TypeVar("_T")
_ALWAYS: Final = {"start": "1970-01-01T00:00:00Z"}


@dataclass(frozen=True)
class Period:
    """From ``start`` to ``end``, both included; None: open."""

    start: datetime | None = None
    end: datetime | None = None

    def holds(self, time: datetime) -> bool:
        return (self.start is None or self.start <= time) and (self.end is None or time <= self.end)


@dataclass(frozen=True)
class Authority:
    """Issues certificates, or timestamps: ``chain`` from the one that signs to the root. ``value`` is how it stands."""

    chain: tuple[x509.Certificate, ...]
    period: Period
    value: Mapping[str, Any]

    def holds(self, time: datetime) -> bool:
        """Whether it is trusted at that time, and each of its certificates valid."""
        return self.period.holds(time) and all(
            one.not_valid_before_utc <= time <= one.not_valid_after_utc for one in self.chain
        )


@dataclass(frozen=True)
class Log:
    """A log by its key; ``ids`` are what entries may call it."""

    ids: frozenset[bytes]
    period: Period
    value: Mapping[str, Any]


@dataclass(frozen=True)
class SigstoreRoot:
    """Everybody of one instance."""

    authorities: tuple[Authority, ...]
    logs: tuple[Log, ...]
    certificate_logs: tuple[Log, ...]
    timestamp_authorities: tuple[Authority, ...]

    @classmethod
    def read(cls, value: Mapping[str, Any], origin: str) -> SigstoreRoot:
        """The trusted root in a parsed ``trusted_root.json``. Raises ``root-keyless`` (3)."""
        try:
            if value["mediaType"] != MEDIA_TYPE:
                raise ValueError("another mediaType")
            found = cls(
                _each(value["certificateAuthorities"], _authority),
                _each(value["tlogs"], _log),
                _each(value["ctlogs"], _log),
                _each(value.get("timestampAuthorities", []), _authority),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _refusal(origin, f"{type(error).__name__} {error}") from error
        if not (found.authorities and found.logs and found.certificate_logs):
            raise _refusal(origin, "it needs a certificate authority, a transparency log and a certificate log")
        return found

    def as_json(self) -> str:
        """As ``trusted_root.json``, everybody trusted at any time: periods are our own check, at the time of signing.

        So no verdict depends on the clock of this host.
        """
        return json.dumps(
            {
                "mediaType": MEDIA_TYPE,
                "certificateAuthorities": [{**one.value, "validFor": _ALWAYS} for one in self.authorities],
                "tlogs": [_always(one) for one in self.logs],
                "ctlogs": [_always(one) for one in self.certificate_logs],
                "timestampAuthorities": [{**one.value, "validFor": _ALWAYS} for one in self.timestamp_authorities],
            }
        )


def _always(log: Log) -> dict[str, Any]:
    return {**log.value, "publicKey": {**log.value["publicKey"], "validFor": _ALWAYS}}


def _each(values: Iterable[Any], read: Callable[[Any], _T]) -> tuple[_T, ...]:
    return tuple(read(value) for value in values)


def _authority(value: Any) -> Authority:
    listed = value["certChain"]["certificates"]
    chain = tuple(x509.load_der_x509_certificate(_bytes(one["rawBytes"])) for one in listed)
    if not chain:
        raise ValueError("an authority without certificates")
    return Authority(chain, _period(value["validFor"]), value)


def _log(value: Any) -> Log:
    ids = {_bytes(value["logId"]["keyId"])}
    if "checkpointKeyId" in value:
        ids.add(_bytes(value["checkpointKeyId"]["keyId"]))
    key = value["publicKey"]
    _bytes(key["rawBytes"])
    return Log(frozenset(ids), _period(key.get("validFor", {})), value)


def _period(value: Any) -> Period:
    return Period(*(_time(value[name]) if name in value else None for name in ("start", "end")))


def _time(text: Any) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"a time without a zone: {text}")
    return time.astimezone(UTC)


def _bytes(text: Any) -> bytes:
    return base64.b64decode(text, validate=True)


def _refusal(origin: str, why: str) -> SealiftError:
    return SealiftError(
        "root-keyless",
        f"{origin} is not a trusted root of a Sigstore instance: {why[:200]}",
        hint="cosign trusted-root create makes one, as trusted_root.json of the instance's own repository is",
    )
