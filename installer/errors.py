"""Exit codes and error ids: the one table that scripts, documentation and tests rely on.

Every refusal of sealift is a :class:`SealiftError` with an id from :data:`ERRORS`. The id is stable and says the
reason; the exit code it maps to says what the caller can do next (see the tables in ``docs/errors.md``).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """Exit codes of ``bundle``, ``install`` and ``sealift``; treat an unknown one as failure."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    MALFORMED = 3
    CORRUPT = 4
    UNTRUSTED = 5
    INCOMPATIBLE = 6
    HOST = 7
    LOCKED = 8
    SERVICE = 9
    ROLLED_BACK = 10
    OPERATOR_NEEDED = 11
    REFUSED = 12
    INTERRUPTED = 130

    @property
    def label(self) -> str:
        """The name as it stands in JSON, such as ``rolled-back``."""
        return self.name.lower().replace("_", "-")


_BY_CODE: Final[dict[ExitCode, tuple[str, ...]]] = {
    ExitCode.INTERNAL: ("internal",),
    ExitCode.USAGE: (
        "bad-option",
        "answer-needed",
        "manifest-invalid",
        "manifest-not-found",
        "manifest-ambiguous",
        "site-file-invalid",
        "site-file-not-found",
        "template-invalid",
        "compose-invalid",
        "version-invalid",
        "version-mismatch",
        "changelog-section-missing",
        "no-signing-key",
        "identity-token-missing",
        "identity-token-unusable",
        "sigstore-config-invalid",
        "key-unreadable",
        "key-damaged",
        "key-kind",
        "passphrase-needed",
        "passphrase-wrong",
        "input-missing",
        "output-exists",
        "source-unsupported",
        "chart-invalid",
        "image-not-found",
        "release-not-found",
        "platform-missing",
        "signature-not-found",
        "installer-missing",
        "root-invalid",
        "copies-differ",
        "nothing-to-roll-back",
        "nothing-staged",
        "unknown-service",
        "nothing-to-confirm",
        "unknown-release",
        "not-initialised",
        "permit-wish",
        "release-missing",
        "release-ambiguous",
        "recipient-invalid",
    ),
    ExitCode.MALFORMED: (
        "not-a-bundle",
        "media-not-a-file",
        "part-not-first",
        "part-unknown",
        "age-header",
        "age-passphrase",
        "too-large",
        # what stands for a release in a registry
        "not-a-release",
        "artifact-spelling",
        "referrers-malformed",
        "referrers-too-many",
        "referrer-malformed",
        # how the file is cut into frames
        "frame-magic",
        "frame-skippable",
        "frame-reserved",
        "frame-checksum",
        "frame-dictionary",
        "frame-size-unknown",
        "frame-too-large",
        "frame-size",
        "frame-window",
        "frame-block",
        "frame-blocks",
        "frame-overflow",
        # what introduces a member
        "tar-checksum",
        "tar-magic",
        "tar-number",
        "tar-spelling",
        "tar-padding",
        "size-negative",
        "size-overflow",
        "member-link",
        "member-device",
        "member-directory",
        "member-sparse",
        "member-type",
        "member-owner",
        "member-time",
        "member-mode",
        "pax-header",
        "gnu-longname",
        "path-absolute",
        "path-climbing",
        "path-spelling",
        # which members there are
        "member-unexpected",
        "member-repeated",
        "member-missing",
        "member-order",
        "member-left-out",
        "member-size",
        "name-twin",
        "archive-end",
        "archive-second",
        "index-lies",
        "index-malformed",
        "trailing-data",
        # how a document is spelled
        "json-invalid",
        "json-not-utf8",
        "json-duplicate-key",
        "json-number",
        "json-depth",
        "json-surrogate",
        "json-not-canonical",
        "digest-malformed",
        # what a document says
        "release-too-large",
        "release-type",
        "release-unknown-field",
        "release-missing-field",
        "release-digest",
        "release-order",
        "release-repeated",
        "release-size",
        "release-manifest",
        "release-reference",
        "release-role",
        "release-text",
        "release-spelling",
        "release-invalid",
        "packing-too-large",
        "packing-type",
        "packing-unknown-field",
        "packing-digest",
        "packing-order",
        "packing-repeated",
        "packing-empty",
        "packing-size",
        "packing-base",
        "packing-unlisted",
        "packing-needed",
        "packing-target",
        "packing-overlap",
        "packing-invalid",
        "patch-malformed",
        "patch-too-large",
        "signature-too-large",
        "signatures-too-many",
        "signature-type",
        "signature-envelope",
        "signature-certificate",
        "signature-field",
        "signature-log-entry",
        "signature-algorithm",
        "signature-base64",
        "signature-timestamp",
        "root-too-large",
        "root-type",
        "root-threshold",
        "root-key",
        "root-key-twice",
        "root-keyid",
        "root-malformed",
        "root-unknown-field",
        "root-identity",
        "root-requirement",
        "permit-too-large",
        "permit-type",
        "permit-invalid",
        "receipt-too-large",
        "receipt-type",
        "receipt-invalid",
        "path-note-invalid",
        "path-note-differs",
        "root-keyless",
        "roots-too-many",
    ),
    ExitCode.CORRUPT: (
        "truncated",
        "digest-mismatch",
        "release-incomplete",
        "incomplete",
        "delta-base-missing",
        "frame-corrupt",
        "media-unreadable",
        "media-changed",
        "part-missing",
        "part-size",
        "part-damaged",
        "age-altered",
        "age-chunk",
        "media-key-damaged",
        "beyond-repair",
        "program-damaged",
        "kept-release-damaged",
        "journal-damaged",
        "state-damaged",
        "state-lost",
        "state-outdated",
        "site-key-damaged",
        "receipt-damaged",
    ),
    ExitCode.UNTRUSTED: (
        "no-trust-provisioned",
        "no-valid-signature",
        "signature-wrong",
        "signature-of-another",
        "referrer-of-another",
        "threshold-not-met",
        "requirement-not-met",
        "key-revoked",
        "root-expired",
        "root-skipped",
        "root-version",
        "root-chain",
        "root-signature",
        "root-product",
        "root-epoch",
        "roots-missing",
        "roots-differ",
        "kept-release-untrusted",
        "fingerprint-mismatch",
        "root-not-self-signed",
        "trust-exists",
        "trust-damaged",
        "unsigned",
        "permit-role",
        "receipt-unsigned",
        "receipt-unknown-site",
        "trust-went-back",
        "program-untrusted",
        # a signature by a certificate for an identity
        "keyless-not-provisioned",
        "keyless-wrong-identity",
        "keyless-wrong-issuer",
        "keyless-certificate-untrusted",
        "keyless-authority-expired",
        "keyless-expired",
        "keyless-no-time",
        "keyless-timestamp-untrusted",
        "keyless-timestamp-of-another",
        "keyless-timestamp-outside",
        "keyless-log-unknown",
        "keyless-log-entry-wrong",
        "keyless-log-entry-of-another",
        "keyless-sct-missing",
        "keyless-sct-wrong",
        "keyless-refused",
    ),
    ExitCode.INCOMPATIBLE: (
        "patch-encoder",
        "downgrade",
        "same-version-other-digest",
        "upgrade-path",
        "kit-no-path",
        "installer-too-old",
        "wrong-platform",
        "wrong-product",
        "wrong-channel",
        "strategy-unsupported",
        "permit-other-product",
        "permit-other-site",
        "permit-other-from",
        "permit-other-to",
        "permit-used",
        "permit-expired",
    ),
    ExitCode.HOST: (
        "site-value-missing",
        "secret-missing",
        "port-taken",
        "disk-full",
        "disk-too-small",
        "patch-unconfined",
        "engine-missing",
        "compose-missing",
        "permission",
        "address-pool",
        "entry-point-unbound",
        "state-dir-unusable",
        "journal-unwritable",
        "certificate-missing",
        "engine-distrusts-registry",
        "runtime-unusable",
        "path-unsafe",
        "media-encrypted",
        "media-key-wrong",
        "media-key-open",
        "tool-missing",
        "tool-failed",
    ),
    ExitCode.LOCKED: ("locked",),
    ExitCode.SERVICE: (
        "engine-failed",
        "service-unhealthy",
        "registry-unreachable",
        "registry-refused",
        "registry-login",
        "registry-cut-off",
        "signing-service-failed",
        "check-failed",
        "edge-failed",
        "edge-unreachable",
    ),
    ExitCode.ROLLED_BACK: ("upgrade-rolled-back",),
    ExitCode.OPERATOR_NEEDED: ("operator-needed",),
    ExitCode.REFUSED: (
        "run-unfinished",
        "build-differs",
        "pin-mismatch",
        "unconfirmed",
        "confirm-too-late",
        "staging-outdated",
    ),
    ExitCode.INTERRUPTED: ("interrupted",),
}

