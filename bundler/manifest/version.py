"""The version of a release, and whether changelog and git agree with it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import semver

from installer.errors import SealiftError

CANDIDATE: Final = "candidate"
"""The channel of pre-releases, whatever the manifest says."""
CI_BRANCH: Final = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BRANCH_NAME")
"""Where CI names the branch that its detached HEAD belongs to; the first that is set counts."""
_RELEASE_BRANCH: Final = re.compile(r"(?:releases|hotfixes)/v(\d+\.\d+\.\d+)")


@dataclass(frozen=True)
class Version:
    """A SemVer version without build metadata. ``text`` has no ``v`` in front."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read ``v2.1.0`` or ``2.1.0``. Raises ``version-invalid`` (2)."""
        bare = text.removeprefix("v")
        try:
            parsed = semver.Version.parse(bare)
        except ValueError as error:
            raise SealiftError(
                "version-invalid", f"not a version: {text[:80]}", hint="expected vX.Y.Z, such as v2.1.0 or v2.1.0-rc.1"
            ) from error
        if parsed.build is not None:
            hint = f"leave out what follows the +: v{bare.partition('+')[0]}"
            raise SealiftError("version-invalid", f"build metadata gives one precedence two names: {text}", hint=hint)
        return cls(bare)

    @property
    def core(self) -> str:
        """``X.Y.Z`` alone."""
        return str(semver.Version.parse(self.text).finalize_version())

    @property
    def candidate(self) -> bool:
        """Whether this is a pre-release."""
        return semver.Version.parse(self.text).prerelease is not None

    def channel(self, declared: str) -> str:
        """The channel it goes to: ``candidate`` for pre-releases, else what the manifest declares."""
        return CANDIDATE if self.candidate else declared

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Checkout:
    """What git says about the folder of a manifest. ``branch`` is None on a detached HEAD."""

    branch: str | None
    tags: tuple[str, ...]
    commit_time: int


def check_version(version: Version, product: str, checkout: Checkout | None, environment: Mapping[str, str]) -> None:
    """Refuse a version that contradicts the branch or a tag on HEAD; outside git there is nothing to contradict.

    Raises ``version-mismatch`` (2) with the fix as its hint.
    """
    if checkout is None:
        return
    branch = checkout.branch or next((environment[name] for name in CI_BRANCH if environment.get(name)), None)
    match = _RELEASE_BRANCH.fullmatch(branch or "")
    if match and match[1] != version.core:
        raise SealiftError(
            "version-mismatch",
            f"version {version} does not fit the branch {branch}",
            hint=f"bundle build v{match[1]}, or git switch -c releases/v{version.core}",
        )
    tagged = sorted(_tagged(checkout.tags, product))
    if tagged and version.text not in tagged:
        raise SealiftError(
            "version-mismatch",
            f"version {version} does not fit the tag on HEAD: v{', v'.join(tagged)}",
            hint=f"bundle build v{tagged[-1]}, or build from the commit that v{version} belongs to",
        )


def _tagged(tags: Iterable[str], product: str) -> Iterable[str]:
    """The versions that tags name: ``v1.2.3``, or ``product-v1.2.3`` and ``product/v1.2.3`` where products share."""
    for tag in tags:
        bare = tag.removeprefix(f"{product}-").removeprefix(f"{product}/")
        if bare.startswith("v") and semver.Version.is_valid(bare[1:]):
            yield bare[1:]
