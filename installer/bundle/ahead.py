"""Checks large blobs from the end of a bundle, while whoever reads it from the front is held back by a slow sink.

Rules:
- It starts only when the sinks turn out to be slower than the media; a stick or a disc is read at one place.
- It looks where the seek table says that a member begins. What it found counts only for a reader who comes to the same
  place from the front, with all headers right until there; so what is refused, and in which order, stays the same.
- Each byte is read once: the reader in front passes over what is checked here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from installer.bundle.archive import BundleReader
from installer.bundle.places import member_places
from installer.bundle.release import Descriptor, File
from installer.errors import SealiftError

LARGE: Final = 16 * 1024 * 1024
"""Bytes from which a blob is worth it."""

Check = Callable[[str, Descriptor, BundleReader, Iterator[bytes]], None]
"""Checks the member of that name, whose bytes come as the last argument, and feeds who wants them; raises what is
wrong with it."""


class _Stopped(Exception):
    """Nobody wants to know any more."""


@dataclass(frozen=True)
class _Claim:
    position: int
    verdict: Future[None] = field(default_factory=Future)


class Ahead:
    """A context manager around the read from the front, which asks :meth:`take` at each member."""

    def __init__(
        self,
        reader: BundleReader,
        members: Mapping[str, File | Descriptor],
        outrun: threading.Event | None,
        check: Check,
    ) -> None:
        """``members`` follow where ``reader`` stands. ``outrun`` is set once a sink is slower than the media; without
        it nothing is done, and so with media that can be read at one place alone."""
        self._reader, self._content = reader, reader.position
        self._members, self._outrun, self._check = members, outrun, check
        self._lock = threading.Lock()
        self._claims: dict[str, _Claim] = {}
        self._passed: set[str] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None and error is None:
            self._thread.join()

    def look(self) -> None:
        """Begin, once there is a reason to. The reader in front calls it often."""
        if self._outrun is None or not self._outrun.is_set():
            return
        self._outrun = None  # once is enough
        if (beside := self._reader.beside()) is not None:
            # A daemon: it must not hold up a program that is interrupted.
            self._thread = threading.Thread(target=self._run, args=(beside,), name="ahead", daemon=True)
            self._thread.start()

    def take(self, name: str, position: int) -> Future[None] | None:
        """The verdict on the member ``name``, whose header begins at ``position``, if it is checked here: to be waited
        for. None where it is not, and will not be."""
        with self._lock:
            self._passed.add(name)
            claim = self._claims.get(name)
        return claim.verdict if claim is not None and claim.position == position else None

    def _run(self, reader: BundleReader) -> None:
        with reader, suppress(SealiftError):  # media that cannot be read are the business of the reader in front
            reader.jump(self._content)
            for name, position in reversed((member_places(reader, self._members) or {}).items()):
                blob = self._members[name]
                if isinstance(blob, Descriptor) and blob.size >= LARGE:
                    self._check_at(position, reader, name, blob)

    def _check_at(self, position: int, reader: BundleReader, name: str, blob: Descriptor) -> None:
        """Check one blob, unless the reader in front was faster, or there was a failure before."""
        claim = _Claim(position)
        with self._lock:
            if self._stop.is_set() or name in self._passed:
                return
            self._claims[name] = claim
        try:
            reader.jump(position)
            reader.next_header()  # judged by the reader in front
            self._check(name, blob, reader, self._until_stopped(reader.data(blob.size)))
        except BaseException as error:
            self._stop.set()
            claim.verdict.set_exception(error)
        else:
            claim.verdict.set_result(None)

    def _until_stopped(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stop.is_set():
                raise _Stopped
            yield chunk
