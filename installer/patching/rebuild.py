"""The parent's side of a patch: feeds the process that rebuilds a layer, and hands on what comes out of it.

Nothing is decided here but how it ends; that what came out is right is shown by its digest, which the reader of the
bundle compares. Bytes pass by in pieces of 1 MiB. Where a patch reaches further back than memory does, the old layer
lies unpacked in a nameless file meanwhile.
"""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Final, Protocol

from installer.bundle.packing import Delta, Packing, Patch, Plain
from installer.errors import SealiftError
from installer.patching.encoders import version_of
from installer.patching.segments import HELD
from installer.patching.worker import order_of
from installer.system import confined_worker

_PIECE: Final = 1024 * 1024
_WHOLE: Final = "get the whole release in place of the delta"


BlobFiles = Callable[[str], IO[bytes] | None]
"""Opens the file of a blob by its digest; None where none lies on this host."""


def no_files(_: str) -> None:
    """A :data:`BlobFiles` of nothing."""


class Bases(Protocol):
    """Where old layers come from."""

    def has(self, digest: str) -> bool:
        """Whether the blob can be read."""

    def read(self, digest: str) -> Iterator[bytes]:
        """Its bytes. Nothing in them is believed."""


class Rebuilder:
    """A :class:`~installer.bundle.verify.Rebuild` that works in ``scratch``, a folder with :func:`scratch_needed`."""

    def __init__(self, bases: Bases, scratch: Path, files: BlobFiles = no_files) -> None:
        """A base that ``files`` has is read where it lies, and nobody need send it."""
        self._bases, self._scratch, self._files = bases, scratch, files

    def can(self, patch: Patch) -> bool:
        """Whether its base is at hand."""
        return self._bases.has(patch.base)

    def rebuild(self, patch: Patch, data: Iterable[bytes]) -> Iterator[bytes]:
        """The bytes of the target, not checked.

        Raises ``patch-malformed``, ``patch-too-large`` (3), ``patch-encoder`` (6), ``patch-unconfined``,
        ``disk-full`` (7), and what reading base and patch raises.
        """
        refuse_encoder(patch)
        with ExitStack() as stack:
            spool = stack.enter_context(tempfile.TemporaryFile(dir=self._scratch)) if _is_spooled(patch) else None
            file = self._files(patch.base)
            if file is not None:
                stack.enter_context(file)
            worker = stack.enter_context(confined_worker(None if spool is None else spool.fileno(), file))
            process = worker.process
            assert process.stdout and process.stderr  # noqa: S101 - pipes were asked for
            order = order_of(patch.encoding.model_dump(), patch.base_unpacked, patch.unpacked, patch.reach)
            feeders = [_Feeder(worker.patch, chain([order], data))]
            if process.stdin is not None:
                feeders.append(_Feeder(process.stdin, self._bases.read(patch.base)))
            for feeder in feeders:
                feeder.start()
            try:
                while piece := process.stdout.read(_PIECE):
                    yield piece
            except BaseException:
                process.kill()
                raise
            finally:
                for feeder in feeders:
                    feeder.join()
            code = process.wait()
            for feeder in feeders:
                if feeder.failure is not None:
                    raise feeder.failure
            if code != 0:
                raise refusal(code, process.stderr.read(100).decode("ascii", "replace"))


def refuse_encoder(patch: Patch) -> None:
    """Raise ``patch-encoder`` (6) where another version of the compressor is here than the layer was packed with."""
    if isinstance(patch.encoding, Plain):
        return
    here = version_of(patch.encoding.kind)
    if patch.encoding.library != here:
        raise SealiftError(
            "patch-encoder",
            f"{patch.target} is packed again by {patch.encoding.kind} {patch.encoding.library}, and here is {here}",
            hint=f"{_WHOLE}, or bring the sealift that made it",
        )


def scratch_needed(packing: Packing | Delta) -> int:
    """Bytes of the largest old layer that is unpacked to the disk: the room that a delta takes for a while. Pure."""
    return max((patch.base_unpacked for patch in packing.patches if _is_spooled(patch)), default=0)


def _is_spooled(patch: Patch) -> bool:
    return patch.reach > HELD


class _Feeder(threading.Thread):
    """Writes ``data`` into the process. ``failure`` is what reading it raised."""

    def __init__(self, pipe: IO[bytes], data: Iterable[bytes]) -> None:
        super().__init__(name="patch", daemon=True)
        self._pipe, self._data = pipe, data
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for piece in self._data:
                self._pipe.write(piece)
        except (BrokenPipeError, ValueError):
            return  # the process ended first, and says why
        except BaseException as error:
            self.failure = error
        finally:
            with suppress(OSError):
                self._pipe.close()


def refusal(code: int, said: str) -> SealiftError:
    """Why the process ended with ``code``, and ``said`` this."""
    if said == "disk-full":
        return SealiftError("disk-full", "no room to unpack the old layer", hint="free some room, then run this again")
    if said == "patch-unconfined":
        return SealiftError(
            "patch-unconfined", "this kernel cannot confine the process that would apply a patch", hint=_WHOLE
        )
    if said == "patch-too-large" or code == -signal.SIGXCPU:
        return SealiftError("patch-too-large", "a patch wants more memory or time than it may have", hint=_WHOLE)
    why = f"the process ended with {code}" if code < 0 or said != "patch-malformed" else "it breaks the format"
    return SealiftError("patch-malformed", f"a patch cannot be applied: {why}", hint=_WHOLE)
