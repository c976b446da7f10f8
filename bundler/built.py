"""What ``bundle build`` has made, for people and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler.writing.assemble import Assembly
from installer.bundle.digest import Digest
from installer.talk import Table
from installer.talk import size as in_words


@dataclass(frozen=True)
class Built:
    """A media folder that has been published. ``bundle`` is the first of its ``parts``; ``size`` is that of all."""

    kit: Path
    bundle: Path
    assembly: Assembly
    digest: Digest
    size: int
    parts: int
    signers: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The object of ``--json``."""
        release = self.assembly.release
        return {
            "bundle": str(self.bundle),
            "kit": str(self.kit),
            "digest": str(self.digest),
            "size": self.size,
            "parts": self.parts,
            "product": release.product,
            "version": release.version,
            "channel": release.channel,
            "platform": release.platform,
            "signers": list(self.signers),
        }

    def table(self) -> Table:
        """For people."""
        release = self.assembly.release
        cut = f" in {self.parts} parts" if self.parts > 1 else ""
        rows = (
            ("media folder", str(self.kit)),
            ("bundle", f"{self.bundle.name}  {in_words(self.size)}{cut} (content {in_words(self.assembly.size)})"),
            ("release", f"{release.product} {release.version}, channel {release.channel}, {release.platform}"),
            ("digest", str(self.digest)),
            ("signed by", ", ".join(self.signers)),
        )
        return Table(("", ""), rows)
