"""A vendor's releases, a site, and permits between them, in memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bundler.trust.trust import NamedKey, RootPlan, make_root
from installer.bundle.digest import Digest
from installer.bundle.release import Release
from installer.bundle.strictjson import canonical
from installer.bundle.trust import TrustPolicy
from installer.errors import ExitCode, SealiftError
from installer.site.site import Site
from installer.state.state import ProductState, ReleaseRef, SiteState
from installer.trust.admission import Admitted, Here, Presented, admit, refuse_program
from installer.trust.clock import Clock, Floor, clock_of, spelled
from installer.trust.permit import Permit, VerifiedPermit, verify_permit
from tests.unit.trust.keys import key
from tests.vectors.forge import Forge

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EXPIRES = datetime(2036, 1, 1, tzinfo=UTC)
SITE = Digest.of(b"the key of this site")
BASE = Forge().value
PRODUCT = BASE["product"]


def release(version: str = "1.0.0", note: str = "", **changes: Any) -> Release:
    """A release; ``note`` makes another content of the same version."""
    inputs = {note: {"type": "string", "default": None, "since": None, "description": ""}} if note else {}
    value = {**BASE, "version": version, "created": "2026-11-01T00:00:00Z", "inputs": inputs, **changes}
    return Release.parse(canonical(value))


def root(permit: tuple[str, ...] = ("officer",), expires: datetime = EXPIRES, epoch: int = 1) -> TrustPolicy:
    """A root by which ``release`` signs releases and ``permit`` (one of them) permits."""
    plan = RootPlan(
        [NamedKey(key("release").spki, "release")],
        permit=[NamedKey(key(name).spki, name) for name in permit],
        product=PRODUCT,
        epoch=epoch,
    )
    return TrustPolicy.from_root(make_root(plan, [key("root")], expires), "root.json")


def permit(coming_from: Release | None, to: Release, /, **changes: Any) -> Permit:
    """A permit for this site, good for two weeks."""
    value: dict[str, Any] = {
        "product": PRODUCT,
        "coming_from": None if coming_from is None else str(coming_from.digest),
        "to": str(to.digest),
        "site": str(SITE),
        "id": "0123456789abcdef" * 2,
        "issued": spelled(NOW),
        "expires": spelled(NOW + timedelta(days=14)),
    }
    return Permit(**{**value, **changes})


def signed(raw: bytes, *names: str) -> dict[str, bytes]:
    """Signature files over ``raw`` by these keys."""
    return {f"x.permit.json.{name}.sigstore.json": key(name).signature_file(raw) for name in names}


def verified(one: Permit) -> VerifiedPermit:
    """The permit, signed by who may."""
    raw = one.to_bytes()
    return verify_permit(raw, signed(raw, "officer"), root())


@dataclass
class Host:
    """What a site remembers; it commits what it lets in. ``clock`` is the host's own."""

    channel: str = "stable"
    epoch: int = 1
    clock: datetime = NOW
    floor: datetime | None = None
    lost: str = ""
    state: SiteState = field(default_factory=SiteState)
    kept: set[str] = field(default_factory=set)

    @property
    def product(self) -> ProductState:
        return self.state.product(PRODUCT, self.channel)

    def admit(self, incoming: Release, leave: Permit | None = None, **more: Any) -> VerifiedPermit | None:
        """Whether it would let ``incoming`` in; the permit that it needed."""
        here = Here("x86_64", self.epoch, self.kept, self.lost)
        presented = None
        if leave is not None:
            presented = Presented(verified(leave), SITE, Clock(self.clock, self.floor), self.state.permits)
        needed = admit(incoming, self.product, Site(site="here", channel=self.channel), here, presented)
        refuse_program(incoming, "0.1.0")
        return needed

    def install(self, incoming: Release, leave: Permit | None = None) -> None:
        """Let it in and commit it."""
        needed = self.admit(incoming, leave)
        if needed is not None:
            self.state = self.state.model_copy(
                update={"permits": {**self.state.permits, needed.permit.id: spelled(NOW)}}
            )
        self._commit(incoming, Admitted(self.epoch, needed))
        self.lost = ""

    def roll_back(self, to: Release) -> None:
        """Back to what is kept: asks nobody."""
        assert str(to.digest) in self.kept
        self._commit(to, Admitted(self.epoch))

    def refuses(self, incoming: Release, leave: Permit | None = None) -> SealiftError:
        """How it refuses."""
        before = self.state
        with pytest.raises(SealiftError) as caught:
            self.admit(incoming, leave)
        assert self.state == before and caught.value.hint
        return caught.value

    def _commit(self, incoming: Release, admitted: Admitted) -> None:
        ref = ReleaseRef(product=PRODUCT, version=incoming.version, digest=str(incoming.digest))
        marks = admitted.marks(self.product.marks, incoming.channel, ref)
        product = self.product.model_copy(update={"current": ref, "marks": marks, "channel": incoming.channel})
        self.state = self.state.with_product(product)
        self.kept.add(ref.digest)


def used_to(*releases: Release, **more: Any) -> Host:
    """A host that has installed these, one after the other."""
    host = Host(**more)
    for one in releases:
        host.install(one)
    return host


def refusal(raw: bytes, signatures: dict[str, bytes], policy: TrustPolicy | None = None) -> SealiftError:
    """How a permit is refused before it is held against anything."""
    with pytest.raises(SealiftError) as caught:
        verify_permit(raw, signatures, policy or root())
    assert caught.value.exit_code in (ExitCode.MALFORMED, ExitCode.UNTRUSTED) and caught.value.hint
    return caught.value


def clock(host: datetime, floor: str | None = None, policy: TrustPolicy | None = None, **more: Any) -> Clock:
    """The clock of a host whose floor is ``floor``, by ``policy``."""
    known = None if floor is None else Floor(at=floor, epoch=more.pop("epoch", 1), release="sha256:" + "0" * 64)
    return clock_of(host, known, policy or root(), **more)


def ids(found: Collection[Any]) -> list[str]:
    """Ids of findings."""
    return [item.id for item in found]
