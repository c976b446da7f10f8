"""Where verified bytes go: several consumers may look at one member while it streams by, once."""

from __future__ import annotations

from typing import Protocol

from installer.bundle.release import Descriptor, File


class Writer(Protocol):
    """Receives one member. Exactly one of :meth:`finish` and :meth:`abort` is called at the end."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes (1 MiB at most). May block while the far side is slow."""

    def finish(self) -> None:
        """All bytes came and their digest is right: make them permanent."""

    def abort(self) -> None:
        """The bytes were damaged, or the run ends early: forget what came. Never raises."""


class Sink(Protocol):
    """A consumer of the content of a bundle."""

    def open(self, member: File | Descriptor) -> Writer | None:
        """A writer for ``member``, or None if it is not wanted (not this kind, or held already)."""

    def close(self) -> None:
        """Wait until everything is permanent. Raises what went wrong in the background."""
