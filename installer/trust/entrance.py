"""Admission with what this host knows: looks up what :mod:`installer.trust.admission` goes by. Changes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from installer.bundle.parts import Ask
from installer.bundle.release import Release
from installer.bundle.trust import TrustPolicy
from installer.look.findings import Finding, warning
from installer.media import Media, open_media
from installer.site.site import Site
from installer.state.releases import list_kept
from installer.state.state import ProductState, SiteState, load_state
from installer.trust.admission import Admitted, Here, Presented, admit, state_lost
from installer.trust.clock import Clock, clock_of, date_findings, host_now, raised, root_findings
from installer.trust.lost import Observe, lost_state
from installer.trust.mediakey import media_keys
from installer.trust.permit import read_permit
from installer.trust.sitekey import site_fingerprint
from installer.trust.store import load_policy


@dataclass(frozen=True)
class Entrance:
    """A verified release at the door of one state dir."""

    state_dir: Path
    state: SiteState
    policy: TrustPolicy
    release: Release
    observe: Observe

    @property
    def clock(self) -> Clock:
        """The time that this release is judged by."""
        return clock_of(host_now(), self.state.floor, self.policy, self.release)

    def admit(self, product: ProductState, site: Site, permit: Path | None) -> Admitted:
        """Let the release in or refuse it. Raises what ``admit`` and, for a permit, ``read_permit`` raise."""
        presented = None
        if permit is not None:
            presented = Presented(
                read_permit(permit, self.policy), site_fingerprint(self.state_dir), self.clock, self.state.permits
            )
        here = Here(
            machine=os.uname().machine,
            epoch=self.policy.epoch,
            kept={ref.digest for ref in list_kept(self.state_dir, self.release.product)},
            lost=lost_state(self.state_dir, self.observe),
        )
        needed = admit(self.release, product, site, here, presented)
        return Admitted(self.policy.epoch, needed, raised(self.state.floor, self.release, self.policy))

    def findings(self, permit: Path | None, admitted: Admitted) -> tuple[Finding, ...]:
        """What is not right and stops nothing: clock, root, the release's date, a permit for nothing."""
        found = (
            *self.clock.findings(),
            *root_findings(self.policy, self.clock),
            *date_findings(self.release, self.policy),
        )
        if permit is None or admitted.permit is not None:
            return found
        unused = warning(
            "permit-not-needed",
            f"{self.release.version} comes in without a permit: this one was not used",
            "keep it for what it was made for, or destroy it",
        )
        return (*found, unused)


def open_here(path: Path, state_dir: Path, ask: Ask | None = None) -> Media:
    """Open media by the trust, the clock and the media keys of this state dir. Raises what ``open_media`` raises."""
    return open_media(
        path,
        load_policy(state_dir),
        now=lambda root: clock_here(state_dir, root).now,
        ask=ask,
        unlock=lambda: media_keys(state_dir),
    )


def clock_here(state_dir: Path, policy: TrustPolicy) -> Clock:
    """The time to judge by before anything of the media is known. Raises ``state-damaged`` (4)."""
    return clock_of(host_now(), load_state(state_dir).floor, policy)


def refuse_lost(state_dir: Path, observe: Observe | None) -> None:
    """Refuse to work on a host that lost its state. Raises ``state-lost`` (4)."""
    found = lost_state(state_dir, observe)
    if found:
        raise state_lost(None, found)
