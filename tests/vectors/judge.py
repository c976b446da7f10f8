"""What the verifier says of a bundle in memory, and what it would install."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import BinaryIO

from installer.bundle.archive import BundleReader
from installer.bundle.content import Sink, Writer
from installer.bundle.release import Descriptor, File
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import check_content, verify_release
from installer.errors import SealiftError

NOW = datetime(2026, 11, 21, tzinfo=UTC)


class Collected(Sink):
    """Keeps what arrived, by digest; nothing that was not finished counts."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def open(self, member: File | Descriptor) -> Writer:
        return _Kept(self.held, member.digest)

    def close(self) -> None:
        """Nothing is pending."""


class _Kept(Writer):
    def __init__(self, held: dict[str, bytes], digest: str) -> None:
        self._held, self._digest, self._parts = held, digest, list[bytes]()

    def write(self, chunk: bytes) -> None:
        self._parts.append(chunk)

    def finish(self) -> None:
        self._held[self._digest] = b"".join(self._parts)

    def abort(self) -> None:
        self._parts.clear()


def installed(file: BinaryIO, policy: TrustPolicy) -> dict[str, bytes]:
    """What an install takes from ``file``, by digest (and ``release.json``). Raises the verifier's errors."""
    sink = Collected()
    with BundleReader.from_file(file, "x.bundle.tar.zst") as reader:
        verified = verify_release(reader, policy, now=NOW)
        if check_content(reader, verified, [sink]):
            raise AssertionError("a full check left something out")
    return {**sink.held, "release.json": verified.raw}


def verdict(bundle: bytes, root: bytes) -> str | None:
    """The error id of the refusal, or None for a bundle that is accepted. Any other exception is a defect."""
    try:
        installed(io.BytesIO(bundle), TrustPolicy.from_root(root, "root.json"))
    except SealiftError as error:
        return error.id
    return None