ERRORS: Final[dict[str, ExitCode]] = {error_id: code for code, ids in _BY_CODE.items() for error_id in ids}
"""Every error id and the exit code it ends with."""


_USUAL_HINT: Final = {
    ExitCode.MALFORMED: "get another copy; if that is refused too, ask whoever built it",
    ExitCode.CORRUPT: "copy it again from its source and compare SHA256SUMS",
}
"""What to do about bytes that are not as they must be, where nothing more exact can be said."""


class Interrupted(BaseException):
    """A signal stopped a run in its middle. Its text says what serves meanwhile."""


class SealiftError(Exception):
    """A refusal or failure that a person can act on.

    ``id`` is a key of :data:`ERRORS`; ``message`` says what happened, then why (lower case, no full stop);
    ``hint`` says what to do. ``details`` are further lines for a person, such as the last log lines of a service.
    """

    def __init__(self, id: str, message: str, *, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.id = id
        self.exit_code = ERRORS[id]
        self.message = message
        self.hint = hint or _USUAL_HINT.get(self.exit_code, "")
        self.details = details

    def as_json(self) -> dict[str, object]:
        """The ``error`` object of ``--json`` output."""
        return {
            "code": int(self.exit_code),
            "name": self.exit_code.label,
            "id": self.id,
            "message": self.message,
            "hint": self.hint,
        }
