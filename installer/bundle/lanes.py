"""Unpacks frames and hashes members side by side, while one thread reads on; refusals keep the order of the file.

A digest is a chain, so each member has a *lane*: a thread that hashes its frames in order. Frames of all members are
unpacked by a common pool. What has been read and not yet hashed is bounded, so memory stays flat.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from installer.bundle.archive import unpadded
from installer.bundle.frames import Frame

MOST: Final = 4
"""Threads of a kind: four hash more than any disk gives, and every frame they wait for is 8 MiB of memory."""


def cores() -> int:
    """Processors that this process may use, at most :data:`MOST`."""
    return min(MOST, len(os.sched_getaffinity(0)))


class Lane:
    """One member on its lane: :meth:`feed` it all of its frames, in order, then :meth:`close` it."""

    def __init__(self, lanes: Lanes, thread: ThreadPoolExecutor, judge: Callable[[str], None]) -> None:
        self._lanes, self._thread, self._judge = lanes, thread, judge
        self._hasher = hashlib.sha256()
        self._failure: Exception | None = None
        self.verdict: Future[None] | None = None

    def feed(self, length: int, frame: Frame) -> None:
        """Hash the first ``length`` bytes of ``frame``; the others must be zero. Waits while too much is under way.

        Raises what was wrong with earlier frames, once that is known.
        """
        if self._failure is not None:
            raise self._failure
        self._thread.submit(self._hash, self._lanes.unpack(length, frame))

    def close(self) -> None:
        """No more frames come: the verdict is what ``judge`` says, or what was wrong with the first bad frame."""
        self.verdict = self._thread.submit(self._finish, whole=True)

    def abandon(self) -> Future[None]:
        """The rest does not come: a future of what was wrong with the frames so far."""
        return self._thread.submit(self._finish, whole=False)

    def _hash(self, pieces: Future[list[bytes]]) -> None:
        try:
            if self._failure is None:
                for piece in pieces.result():
                    self._hasher.update(piece)
        except Exception as error:
            self._failure = error
        finally:
            self._lanes.release()

    def _finish(self, *, whole: bool) -> None:
        if self._failure is not None:
            raise self._failure
        if whole:
            self._judge(f"sha256:{self._hasher.hexdigest()}")


@dataclass(frozen=True)
class _Elsewhere:
    """A member that is checked somewhere else."""

    verdict: Future[None]

    def abandon(self) -> Future[None]:
        """As of a lane."""
        return self.verdict


class Lanes:
    """Members that are checked at the same time. A context manager: leaving it waits for all of them.

    What is raised is always the refusal that stands first in the file: one of an earlier member goes before whatever
    leaves the block.
    """

    def __init__(self) -> None:
        count = cores()
        self._pool = ThreadPoolExecutor(count, "unpack")
        self._threads = [ThreadPoolExecutor(1, f"lane-{number}") for number in range(count)]
        self._free = threading.BoundedSemaphore(count)
        self._waiting: deque[Lane | _Elsewhere] = deque()
        self._begun = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None or isinstance(error, Exception):
                self._settle()
        finally:
            for one in (self._pool, *self._threads):
                one.shutdown(wait=True, cancel_futures=True)

    def begin(self, judge: Callable[[str], None]) -> Lane:
        """The next member of the file; ``judge`` gets its digest and raises where it is wrong.

        Raises what was wrong with earlier ones.
        """
        self._refuse_known()
        member = Lane(self, self._threads[self._begun % len(self._threads)], judge)
        self._begun += 1
        self._waiting.append(member)
        return member

    def wait_for(self, verdict: Future[None]) -> None:
        """The next member of the file is checked somewhere else: ``verdict`` tells. Raises as :meth:`begin`."""
        self._refuse_known()
        self._waiting.append(_Elsewhere(verdict))

    def unpack(self, length: int, frame: Frame) -> Future[list[bytes]]:
        """Wait for room, then have a frame unpacked."""
        self._free.acquire()
        if not frame.plain:
            return self._pool.submit(_unpacked, frame, length)
        pieces: Future[list[bytes]] = Future()
        try:
            pieces.set_result(_unpacked(frame, length))
        except Exception as error:
            pieces.set_exception(error)
        return pieces

    def release(self) -> None:
        """A frame has been hashed."""
        self._free.release()

    def _refuse_known(self) -> None:
        """Raise what was wrong with the members that are done, in their order."""
        while self._waiting and (verdict := self._waiting[0].verdict) is not None and verdict.done():
            verdict.result()
            self._waiting.popleft()

    def _settle(self) -> None:
        """Wait for every member, the one that was left unfinished too, in the order of the file."""
        while self._waiting:
            member = self._waiting.popleft()
            (member.verdict or member.abandon()).result()


def _unpacked(frame: Frame, length: int) -> list[bytes]:
    return list(unpadded(frame, length))
