"""Keyless signatures: a key that lived for minutes, a certificate that binds it to an identity, and proof of when.

Verified without a network, from the trusted root that the root of trust carries. sigstore-python gives the verdict; it
is imported only when such a signature has to be judged (0.5 s). Before it, this module refuses, each with its own id,
what sigstore would refuse without a reason that scripts can tell, and what it would let pass:

- identity *and* issuer, both exactly, and a certificate that names one of each;
- certificates, logs and timestamps only by those that the trusted root trusts *at the time of signing*: sigstore asks
  the clock of this host about their periods, or nobody;
- each proof in a file must hold: sigstore passes over a bad timestamp where a log says a time.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from installer.bundle.digest import Digest
from installer.bundle.keylessform import KeylessSignature
from installer.bundle.problems import shown
from installer.bundle.signers import Identity
from installer.bundle.sigstoreroot import Authority, Log, SigstoreRoot
from installer.bundle.subject import load_certificate, subject_of
from installer.errors import SealiftError

if TYPE_CHECKING:
    from sigstore.verify.policy import VerificationPolicy

_DIGESTS: Final = {
    "2.16.840.1.101.3.4.2.1": hashlib.sha256,
    "2.16.840.1.101.3.4.2.2": hashlib.sha384,
    "2.16.840.1.101.3.4.2.3": hashlib.sha512,
}
_AGAIN: Final = "sign it again, and check what was made with: bundle verify"
_OTHER_INSTANCE: Final = "it may come from another instance: the root of trust says which one counts"
OF_STRANGERS: Final = frozenset({"keyless-wrong-identity", "keyless-wrong-issuer", "keyless-not-provisioned"})
"""Nothing is wrong with such a file: it is by somebody whom another root of trust may name."""

_REASONS: Final = (
    ("failed to verify SCT", "keyless-sct-wrong", "the certificate is not the one that its log has seen"),
    ("invalid log entry", "keyless-log-entry-wrong", "the proof by the transparency log does not hold"),
    ("transparency log entry is", "keyless-log-entry-of-another", "the log entry is about another signature"),
    ("Signature is invalid", "signature-wrong", "the signature is not by the key of its certificate"),
)
"""How sigstore's refusals begin, and the ids that they get. Any other text refuses too, as ``keyless-refused``."""


@dataclass(frozen=True)
class Time:
    """When a signature was there, as ``source`` says."""

    at: datetime
    by_log: bool

    @property
    def source(self) -> str:
        return "the transparency log" if self.by_log else "a timestamp"


def signer_of(
    sign: KeylessSignature, payload: bytes, wanted: Collection[Identity], root: SigstoreRoot | None
) -> Identity:
    """Who of ``wanted`` has signed ``payload``, as ``root`` proves.

    Raises ``signature-certificate``, ``signature-timestamp`` (3), ``signature-of-another``, ``signature-wrong`` and
    the ``keyless-…`` errors (5).
    """
    with warnings.catch_warnings(action="ignore"):  # libraries warn, on the screen, about hostile certificates
        return _signer_of(sign, payload, wanted, root)


def _signer_of(
    sign: KeylessSignature, payload: bytes, wanted: Collection[Identity], root: SigstoreRoot | None
) -> Identity:
    if sign.digest != Digest.of(payload):
        raise SealiftError("signature-of-another", "the signature is over something else", hint=_AGAIN)
    certificate = load_certificate(sign.certificate)
    signer = _wanted(*subject_of(certificate), wanted)
    if root is None:
        raise SealiftError(
            "keyless-not-provisioned",
            f"{signer.identity} is trusted, but no Sigstore instance that could vouch for it is",
            hint="the root of trust must carry the instance's trusted root: bundle trust rotate "
            "--sigstore-trusted-root FILE",
        )
    times = _times(sign, root)
    _refuse_expired(certificate, times)
    narrowed = replace(
        root,
        authorities=_issuing(certificate, times, root.authorities),
        logs=_logging(sign, times, root.logs),
        certificate_logs=_promising(certificate, root.certificate_logs),
    )
    _ask_sigstore(sign, payload, signer, narrowed)
    return signer


def _wanted(identity: str, issuer: str, wanted: Collection[Identity]) -> Identity:
    for one in wanted:
        if (one.identity, one.issuer) == (identity, issuer):
            return one
    if any(one.identity == identity for one in wanted):
        raise SealiftError(
            "keyless-wrong-issuer",
            f"{shown(identity)} is trusted as another issuer knows it, not as {shown(issuer)} does",
            hint="sign with a token of the issuer that the root of trust names",
        )
    raise SealiftError(
        "keyless-wrong-identity",
        f"signed by {shown(identity)} (issuer {shown(issuer)}), whom the root of trust does not name",
        hint="sign as somebody whom it names",
    )


def _times(sign: KeylessSignature, root: SigstoreRoot) -> list[Time]:
    """Every time that the file tells; those of timestamps are proved, that of the log is not yet."""
    times = [Time(_stamped(stamp, sign.signature, root), by_log=False) for stamp in sign.timestamps]
    if sign.entry.time is not None:
        times.append(Time(datetime.fromtimestamp(sign.entry.time, UTC), by_log=True))
    if not times:
        raise SealiftError(
            "keyless-no-time",
            "nothing proves when this was signed: no promise by the transparency log, and no timestamp",
            hint="sign with an instance that has a timestamp authority; a log of version 2 gives no time",
        )
    return times


