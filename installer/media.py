"""What lies on the stick, as far as it can be trusted: the release, small files read ahead, and the one full read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.beside import PassedOver, verify_with_countersignatures
from installer.bundle.content import Sink, Writer
from installer.bundle.digest import Digest
from installer.bundle.encrypted import Unlock
from installer.bundle.packing import Delta, Packing, read_packing
from installer.bundle.parts import Ask
from installer.bundle.release import Descriptor, File, Release
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import Now, Progress, Rebuild, VerifiedRelease, check_content
from installer.durable import make_folder, sync_folder
from installer.errors import SealiftError
from installer.heap import give_back

KEPT_ROLES: Final = frozenset({"template", "doc", "changelog"})
_MAX_KEPT: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Media:
    """A bundle whose signature holds. ``files`` are its templates and documents, checked against the signed list.

    ``passed_over`` are files in ``signatures/`` beside it that did not count; ``roots`` are those it
    carries, raw; ``ask`` brings discs with further parts, ``unlock`` the keys of encrypted media; ``packing`` says how
    the bundle carries the content.
    """

    bundle: Path
    verified: VerifiedRelease
    files: Mapping[str, bytes]
    size: int
    passed_over: tuple[PassedOver, ...] = ()
    roots: Mapping[int, bytes] = field(default_factory=dict)
    ask: Ask | None = None
    packing: Packing | Delta = field(default_factory=Packing)
    unlock: Unlock | None = None

    @property
    def release(self) -> Release:
        return self.verified.release

    def read(
        self,
        sinks: Sequence[Sink],
        *,
        progress: Progress,
        quick: bool = False,
        have: Collection[str] | None = None,
        rebuild: Rebuild | None = None,
        outrun: threading.Event | None = None,
    ) -> tuple[str, ...]:
        """Read the content once into ``sinks``, which stay open; names of members that were not checked.

        The head is verified again by identity: a bundle that was swapped meanwhile is ``media-changed`` (4). Of a
        delta, ``have`` and ``rebuild`` are as for :func:`check_content`, and so is ``outrun``.
        """
        with BundleReader(self.bundle, self.ask, self.unlock) as reader:
            swapped = reader.head.packing != self.packing.to_bytes()
            if swapped or Digest.of(reader.head.release) != self.verified.digest:
                raise SealiftError(
                    "media-changed", f"{self.bundle} is not what it was a moment ago", hint="start again"
                )
            give_back()
            return check_content(
                reader,
                self.verified,
                sinks,
                progress=progress,
                quick=quick,
                have=have,
                rebuild=rebuild,
                outrun=outrun,
            )


def open_media(
    path: Path, policy: TrustPolicy, *, now: Now = None, ask: Ask | None = None, unlock: Unlock | None = None
) -> Media:
    """Verify who signed the bundle at ``path`` and read its small files. Raises the errors of reader and verifier."""
    bundle = locate_bundle(path)
    with BundleReader(bundle, ask, unlock) as reader:
        verified, passed_over = verify_with_countersignatures(reader, policy, bundle, now=now)
        kept = [member for _, member in verified.release.members() if _is_kept(member)]
        if sum(member.size for member in kept) > _MAX_KEPT:
            raise SealiftError(
                "too-large", "templates and documents are larger than 64 MiB", hint="the builder must slim them"
            )
        sink = _InMemory()
        check_content(reader, verified, [sink], quick=True, have=None)
        packing = read_packing(reader.head.packing, verified.release)
        return Media(bundle, verified, sink.files, reader.size, passed_over, reader.head.roots, ask, packing, unlock)


def _is_kept(member: File | Descriptor) -> bool:
    return isinstance(member, File) and member.role in KEPT_ROLES


class _InMemory:
    """Collects the files that a kept release consists of."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def open(self, member: File | Descriptor) -> Writer | None:
        if not isinstance(member, File) or not _is_kept(member):
            return None
        path = member.path
        return _Buffer(lambda data: self.files.__setitem__(path, data))

    def close(self) -> None:
        """Nothing is pending."""


class ToolSink:
    """Puts carried tools to ``tools/<sha256>/<name>`` of the state dir, from where they are run."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "tools"

    def open(self, member: File | Descriptor) -> Writer | None:
        if not isinstance(member, File) or member.role != "tool":
            return None
        target = tool_path(self._folder.parent, member)
        return None if holds_file(target, member.digest) else _Placed(target)

    def close(self) -> None:
        """Nothing is pending."""


def tool_path(state_dir: Path, member: File) -> Path:
    """Where a carried tool stands on the host."""
    return state_dir / "tools" / member.digest.removeprefix("sha256:") / member.path.rsplit("/", 1)[-1]


def holds_file(path: Path, digest: str) -> bool:
    """Whether ``path`` is a file with that digest; reads all of it."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest


class _Placed:
    """Writes one executable beside its final name, and renames it there when its digest was right."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._draft = make_folder(target.parent) / f".{target.name}.draft"
        self._file = self._draft.open("wb")

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)

    def finish(self) -> None:
        with self._file as file:
            os.fchmod(file.fileno(), 0o755)
            file.flush()
            os.fsync(file.fileno())
        self._draft.rename(self._target)
        sync_folder(self._target.parent)

    def abort(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
            self._draft.unlink(missing_ok=True)


class _Buffer:
    """One member in memory, handed over when its digest was right."""

    def __init__(self, done: Callable[[bytes], None]) -> None:
        self._done = done
        self._parts: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        self._parts.append(chunk)

    def finish(self) -> None:
        self._done(b"".join(self._parts))

    def abort(self) -> None:
        self._parts.clear()
