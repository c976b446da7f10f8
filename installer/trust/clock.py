"""What time it may be: the host's clock, but never before a time that is known to have been (docs/trust/clocks.md).

The floor is the latest date of a release that was committed here, and only a date *within the validity of the root that
vouched for its signers* counts: so no date in a signed file, however far ahead, makes anything expire beyond what the
root's holders allowed. They reset it: a floor of an earlier epoch, or not before the present root's expiry, is void.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from installer.bundle.fields import Closed, DigestText, Instant
from installer.bundle.release import Release
from installer.bundle.trust import TrustPolicy
from installer.look.findings import Finding, warning

SLACK: Final = timedelta(days=1)
"""A clock may be wrong by this much without a word."""
FAR_AHEAD: Final = timedelta(days=5 * 365)
_FORM: Final = "%Y-%m-%dT%H:%M:%SZ"


class Floor(Closed):
    """A time that has been: ``release`` says so, committed under a root of ``epoch``."""

    at: Instant
    epoch: Annotated[int, Field(ge=1)]
    release: DigestText


@dataclass(frozen=True)
class Clock:
    """The time to judge by. ``host`` is what the host's clock says, ``floor`` the latest time known to have been."""

    host: datetime
    floor: datetime | None = None

    @property
    def now(self) -> datetime:
        """The later of both."""
        return self.host if self.floor is None else max(self.host, self.floor)

    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the host's clock, as far as it can be told. Pure."""
        if self.floor is None:
            return ()
        if self.host + SLACK < self.floor:
            return (
                warning(
                    "clock-behind",
                    f"the clock of this host says {self.host:%Y-%m-%d}, but {self.floor:%Y-%m-%d} has been already: "
                    "times are judged by the later one",
                    "set the clock; a date that was signed wrongly is undone by a root of a new epoch",
                ),
            )
        if self.host > self.floor + FAR_AHEAD:
            return (
                warning(
                    "clock-ahead",
                    f"the clock of this host says {self.host:%Y-%m-%d}, years after everything known here "
                    f"({self.floor:%Y-%m-%d})",
                    "look at the clock: what expires is judged by it",
                ),
            )
        return ()


def host_now() -> datetime:
    """The host's clock."""
    return datetime.now(UTC)


def instant(text: str) -> datetime:
    """The time that an ``Instant`` spells."""
    return datetime.strptime(text, _FORM).replace(tzinfo=UTC)


def spelled(time: datetime) -> str:
    """A time as an ``Instant``, to the second."""
    return time.astimezone(UTC).strftime(_FORM)


def clock_of(host: datetime, floor: Floor | None, policy: TrustPolicy, release: Release | None = None) -> Clock:
    """The clock for judging under ``policy``; ``release`` is one that it has verified just now."""
    known = [] if floor is None or not _holds(floor, policy) else [instant(floor.at)]
    if release is not None and _counts(release.created, policy):
        known.append(instant(release.created))
    return Clock(host, max(known, default=None))


def raised(floor: Floor | None, release: Release, policy: TrustPolicy) -> Floor | None:
    """The floor once ``release``, which ``policy`` has verified, was committed."""
    kept = floor if floor is not None and _holds(floor, policy) else None
    if not _counts(release.created, policy):
        return kept
    if kept is not None and instant(kept.at) >= instant(release.created):
        return kept
    return Floor(at=release.created, epoch=policy.epoch, release=str(release.digest))


def date_findings(release: Release, policy: TrustPolicy) -> tuple[Finding, ...]:
    """Whether the date that a release gives itself can be true."""
    if policy.expires is None or _counts(release.created, policy):
        return ()
    return (
        warning(
            "date-not-credible",
            f"the release says it was made on {release.created[:10]}, after {policy.origin} expires "
            f"({policy.expires:%Y-%m-%d}): that date counts for nothing",
            "ask whoever built it for its date; a newer root may be due",
        ),
    )


def root_findings(policy: TrustPolicy, clock: Clock) -> tuple[Finding, ...]:
    """Whether the root has expired, or will within 180 days."""
    notice = policy.expiry_notice(clock.now)
    if notice is None or policy.expires is None:
        return ()
    what = "root-expires-soon" if clock.now < policy.expires else "root-expired"
    return (warning(what, notice, "the vendor's next media can carry it, signed by the holders of this one"),)


def _counts(created: str, policy: TrustPolicy) -> bool:
    """A date counts only while the root is valid that vouches for who signed it."""
    return policy.expires is not None and instant(created) < policy.expires


def _holds(floor: Floor, policy: TrustPolicy) -> bool:
    return floor.epoch >= policy.epoch and _counts(floor.at, policy)
