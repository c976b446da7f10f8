"""Permits: a signed leave for one site to go once from one release to another that its marks forbid.

``permit.json`` is canonical JSON of a closed schema that names its type; ``permit.json.NAME.sigstore.json`` beside it
are signatures over its bytes, judged by the *permit* role of the host's own root. It never stands for a signature of
the release itself: what comes in with it is verified like all else. The page about it: docs/trust/permits.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import InitVar, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, model_validator

from installer.bundle.beside import Beside, read_signature_files, weigh
from installer.bundle.digest import Digest
from installer.bundle.fields import Closed, DigestText, Instant, Name
from installer.bundle.problems import first_problem
from installer.bundle.release import Release
from installer.bundle.signature import KeySignature, parse_signature
from installer.bundle.strictjson import canonical, parse_canonical
from installer.bundle.trust import Signer, TrustPolicy
from installer.errors import SealiftError
from installer.trust.clock import Clock, instant

PERMIT_TYPE: Final = "application/vnd.sealift.permit.v1+json"
MAX_PERMIT_BYTES: Final = 16 * 1024
LONGEST: Final = timedelta(days=366)
"""For how long a permit can be issued."""
_KEY: Final = object()
_MAKE: Final = "bundle permit makes one"
_ANOTHER: Final = "ask for a permit for just this step; the refusal without --permit prints what it must name"


class Permit(Closed):
    """``to`` may come in where ``from`` serves (None: a host that lost its state), on ``site``, once, till ``expires``.

    ``from`` and ``to`` are digests of releases, ``site`` is the fingerprint of the site's key.
    """

    model_config = ConfigDict(**Closed.model_config, validate_by_name=True, validate_by_alias=True)

    type: Literal["application/vnd.sealift.permit.v1+json"] = PERMIT_TYPE
    product: Name
    coming_from: Annotated[DigestText | None, Field(alias="from")]
    to: DigestText
    site: DigestText
    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    issued: Instant
    expires: Instant

    @model_validator(mode="after")
    def _lasts_a_while(self) -> Self:
        if not timedelta(0) < instant(self.expires) - instant(self.issued) <= LONGEST:
            raise ValueError(f"it must expire after it is issued, and within {LONGEST.days} days")
        if self.coming_from == self.to:
            raise ValueError("it leads from a release to the same one")
        return self

    @classmethod
    def parse(cls, raw: bytes) -> Permit:
        """Read the bytes that were signed; call it only after the signatures over them hold.

        Raises the ``json-…`` errors, ``permit-type``, ``permit-invalid`` (3).
        """
        value = parse_canonical(raw, "the permit")
        if not isinstance(value, dict) or value.get("type") != PERMIT_TYPE:
            raise SealiftError("permit-type", "what was given as a permit does not say that it is one", hint=_MAKE)
        try:
            permit = cls.model_validate_json(raw)
        except ValidationError as error:
            raise SealiftError(
                "permit-invalid",
                f"the permit breaks its format: {first_problem(error)}",
                hint=_MAKE,
            ) from error
        if permit.to_bytes() != raw:
            raise SealiftError("permit-invalid", "the permit is spelled otherwise", hint=_MAKE)
        return permit

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed."""
        return canonical(self.model_dump(mode="json", by_alias=True))

    def lines(self) -> tuple[str, ...]:
        """For who is about to sign, or to use it."""
        return (
            f"permit {self.id} for {self.product}, once, until {self.expires}",
            f"from {self.coming_from or 'whatever a host that lost its state runs'}",
            f"to   {self.to}",
            f"site {self.site}",
        )


def kept_permit(permit: Permit) -> str:
    """Where in the state dir a used permit is kept; its signatures lie beside it. Pure."""
    return f"permits/{permit.id}.permit.json"


