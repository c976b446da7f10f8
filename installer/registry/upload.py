"""A blob on its way into a registry: pushed in here chunk by chunk, sent by a thread of its own.

Rules:
- At most :data:`PARALLEL` uploads run at once, each with at most :data:`WAITING` chunks waiting (1 MiB each): the
  reader is held back rather than memory filled. Where that lasts, the registry hashes slower than the media give, and
  large blobs are brought from two places of the bundle (:mod:`installer.bundle.ahead`); the third upload is what a
  registry still has to do of one blob while the next one is on its way.
- A blob of at most :data:`SMALL` bytes is held until it is whole, and sent by one of :data:`SMALL_PARALLEL` threads
  that stay: a registry takes its time for each blob, however small, and a thread for each would cost much of a request.
- A blob counts only after the registry has stored it under its digest.
- An upload that breaks in its first :data:`REPLAY` bytes is begun again. After a later failure nothing more is sent, as
  bytes that passed by once cannot be sent again; the reader goes on to the end, and :mod:`installer.registry.fill`
  brings what is missing in another pass. A login that is refused ends everything at once.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from installer.bundle.release import Descriptor, File
from installer.errors import SealiftError
from installer.registry.client import RegistryClient

PARALLEL: Final = 3
WAITING: Final = 4
OUTRUN: Final = 0.2
"""Seconds that a blob may hold the reader back before the media count as faster than the registry."""
REPLAY: Final = 2 * 1024 * 1024
SMALL: Final = 256 * 1024
SMALL_PARALLEL: Final = 6
_PAUSES: Final = (1.0, 2.0)  # seconds before the second and third try


def may_pass(failure: BaseException) -> bool:
    """Whether the registry may take it the next time: it was away, busy, or lost an upload."""
    return isinstance(failure, SealiftError) and failure.id in ("registry-unreachable", "registry-refused")


class _Stopped(Exception):
    """The bytes of this upload will not come."""


class Uploads:
    """The uploads of one load. One thread at a time begins them, others push their bytes; helpers send."""

    def __init__(self, client: RegistryClient) -> None:
        self.client = client
        self.outrun = threading.Event()
        """Set once the media turn out to be faster than the registry."""
        self._places = threading.Semaphore(PARALLEL)
        self._running: list[Upload] = []
        self._small: queue.Queue[SmallUpload | None] = queue.Queue(SMALL_PARALLEL)
        self._senders: list[threading.Thread] = []
        self._failure: BaseException | None = None

    def begin(self, repository: str, blob: Descriptor | File) -> Upload | SmallUpload | None:
        """Start an upload, as soon as there is a place; None after a failure that another pass may mend."""
        if blob.size <= SMALL:
            self.refuse_what_lasts()
            return SmallUpload(self, repository, blob) if self._failure is None else None
        self._places.acquire()
        try:
            self.refuse_what_lasts()
            if self._failure is not None:
                self._places.release()
                return None
            self._running = [upload for upload in self._running if upload.is_alive()]
            upload = Upload(self, repository, blob)
            self._running.append(upload)
            upload.start()
        except BaseException:
            self._places.release()
            raise
        return upload

    def send_later(self, upload: SmallUpload) -> None:
        """Send it as soon as a sender is free; waits while there are as many before it as there are senders."""
        if len(self._senders) < SMALL_PARALLEL:
            # A daemon, so that an interrupted program ends although the registry does not answer.
            self._senders.append(threading.Thread(target=self._send_small, name="small-uploads", daemon=True))
            self._senders[-1].start()
        self._small.put(upload)

    def refuse_what_lasts(self) -> None:
        """Raise the failure of an upload, if there was one that asking again will not mend."""
        if self._failure is not None and not may_pass(self._failure):
            raise self._failure

    def wait(self) -> None:
        """Wait until all that was finished is stored; drop what was not. Raises what went wrong."""
        for upload in self._running:
            upload.drop()
        for upload in self._running:
            upload.join()
        for _ in self._senders:
            self._small.put(None)
        for sender in self._senders:
            sender.join()
        self._running, self._senders = [], []
        if self._failure is not None:
            raise self._failure

    def ended(self, failure: BaseException | None) -> None:
        """An upload is over (called by its thread)."""
        self._note(failure)
        self._places.release()

    def _note(self, failure: BaseException | None) -> None:
        if failure is not None and self._failure is None:
            self._failure = failure

    def _send_small(self) -> None:
        while (upload := self._small.get()) is not None:
            try:
                if self._failure is None:
                    upload.send()
            except SealiftError as error:
                self._note(_explain(error, upload.blob))
            except BaseException as error:  # a bug must not leave the reader waiting
                self._note(error)


class SmallUpload:
    """A :class:`~installer.bundle.content.Writer` for a small blob: it is sent once it is whole and right."""

    def __init__(self, uploads: Uploads, repository: str, blob: Descriptor | File) -> None:
        self.blob = blob
        self._uploads, self._repository = uploads, repository
        self._chunks: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        """Keep the next bytes. Raises what no other pass will mend."""
        self._uploads.refuse_what_lasts()
        self._chunks.append(bytes(chunk))

    def finish(self) -> None:
        """All bytes came: the registry may store the blob. :meth:`Uploads.wait` waits for it."""
        self._uploads.send_later(self)

    def abort(self) -> None:
        """Forget this blob. Never raises."""
        self._chunks.clear()

    def send(self) -> None:
        """Send it, again where the registry cannot be reached. Raises the errors of :class:`RegistryClient`."""
        blob, client = self.blob, self._uploads.client
        _repeatedly(lambda: client.upload_blob(self._repository, blob.digest, blob.size, self._chunks), time.sleep)


class Upload(threading.Thread):
    """A :class:`~installer.bundle.content.Writer` whose bytes go to a registry in the background."""

    def __init__(self, uploads: Uploads, repository: str, blob: Descriptor | File) -> None:
        # A daemon: an interrupted program must end although this thread still waits for bytes.
        super().__init__(name=f"upload-{blob.digest[7:15]}", daemon=True)
        self._uploads, self._repository, self._blob = uploads, repository, blob
        self._chunks: queue.Queue[bytes | None] = queue.Queue(WAITING)
        self._over = threading.Event()
        self._dropped = threading.Event()
        self._waited = 0.0  # seconds that the reader was held back
        self._finished = False  # all bytes were handed over
        self._drained = False  # all bytes were taken out of the queue
        self._held = b""  # the chunk that comes next
        self._kept: list[bytes] = []  # what was sent, as long as it can be sent again
        self._spent = False

    def write(self, chunk: bytes) -> None:
        """Hand over the next bytes; waits while the registry is slow. Raises what no other pass will mend."""
        self._put(bytes(chunk))

    def finish(self) -> None:
        """All bytes came: the registry may store the blob. Returns at once; :meth:`Uploads.wait` waits."""
        self._put(None)
        self._finished = True

    def abort(self) -> None:
        """Forget this blob. Never raises."""
        self._dropped.set()

    def drop(self) -> None:
        """Forget this blob unless all its bytes came."""
        if not self._finished:
            self.abort()

    def run(self) -> None:
        """Send the blob; for the thread."""
        failure: BaseException | None = None
        try:
            self._send()
        except _Stopped:
            pass
        except SealiftError as error:
            failure = None if self._dropped.is_set() else _explain(error, self._blob)
        except BaseException as error:  # a bug must not leave the reader waiting
            failure = error
        finally:
            self._over.set()
            self._uploads.ended(failure)

    def _put(self, chunk: bytes | None) -> None:
        began = time.monotonic()
        while not self._over.is_set():
            try:
                self._chunks.put(chunk, timeout=0.2)
                break
            except queue.Full:
                continue
        self._waited += time.monotonic() - began
        if self._waited > OUTRUN:
            self._uploads.outrun.set()
        self._uploads.refuse_what_lasts()

    def _send(self) -> None:
        blob, client = self._blob, self._uploads.client
        _repeatedly(
            lambda: client.upload_blob(self._repository, blob.digest, blob.size, self._body()),
            self._dropped.wait,
            lambda: not self._spent,
        )

    def _body(self) -> Iterator[bytes]:
        """The body of one request: what an earlier try sent, then what comes."""
        yield from tuple(self._kept)
        while chunk := self._take():
            if self._spent or sum(map(len, self._kept)) + len(chunk) > REPLAY:
                self._spent = True
                self._kept.clear()
            else:
                self._kept.append(chunk)
            yield chunk

    def _take(self) -> bytes:
        """The next chunk, empty at the end. The last one waits until :meth:`finish`, so that nothing is completed
        whose digest was not right."""
        while not self._drained:
            chunk = self._next()
            self._drained = chunk is None
            ready, self._held = self._held, chunk or b""
            if ready:
                return ready
        return b""

    def _next(self) -> bytes | None:
        while not self._dropped.is_set():
            try:
                return self._chunks.get(timeout=0.2)
            except queue.Empty:
                continue
        raise _Stopped


def _repeatedly(
    send: Callable[[], None], wait: Callable[[float], object], may_repeat: Callable[[], bool] = lambda: True
) -> None:
    """Send; where the registry cannot be reached, again after each of :data:`_PAUSES`. Raises what came last."""
    for pause in (*_PAUSES, None):
        try:
            send()
            return
        except SealiftError as error:
            if error.id != "registry-unreachable" or pause is None or not may_repeat():
                raise
        wait(pause)


def _explain(error: SealiftError, blob: Descriptor | File) -> SealiftError:
    message = f"{error.message} (while blob {blob.digest[:15]}… was sent)"
    hint = f"{error.hint}; then run the same command again: it goes on where this one stopped"
    return SealiftError(error.id, message, hint=hint, details=error.details)
