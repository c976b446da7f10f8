"""The way from what a site runs to a release: which releases must come between. Pure: values in, values out.

A release may be installed over what its signed ``requires.upgrade_from`` allows, by a sealift that its
``requires.installer`` allows; the newest sealift that came along so far counts. The shortest way is taken; of several
the one whose releases are the highest. The site judges each step again, by installer/trust/admission.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import semver

from installer.bundle.receipt import Receipt
from installer.bundle.release import Release
from installer.errors import SealiftError
from installer.trust.admission import within


@dataclass(frozen=True)
class Start:
    """Where the site stands. ``version`` None: nothing serves there. ``mark``: nothing lower comes in; a mark of the
    same version lets in only the release with ``mark_digest``. ``program`` is the version of its sealift."""

    version: str | None
    platform: str
    channel: str
    program: str
    mark: str | None = None
    mark_digest: str | None = None

    @classmethod
    def of(cls, receipt: Receipt, product: str) -> Start:
        """As a receipt tells."""
        found = receipt.product(product)
        mark = found.mark if found else None
        current = found.current if found else None
        return cls(
            version=current.version if current else None,
            platform=receipt.platform,
            channel=receipt.channel,
            program=receipt.program.version,
            mark=mark.version if mark and mark.epoch >= receipt.trust.epoch else None,
            mark_digest=mark.digest if mark else None,
        )


@dataclass(frozen=True)
class Hop:
    """A release that could be a step. ``program`` is the version of the sealift that it brings, None for none."""

    release: Release
    program: str | None = None

    @property
    def version(self) -> str:
        return self.release.version

    @property
    def precedence(self) -> semver.Version:
        return semver.Version.parse(self.version)


def find_way(start: Start, target: Hop, hops: Sequence[Hop]) -> tuple[Hop, ...]:
    """The steps, the last one is ``target``. Raises ``kit-no-path`` (6), naming the gap."""
    refuse_never(start, target)
    fit = [hop for hop in hops if never(start, hop) is None and hop.precedence < target.precedence]
    known = sorted([*fit, target], key=lambda hop: hop.precedence, reverse=True)
    ways: dict[tuple[str | None, str], tuple[Hop, ...]] = {(start.version, start.program): ()}
    edge = list(ways)
    while edge:
        beyond: list[tuple[str | None, str]] = []
        for version, program in edge:
            for hop in known:
                after = newest(program, hop.program)
                place = (hop.version, after)
                if place in ways or not allowed(version, after, hop):
                    continue
                ways[place] = (*ways[version, program], hop)
                if hop is target:
                    return ways[place]
                beyond.append(place)
        edge = beyond
    raise _gap(start, target, list(ways))


def allowed(version: str | None, program: str, hop: Hop) -> bool:
    """Whether ``hop`` may follow ``version`` (None: nothing serves), where sealift is ``program``."""
    wanted = hop.release.requires
    if version is not None and hop.precedence <= semver.Version.parse(version):
        return False
    if version is not None and wanted.upgrade_from is not None and not within(version, wanted.upgrade_from):
        return False
    return wanted.installer is None or within(program, wanted.installer)


def never(start: Start, hop: Hop) -> str | None:
    """Why ``hop`` cannot come in at this site whatever comes before; None where it can."""
    release = hop.release
    if release.platform != start.platform:
        return f"is for {release.platform}, and the site is {start.platform}"
    if release.channel != start.channel:
        return f"comes from the channel {release.channel}, and the site follows {start.channel}"
    mark = None if start.mark is None else semver.Version.parse(start.mark)
    if mark is not None and hop.precedence < mark:
        return f"is older than {start.mark}, which has run at the site: that takes a permit (bundle permit)"
    if mark is not None and hop.precedence == mark and str(release.digest) != start.mark_digest:
        return "is another content of a version that has run at the site: that takes a permit (bundle permit)"
    return None


def refuse_never(start: Start, target: Hop) -> None:
    """Refuse a target that cannot come in there at all (``kit-no-path``, 6)."""
    why = never(start, target)
    if why is None and start.version is not None and target.precedence <= semver.Version.parse(start.version):
        why = f"is not newer than {start.version}, which serves there: going back is for the site (sealift rollback)"
    if why is not None:
        raise SealiftError(
            "kit-no-path", f"{target.version} {why}", hint="ask for another release, or make media for this one alone"
        )


def newest(program: str, brought: str | None) -> str:
    """The sealift that goes on where ``brought`` comes along."""
    if brought is None or semver.Version.parse(brought) <= semver.Version.parse(program):
        return program
    return brought


def _gap(start: Start, target: Hop, reached: Sequence[tuple[str | None, str]]) -> SealiftError:
    """What is missing between what can be reached and the target."""
    versions = sorted(semver.Version.parse(version) for version, _ in reached if version is not None)
    furthest = str(versions[-1]) if versions else "nothing"
    program = max((semver.Version.parse(program) for _, program in reached))
    wanted = target.release.requires
    needs = []
    if wanted.upgrade_from is not None:
        needs.append(f"can be installed over {wanted.upgrade_from}")
    if wanted.installer is not None and not within(str(program), wanted.installer):
        needs.append(f"needs sealift {wanted.installer}, where {program} is the newest")
    return SealiftError(
        "kit-no-path",
        f"no way leads from {start.version or 'nothing'} to {target.version} with the releases in store: "
        f"{target.version} {' and '.join(needs)}, and the furthest that can be reached is {furthest}",
        hint="put a release into the folder of --store that closes the gap: one that can be installed over "
        f"{furthest}, and over which {target.version} can",
    )