@dataclass(frozen=True)
class VerifiedPermit:
    """A permit whose signatures hold; ``signatures`` are their files. Only :func:`verify_permit` makes one."""

    permit: Permit
    signers: tuple[Signer, ...]
    signatures: tuple[bytes, ...]
    _key: InitVar[object] = None

    def __post_init__(self, _key: object) -> None:
        if _key is not _KEY:
            raise TypeError("a VerifiedPermit is made by verify_permit alone")

    def check(self, release: Release, standing: str | None, site: Digest, clock: Clock, used: Collection[str]) -> None:
        """Whether it lets ``release`` in here. Pure. ``standing`` is the digest of what it replaces.

        Raises ``permit-other-product``, ``permit-other-site``, ``permit-other-from``, ``permit-other-to``,
        ``permit-used``, ``permit-expired`` (6).
        """
        permit = self.permit
        for error_id, what, said, here in (
            ("permit-other-product", "is for", permit.product, release.product),
            ("permit-other-site", "is for the site", permit.site, str(site)),
            ("permit-other-to", "leads to", permit.to, str(release.digest)),
            ("permit-other-from", "starts at", permit.coming_from or "a lost state", standing or "a lost state"),
        ):
            if said != here:
                raise SealiftError(error_id, f"the permit {what} {said}, and here it is {here}", hint=_ANOTHER)
        if permit.id in used:
            raise SealiftError("permit-used", f"the permit {permit.id} was used here already", hint=_ANOTHER)
        if instant(permit.expires) <= clock.now:
            by = "this host's clock" if clock.now == clock.host else "a release that was installed here"
            raise SealiftError(
                "permit-expired",
                f"the permit expired at {permit.expires}, and {by} says {clock.now:%Y-%m-%d}",
                hint="look at the clock (sealift doctor), or ask for a new permit",
            )


def verify_permit(raw: bytes, signatures: Mapping[str, bytes], policy: TrustPolicy) -> VerifiedPermit:
    """Trust a permit or refuse it. Pure.

    Raises the errors of :meth:`TrustPolicy.judge` and :meth:`Permit.parse`, and ``permit-role`` (5) where only keys of
    other roles have signed.
    """
    found = weigh(Beside(signatures), raw, {}, policy, "permit")
    if not found.files and found.passed_over:
        raise found.passed_over[0].error
    try:
        signers = policy.judge("permit", raw, found.files)
    except SealiftError as error:
        if error.id == "no-valid-signature":
            _refuse_other_roles(raw, found.files, policy)
        raise
    return VerifiedPermit(Permit.parse(raw), signers, tuple(found.files.values()), _KEY)


def read_permit(path: Path, policy: TrustPolicy) -> VerifiedPermit:
    """Read ``path`` and the signatures beside it. Raises ``input-missing`` (2), and what :func:`verify_permit` does."""
    raw, signatures = permit_files(path)
    return verify_permit(raw, signatures, policy)


def permit_files(path: Path) -> tuple[bytes, Mapping[str, bytes]]:
    """The bytes of a permit and the signature files beside it, unjudged: plain files only, nothing is waited for.

    Raises ``input-missing`` (2), ``permit-too-large``, ``media-not-a-file`` (3), ``media-unreadable`` (4).
    """
    place = path.resolve()  # the person who named it may have named a link
    name = re.escape(place.name)
    found = read_signature_files(place.parent, re.compile(name), "", strays=False)
    for item in found.passed_over:
        raise item.error
    if place.name not in found.files:
        raise SealiftError("input-missing", f"there is no permit {path}", hint="name the file that bundle permit wrote")
    raw = found.files[place.name]
    if len(raw) > MAX_PERMIT_BYTES:
        raise SealiftError("permit-too-large", f"{path} is larger than {MAX_PERMIT_BYTES} bytes: it is no permit")
    pattern = re.compile(name + r"\.[a-z0-9][a-z0-9._-]{0,60}\.sigstore\.json")
    return raw, read_signature_files(place.parent, pattern, "", strays=False).files


def _refuse_other_roles(raw: bytes, files: Mapping[str, bytes], policy: TrustPolicy) -> None:
    """Whether somebody signed who may sign something else, and wasn't asked for this."""
    parsed = [parse_signature(data, name) for name, data in files.items()]
    hints = {sign.key_hint.hex() for sign in parsed if isinstance(sign, KeySignature)}
    for role, rule in sorted(policy.roles.items()):
        for key in rule.keys:
            if key.fingerprint.hex in hints:
                raise SealiftError(
                    "permit-role",
                    f"the permit is signed by {key.name} ({key.fingerprint.short}), who may sign as {role} only",
                    hint=f"{policy.place} wants the permit role: "
                    + ", ".join(f"{one.name} ({one.fingerprint.short})" for one in policy.roles["permit"].keys),
                )
