"""May this release come in here? Pure rules about versions, channels, platforms; the marks stop old media.

What the marks refuse, and a host that lost its state, only a permit lets in. Going back to a kept release is
``sealift rollback`` and needs none; *media* of a kept release are refused all the same, so that an old stick is never
taken for an upgrade.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import semver

from installer.bundle.digest import Digest
from installer.bundle.release import Release
from installer.errors import SealiftError
from installer.site.site import Site
from installer.state.state import ProductState, ReleaseRef
from installer.trust.clock import Clock, Floor
from installer.trust.marks import Mark, Marks
from installer.trust.permit import VerifiedPermit

PLATFORMS: Final = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
"""Platforms of releases by the kernel's name for a machine."""
_OPERATORS: Final[dict[str, Callable[[semver.Version, semver.Version], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def within(version: str, wanted: str) -> bool:
    """Whether ``version`` lies in a range such as ``>=1.8,<3`` (missing parts are 0)."""
    here = semver.Version.parse(version)
    for condition in wanted.split(","):
        match = re.fullmatch(r"(==|!=|<=|>=|<|>)([\d.]+)", condition)
        if match is None:
            raise ValueError(condition)
        bound = semver.Version.parse(match[2], optional_minor_and_patch=True)
        if not _OPERATORS[match[1]](here, bound):
            return False
    return True


@dataclass(frozen=True)
class Here:
    """What admission goes by on this host.

    ``machine`` is the kernel's name for it, ``epoch`` that of the root of trust, ``kept`` the
    digests of kept releases, ``lost`` what shows that the state was lost (empty where it was not).
    """

    machine: str
    epoch: int = 1
    kept: Collection[str] = ()
    lost: str = ""


@dataclass(frozen=True)
class Presented:
    """A permit as it was handed in, and what it is held against: this site, the time, the ids used before."""

    permit: VerifiedPermit
    site: Digest
    clock: Clock
    used: Collection[str]


@dataclass(frozen=True)
class Admitted:
    """What a commit writes down of how the release came in: the epoch, the permit it needed, the floor from now on."""

    epoch: int = 1
    permit: VerifiedPermit | None = None
    floor: Floor | None = None

    @property
    def begins_anew(self) -> bool:
        """Whether a permit lets a host begin that lost its state."""
        return self.permit is not None and self.permit.permit.coming_from is None

    def marks(self, before: Marks, channel: str, ref: ReleaseRef) -> Marks:
        """The marks once ``ref``, a release of ``channel``, is committed."""
        here = Mark(epoch=self.epoch, version=ref.version, digest=ref.digest)
        return before.committed(channel, here, permitted=self.permit is not None)


UNCONDITIONAL: Final = Admitted()
"""For a plan that commits nothing new, such as taking a product off."""


def admit(
    release: Release, product: ProductState, site: Site, here: Here, presented: Presented | None = None
) -> VerifiedPermit | None:
    """Refuse what must not come in from media; the permit that let it in, None where it needed none.

    Raises errors of exit code 6, ``state-lost`` (4), ``trust-went-back`` (5).
    """
    _refuse_place(release, site, here.machine)
    _refuse_path(release, product)
    _refuse_older_trust(product, here)
    refusal = state_lost(release.product, here.lost) if here.lost else _lowers(release, product, here)
    if refusal is None:
        return None
    if presented is None:
        raise refusal
    standing = None if here.lost else stands(product)
    presented.permit.check(release, standing, presented.site, presented.clock, presented.used)
    return presented.permit


def stands(product: ProductState) -> str | None:
    """The digest of what a permit must start at: what serves, else what was committed last."""
    if product.current is not None:
        return product.current.digest
    return product.marks.product.digest if product.marks.product else None


def state_lost(product: str | None, evidence: str) -> SealiftError:
    """The refusal of a host that has been in use and doesn't know any more what it ran."""
    who = f" --product {product}" if product else ""
    return SealiftError(
        "state-lost",
        f"this host has been in use and has lost its state: {evidence}; it cannot tell an old release from a new one",
        hint="restore state.a and state.b of the state dir from its backup; without one, ask for a permit: "
        f"bundle permit{who} --from lost --to … --site …, and use it with: install --permit FILE",
    )


def _refuse_place(release: Release, site: Site, machine: str) -> None:
    if PLATFORMS.get(machine) != release.platform:
        raise SealiftError(
            "wrong-platform",
            f"the bundle is for {release.platform}, and this host is {PLATFORMS.get(machine, machine)}",
            hint="bring the bundle that was built for this platform",
        )
    if release.channel != site.channel:
        raise SealiftError(
            "wrong-channel",
            f"the release comes from the channel {release.channel}, and this site follows {site.channel}",
            hint="bring media of this site's channel, or let the site decide otherwise: `channel:` in site.yaml",
        )


def suffices(release: Release, program: str) -> bool:
    """Whether ``program``, a version of ours, is new enough for the release."""
    return release.requires.installer is None or within(program, release.requires.installer)


def refuse_program(release: Release, program: str) -> None:
    """Refuse a release that needs another version of ours than ``program`` (``installer-too-old``, 6).

    Asked last: a newer program that came along has had its chance to take over.
    """
    if not suffices(release, program):
        raise SealiftError(
            "installer-too-old",
            f"the release needs sealift {release.requires.installer}, and this is {program}",
            hint="a newer sealift comes along on the media and takes over by itself once the installer role has signed "
            "it: ask the vendor for media that bring one",
        )


def _refuse_path(release: Release, product: ProductState) -> None:
    wanted = release.requires.upgrade_from
    if product.current and wanted and not within(product.current.version, wanted):
        raise SealiftError(
            "upgrade-path",
            f"{release.version} can be installed over {wanted}, and {product.current.version} runs here",
            hint="install a release in between first; its upgrade notes name it",
        )


def _refuse_older_trust(product: ProductState, here: Here) -> None:
    newest = product.marks.newest_epoch()
    if newest > here.epoch:
        raise SealiftError(
            "trust-went-back",
            f"the root of trust is of epoch {here.epoch}, and a release was committed here under epoch {newest}",
            hint="the trust folder is older than the state: restore both from the same backup, or sealift trust update",
        )


def _lowers(release: Release, product: ProductState, here: Here) -> SealiftError | None:
    """Why the marks forbid ``release``, None where they don't; what serves already lowers nothing."""
    digest = str(release.digest)
    if product.current is not None and product.current.digest == digest:
        return None
    for mark in product.marks.binding(release.channel, here.epoch):
        if mark.digest == digest:
            continue
        if mark.version == release.version:
            return SealiftError(
                "same-version-other-digest",
                f"another {release.version} than this one ran here: {mark.digest[7:15]}, not {release.digest.short}",
                hint="one version has one content: ask the vendor which of the two is right; to take this one in all "
                f"the same, {_permit(release, product)}",
            )
        if semver.Version.parse(release.version) < semver.Version.parse(mark.version):
            return _downgrade(release, product, here, mark)
    return None


def _downgrade(release: Release, product: ProductState, here: Here, mark: Mark) -> SealiftError:
    if str(release.digest) in here.kept:
        hint = f"it is kept here, so no media are needed: sealift rollback --to {release.version}"
    else:
        hint = f"back to a release that is kept here: sealift rollback; for any other, {_permit(release, product)}"
    return SealiftError("downgrade", f"{release.version} is older than {mark.version}, which has run here", hint=hint)


def _permit(release: Release, product: ProductState) -> str:
    """How to ask for a permit: the vendor's command, but for what only ``trust show`` says."""
    return (
        f"ask for a permit: bundle permit --product {release.product} --from {stands(product)} --to {release.digest} "
        "--site (as sealift trust show says), and use it with: install --permit FILE"
    )
