"""The marks that stop old media: what was committed here at most, per product and per channel of it.

Two marks bind a release: the product's (channel hopping is no way down) and that of the channel it comes from (nor is
going to another channel by a permit and back). Both are raised at commit and never by anything that failed; a rollback
leaves them; only a commit under a permit sets them to what was permitted. A mark belongs to an epoch of the root of
trust: those of an earlier epoch bind nothing any more, so the root's holders can undo a fast-forward.
"""

from __future__ import annotations

from typing import Annotated

import semver
from pydantic import Field

from installer.bundle.release import Closed, DigestText, Name, SemVer


class Mark(Closed):
    """The highest release that was committed under an epoch: nothing lower comes in from media."""

    epoch: Annotated[int, Field(ge=1)] = 1
    version: SemVer
    digest: DigestText

    @property
    def precedence(self) -> tuple[int, semver.Version]:
        """The epoch first, then SemVer precedence."""
        return self.epoch, semver.Version.parse(self.version)


class Marks(Closed):
    """``product`` over all channels; ``channels`` each for itself. Both empty where nothing was ever committed."""

    product: Mark | None = None
    channels: dict[Name, Mark] = Field(default_factory=dict)

    def binding(self, channel: str, epoch: int) -> tuple[Mark, ...]:
        """The marks that a release of ``channel`` must not be lower than, highest first."""
        found = {
            mark for mark in (self.product, self.channels.get(channel)) if mark is not None and mark.epoch >= epoch
        }
        return tuple(sorted(found, key=lambda mark: mark.precedence, reverse=True))

    def newest_epoch(self) -> int:
        """The latest epoch under which something was committed; 0 where nothing was."""
        return max((mark.epoch for mark in (self.product, *self.channels.values()) if mark is not None), default=0)

    def committed(self, channel: str, here: Mark, *, permitted: bool) -> Marks:
        """The marks after ``here`` was committed: raised, or set to it where a permit said so."""
        return Marks(
            product=_higher(self.product, here, permitted),
            channels={**self.channels, channel: _higher(self.channels.get(channel), here, permitted)},
        )


def _higher(before: Mark | None, here: Mark, permitted: bool) -> Mark:
    if before is None or permitted or here.precedence > before.precedence:
        return here
    return before
