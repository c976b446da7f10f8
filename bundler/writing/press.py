"""Encodes the frames of a bundle on several threads, and writes them in order on one, while another hashes the file.

The frames, and so the bytes of the file, are the same whatever the number of threads: the format fixes where each is
cut.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import BinaryIO, Final, Self

from installer.bundle.archive import ArchiveWriter, Output, encode
from installer.bundle.frames import Buffer, Frame
from installer.bundle.tarheader import END

MOST_JOBS: Final = 16
_DEFAULT: Final = 4  # every frame under way is 8 MiB of memory
_SMALL: Final = 64 * 1024  # a frame that is encoded sooner than it is handed over
_BATCH: Final = 1024 * 1024
_HASHED: Final = 2 * _BATCH  # handed to the thread that hashes at a time


def default_jobs() -> int:
    """Processors that this process may use, four at most."""
    return min(_DEFAULT, len(os.sched_getaffinity(0)))


class Press(ArchiveWriter):
    """An :class:`ArchiveWriter` for one calling thread. A context manager: leaving it ends its threads."""

    def __init__(self, out: Output, jobs: int) -> None:
        """At most ``jobs`` frames are under way, beside the one that is being read."""
        super().__init__(out)
        self._encoders = ThreadPoolExecutor(jobs, "encode")
        self._writer = ThreadPoolExecutor(1, "write")
        self._free = threading.BoundedSemaphore(jobs)
        self._failure: BaseException | None = None
        self._small: list[tuple[list[Buffer], int]] = []
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._encoders.shutdown(wait=True, cancel_futures=True)
        self._writer.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """As :meth:`ArchiveWriter.close`, when all of it has been written. Raises what went wrong on the way."""
        self._frame([END], packed=False)
        self._flush()
        self._writer.submit(self._end).result()

    def _end(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._finish()

    def _frame(self, pieces: list[Buffer], *, packed: bool) -> None:
        size = sum(map(len, pieces))
        if size <= _SMALL:
            self._small.append((encode(pieces, packed=packed), size))
            self._held += size
            if self._held > _BATCH:
                self._flush()
            return
        self._flush()
        self._room()
        if packed:
            frame = Future[list[Buffer]]()
            frame.set_result(encode(pieces, packed=True))
        else:
            frame = self._encoders.submit(encode, pieces, packed=False)
        self._writer.submit(self._write, [(frame.result, size)])

    def _carry(self, frame: Frame) -> None:
        self._flush()
        self._room()
        self._writer.submit(self._write, [(partial(list, frame.parts), frame.content)])

    def _flush(self) -> None:
        """Hand over the small frames that were encoded here."""
        small, self._small, self._held = self._small, [], 0
        if small:
            self._room()
            self._writer.submit(self._write, [(partial(list, parts), size) for parts, size in small])

    def _room(self) -> None:
        """Wait until another frame may be under way. Raises what went wrong with earlier ones."""
        self._free.acquire()
        if self._failure is not None:
            self._free.release()
            raise self._failure

    def _write(self, frames: list[tuple[Callable[[], list[Buffer]], int]]) -> None:
        try:
            if self._failure is None:
                for parts, size in frames:
                    self._put(parts(), size)
        except BaseException as error:
            self._failure = error
        finally:
            self._free.release()


class Hashed:
    """A file for writing that hashes what passes, in a thread of its own: a digest takes as long as the disk.

    What is written must not be changed afterwards. Ends with :meth:`close`.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hasher = file, hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, "hash")
        self._under_way: Future[None] | None = None
        self._waiting: list[Buffer] = []
        self._held = 0

    def write(self, data: Buffer) -> int:
        """All of it."""
        self._waiting.append(data)
        self._held += len(data)
        if self._held >= _HASHED:
            self._hash()
        written = self._file.write(data)
        if len(data) >= _HASHED:
            self._wait()  # else a frame more would be in memory
        return written

    @property
    def sha256(self) -> str:
        """Of what passed, in hex."""
        self._hash()
        self._wait()
        return self._hasher.hexdigest()

    def close(self) -> None:
        """End the thread; the file is the caller's."""
        self._waiting.clear()
        self._thread.shutdown()

    def _hash(self) -> None:
        waiting, self._waiting, self._held = self._waiting, [], 0
        self._wait()
        self._under_way = self._thread.submit(self._update, waiting)

    def _wait(self) -> None:
        if self._under_way is not None:
            self._under_way.result()

    def _update(self, pieces: list[Buffer]) -> None:
        for piece in pieces:
            self._hasher.update(piece)
