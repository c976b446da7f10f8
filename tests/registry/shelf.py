"""A built release, put on a registry's shelf and taken from there, as ``bundle push`` and ``bundle pull`` do."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundler.publish import form, pull, push
from bundler.publish.place import Place
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.digest import Digest
from installer.bundle.release import Release
from installer.talk import Talk

from .conftest import QUICK

TAG = "v2.1.0"


@dataclass
class Shelf:
    """A media folder and a place for it; ``heard`` is what was said."""

    kit: Path
    place: Place
    output: Path
    heard: io.StringIO = field(default_factory=io.StringIO)

    @classmethod
    def at(cls, host: str, kit: Path, output: Path, repository: str = "releases/board") -> Shelf:
        return cls(kit, Place.parse(f"oci://{host}/{repository}:{TAG}", {}), output)

    @property
    def statement(self) -> bytes:
        with BundleReader(locate_bundle(self.kit)) as reader:
            return reader.head.release

    @property
    def release(self) -> Release:
        return Release.parse(self.statement)

    @property
    def manifest(self) -> bytes:
        """That of the release, which follows from it."""
        return form.release_manifest(self.release, self.statement)

    @property
    def subject(self) -> str:
        return str(Digest.of(self.manifest))

    def push(self, **wish: Any) -> push.Pushed:
        wished = push.Wish(**{"patience": QUICK, "pauses": (0.01, 0.01), **wish})
        return push.push(self.kit, self.place, wished, Talk(err=self.heard))

    def pull(self, **wish: Any) -> pull.Pulled:
        return pull.pull(
            self.place, pull.Wish(**{"output": self.output, "patience": QUICK, **wish}), Talk(err=self.heard)
        )


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def copy_of(kit: Path, folder: Path) -> Path:
    """The media folder again, to be changed."""
    return Path(shutil.copytree(kit, folder / kit.name))