def _stamped(stamp: bytes, signature: bytes, root: SigstoreRoot) -> datetime:
    """When a timestamp (RFC 3161) says that ``signature`` was there, by an authority that the root trusts then."""
    from rfc3161_client import VerifierBuilder, decode_timestamp_response

    try:
        response = decode_timestamp_response(stamp)
        info = response.tst_info
        time, imprint = info.gen_time, info.message_imprint
        digest = _DIGESTS[imprint.hash_algorithm.dotted_string](signature).digest()
    except Exception as error:  # the library's, about hostile bytes
        raise SealiftError(
            "signature-timestamp", "a timestamp that is none, or by another digest than SHA-2", hint=_AGAIN
        ) from error
    if imprint.message != digest:
        raise SealiftError("keyless-timestamp-of-another", "the timestamp is about another signature", hint=_AGAIN)
    for authority in root.timestamp_authorities:
        if len(authority.chain) < 2 or not authority.holds(time):
            continue
        leaf, *between, last = authority.chain
        verifier = VerifierBuilder(tsa_certificate=leaf, intermediates=between, roots=[last]).build()
        try:
            verifier.verify(response, digest)
        except Exception:  # noqa: S112 - by somebody else, or forged: there may be another authority
            continue
        return time
    raise SealiftError(
        "keyless-timestamp-untrusted",
        f"the timestamp of {time:%Y-%m-%d %H:%M:%S} is by no authority that is trusted at that time",
        hint=_OTHER_INSTANCE,
    )


def _refuse_expired(certificate: x509.Certificate, times: Iterable[Time]) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    for time in times:
        if not start <= time.at <= end:
            raise SealiftError(
                "keyless-expired" if time.by_log else "keyless-timestamp-outside",
                f"the certificate was valid from {start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S}, but {time.source} says "
                f"that it signed on {time.at:%Y-%m-%d %H:%M:%S}",
                hint="sign again with a new token, with both clocks right",
            )


def _issuing(
    certificate: x509.Certificate, times: Collection[Time], authorities: Iterable[Authority]
) -> tuple[Authority, ...]:
    """The authorities that have issued ``certificate``, and were trusted at all ``times``."""
    issuing = [one for one in authorities if any(_has_issued(above, certificate) for above in one.chain)]
    if not issuing:
        raise _not_issued()
    trusted = tuple(one for one in issuing if all(one.holds(time.at) for time in times))
    if not trusted:
        raise SealiftError(
            "keyless-authority-expired",
            "the authority that issued the certificate was not valid, or no longer trusted, when it signed",
            hint="the root of trust says until when; sign again, with the instance's present authority",
        )
    return trusted


def _has_issued(above: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _logging(sign: KeylessSignature, times: Collection[Time], logs: Iterable[Log]) -> tuple[Log, ...]:
    found = tuple(
        one for one in logs if sign.entry.log_id in one.ids and all(one.period.holds(time.at) for time in times)
    )
    if not found:
        raise SealiftError(
            "keyless-log-unknown",
            f"the entry is in the log {sign.entry.log_id.hex()[:16]}, which was not trusted when this was signed",
            hint=_OTHER_INSTANCE,
        )
    return found


def _promising(certificate: x509.Certificate, logs: Iterable[Log]) -> tuple[Log, ...]:
    """The certificate logs that say to have seen ``certificate`` while they were trusted."""
    try:
        promises = list(
            certificate.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
        )
    except (x509.ExtensionNotFound, ValueError) as error:
        raise SealiftError(
            "keyless-sct-missing", "no certificate log has promised to log the certificate", hint=_OTHER_INSTANCE
        ) from error
    found = tuple(
        log
        for log in logs
        if any(one.log_id in log.ids and log.period.holds(one.timestamp.replace(tzinfo=UTC)) for one in promises)
    )
    if not found:
        raise SealiftError(
            "keyless-sct-wrong",
            "the certificate is promised to a certificate log that was not trusted then",
            hint=_OTHER_INSTANCE,
        )
    return found


def _ask_sigstore(sign: KeylessSignature, payload: bytes, signer: Identity, root: SigstoreRoot) -> None:
    """The verdict. Nothing here goes online: all that sigstore needs is in its hands."""
    from sigstore.errors import CertValidationError
    from sigstore.models import Bundle, TrustedRoot
    from sigstore.verify import Verifier
    from sigstore_models.trustroot.v1 import TrustedRoot as TrustedRootModel

    try:
        # From a value: sigstore's own reader wants the name of a file.
        trusted = TrustedRoot(TrustedRootModel.from_json(root.as_json()))
        Verifier(trusted_root=trusted).verify_artifact(payload, Bundle.from_json(sign.raw), _policy(signer))
    except CertValidationError as error:
        raise _not_issued() from error
    except Exception as error:  # hostile bytes reach many libraries in there: whatever they say, it is no
        for start, error_id, message in _REASONS:
            if str(error).startswith(start):
                raise SealiftError(error_id, message, hint=_AGAIN) from error
        why = shown(f"{type(error).__name__} {error}")
        raise SealiftError("keyless-refused", f"sigstore refuses it: {why}", hint=_AGAIN) from error


def _policy(signer: Identity) -> VerificationPolicy:
    from sigstore.verify import policy

    issuer = policy.AnyOf([policy.OIDCIssuer(signer.issuer), policy.OIDCIssuerV2(signer.issuer)])
    return policy.AllOf([policy.Identity(identity=signer.identity), issuer])


def _not_issued() -> SealiftError:
    return SealiftError(
        "keyless-certificate-untrusted",
        "the certificate is by no authority that the root of trust names",
        hint=_OTHER_INSTANCE,
    )
