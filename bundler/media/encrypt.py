"""Encrypting a bundle to age recipients while it is written, so that nothing of it touches a disk in the clear."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO, Final

import pyrage
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from installer.bundle.age import MAX_HEADER, MAX_STANZAS, bech32_bytes
from installer.bundle.archive import Output
from installer.bundle.encrypted import Unlock
from installer.bundle.frames import Buffer
from installer.errors import SealiftError

MAX_RECIPIENTS: Final = MAX_STANZAS - 1
"""One fewer than are read: age writers add a stanza for nobody, so that readers learn to pass over such."""
_MAX_FILE: Final = 1024 * 1024
_PIPE: Final = 1024 * 1024


def recipients_from(values: Iterable[str]) -> tuple[str, ...]:
    """What ``--encrypt-to`` names: recipients, and files that list them; each once.

    Raises ``recipient-invalid``, ``input-missing`` (2). A private key that was named by mistake stands in no message.
    """
    found = dict.fromkeys(recipient for value in values for recipient in _named(value))
    if not 1 <= len(found) <= MAX_RECIPIENTS:
        raise SealiftError(
            "recipient-invalid",
            f"{len(found) or 'no'} recipients: 1 to {MAX_RECIPIENTS} can open one medium",
            hint="pack once more for the others",
        )
    return tuple(found)


def sealed_size(size: int) -> int:
    """At most so many bytes are ``size`` bytes once encrypted."""
    return size + (size // 65536 + 1) * 16 + MAX_HEADER


@dataclass(frozen=True)
class Cover:
    """Whom a packing is encrypted to, nobody for one in the clear; and what opens the media that it is made of."""

    recipients: Sequence[str] = ()
    unlock: Unlock | None = None

    @contextmanager
    def over(self, out: Output) -> Iterator[Output]:
        """Where the bundle is written to: ``out``, or what encrypts before it."""
        if not self.recipients:
            yield out
            return
        with Encrypting(out, self.recipients) as sink:
            yield sink


IN_THE_CLEAR: Final = Cover()


class Encrypting:
    """Takes a bundle and writes it encrypted to ``out``. A context manager; one pass, flat memory.

    pyrage reads by itself, so it works in a thread at the other end of a pipe. What it wrote when the block is left
    by an exception has no valid end.
    """

    def __init__(self, out: Output, recipients: Sequence[str]) -> None:
        self._out = out
        shuffled = random.SystemRandom().sample(recipients, len(recipients))  # their order must not tell who is who
        self._recipients = [pyrage.x25519.Recipient.from_str(recipient) for recipient in shuffled]
        self._failed: BaseException | None = None

    def __enter__(self) -> Encrypting:
        reading, self._pipe = os.pipe2(os.O_CLOEXEC)
        self._source = _Source(os.fdopen(reading, "rb", _PIPE))
        self._thread = Thread(target=self._encrypt, name="encrypt", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._source.cut_off = kind is not None
        os.close(self._pipe)
        self._thread.join()
        if self._failed is not None and (kind is None or issubclass(kind, BrokenPipeError)):
            raise self._failed

    def write(self, data: Buffer, /) -> int:
        """Take all of ``data``. Raises ``BrokenPipeError`` where the other end has failed; leaving tells by what."""
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(self._pipe, rest) :]
        return len(data)

    def _encrypt(self) -> None:
        sink = _Sink(self._out)
        try:
            with self._source:
                pyrage.encrypt_io(self._source, sink, self._recipients)
            self._failed = sink.failed  # pyrage 1.4 says nothing where its last write fails
        except BaseException as error:  # whatever it was, the other thread tells it
            self._failed = sink.failed or error


class _Source(io.RawIOBase):
    """The pipe, which ends well or not at all."""

    cut_off = False

    def __init__(self, pipe: BinaryIO) -> None:
        super().__init__()
        self._pipe = pipe

    def read(self, size: int = -1) -> bytes:
        data = self._pipe.read(size)
        if not data and self.cut_off:
            raise EOFError("what was to be encrypted broke off")  # not InterruptedError: Rust would try again
        return data

    def close(self) -> None:
        self._pipe.close()
        super().close()


class _Sink:
    """Remembers why a write failed: pyrage tells only that it did."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self.failed: BaseException | None = None

    def write(self, data: Any) -> int:
        try:
            return self._out.write(data)
        except BaseException as error:
            self.failed = error
            raise

    def flush(self) -> None:
        """What is written is flushed and synced by its owner."""


def _named(value: str) -> Iterator[str]:
    if _looks_like_a_key(value) or value.lower().startswith("age1"):
        yield _checked(value, "--encrypt-to")
        return
    path = Path(value)
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SealiftError(
            "input-missing",
            f"cannot read recipients from {value}: {getattr(error, 'strerror', None) or 'it is not text'}",
            hint="name a recipient, age1…, or a file with one a line",
        ) from error
    for number, line in enumerate(text[:_MAX_FILE].splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield _checked(line.strip(), f"line {number} of {value}")


def _checked(text: str, place: str) -> str:
    """A recipient of the kind X25519 in lower case. Raises ``recipient-invalid`` (2)."""
    public = bech32_bytes(text, "age")
    if public is None:
        raise _refusal(place, _why(text))
    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise _refusal(place, "it is no point that keeps a secret") from None
    return text.lower()


def _why(text: str) -> str:
    """What is wrong with it, without repeating it where it may be a secret."""
    if _looks_like_a_key(text):
        return "that is a private key, and no secret any more: make another, and name the recipient it prints"
    if text.startswith(("ssh-", "age1pq", "age1tag", "age1yubikey")) or ("1" in text[4:] and text.startswith("age1")):
        return "it is of a kind that hosts cannot open: only age1… as age-keygen and sealift media-key new print them"
    if text.lower() != text and text.upper() != text:
        return "it mixes upper and lower case"
    return "it is mistyped or cut off: its checksum does not hold"


def _looks_like_a_key(text: str) -> bool:
    return text.upper().startswith("AGE-SECRET-KEY-")


def _refusal(place: str, why: str) -> SealiftError:
    return SealiftError("recipient-invalid", f"{place}: {why}", hint="sealift media-key show, at the site, prints it")
