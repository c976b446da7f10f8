"""``bundle build --since``: a release and, in the same go, its delta for what sites run. The hotfix, in one command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from bundler.build import Request, build
from bundler.built import Built
from bundler.delta.holdings import Holdings
from bundler.media.pack import Packed, pack
from bundler.signing.sign import Passphrase
from installer.talk import Table, Talk

WHOLE: Final = "whole"
"""The folder below ``--output`` where the whole release goes: later deltas build on it, and new sites need it."""


@dataclass(frozen=True)
class BuiltDelta:
    """The media folder of a delta, and the one of the whole release."""

    delta: Packed
    whole: Built

    def as_json(self) -> dict[str, object]:
        """The object of ``--json``: that of ``build``, about the delta; ``whole`` is the other media folder."""
        return {**self.whole.as_json(), **self.delta.as_json(), "whole": str(self.whole.kit)}

    def table(self) -> Table:
        """For people."""
        return Table(("", ""), (*self.delta.table().rows, ("whole release", str(self.whole.kit))))


def build_since(request: Request, since: Sequence[Holdings], passphrase: Passphrase, talk: Talk) -> BuiltDelta:
    """Build the release below ``output/whole``, then pack its delta below ``output``. Raises what both raise."""
    old = tuple(path for one in since for path in one.bundles)
    whole_request = replace(request, output=request.output / WHOLE, part_size=None, reuse=(*request.reuse, *old))
    whole = build(whole_request, passphrase, talk)
    return BuiltDelta(pack(whole.kit, request.output, request.part_size, talk, since), whole)
