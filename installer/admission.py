"""May this release come in here? Pure rules about versions, channels, platforms; the mark stops old media."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Final

import semver

from installer.bundle.release import Release
from installer.errors import SealiftError
from installer.site import Site
from installer.state import ProductState

_MACHINES: Final = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
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


def admit(release: Release, product: ProductState, site: Site, *, machine: str, program: str) -> None:
    """Refuse what must not come in from media (6). ``machine`` is the kernel's name for it, ``program`` our version."""
    _refuse_place(release, site, machine)
    _refuse_program(release, program)
    _refuse_path(release, product)
    _refuse_downgrade(release, product)


def _refuse_place(release: Release, site: Site, machine: str) -> None:
    if _MACHINES.get(machine) != release.platform:
        raise SealiftError(
            "wrong-platform",
            f"the bundle is for {release.platform}, and this host is {_MACHINES.get(machine, machine)}",
            hint="bring the bundle that was built for this platform",
        )
    if release.channel != site.channel:
        raise SealiftError(
            "wrong-channel",
            f"the release comes from the channel {release.channel}, and this site follows {site.channel}",
            hint="bring media of this site's channel, or let the site decide otherwise: `channel:` in site.yaml",
        )


def _refuse_program(release: Release, program: str) -> None:
    wanted = release.requires.installer
    if wanted and not within(program, wanted):
        raise SealiftError(
            "installer-too-old",
            f"the release needs sealift {wanted}, and this is {program}",
            hint="run the newer ./install from the same media, after checking its signature",
        )


def _refuse_path(release: Release, product: ProductState) -> None:
    wanted = release.requires.upgrade_from
    if product.current and wanted and not within(product.current.version, wanted):
        raise SealiftError(
            "upgrade-path",
            f"{release.version} can be installed over {wanted}, and {product.current.version} runs here",
            hint="install a release in between first; its upgrade notes name it",
        )


def _refuse_downgrade(release: Release, product: ProductState) -> None:
    mark = product.mark
    if mark is None or str(release.digest) == mark.digest:
        return
    here, highest = semver.Version.parse(release.version), semver.Version.parse(mark.version)
    if here == highest:
        raise SealiftError(
            "same-version-other-digest",
            f"another {release.version} than this one ran here: {mark.digest[7:15]}, not {release.digest.short}",
            hint="one version has one content: ask the vendor which of the two is right",
        )
    if here < highest:
        raise SealiftError(
            "downgrade",
            f"{release.version} is older than {mark.version}, which has run here",
            hint="back to a release that ran here: sealift rollback; anything else needs a newer release",
        )
