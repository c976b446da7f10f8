"""Signatures beside a bundle: in the media folder's ``signatures/``, people add theirs without rewriting the bundle.

They can only add. What counts is decided by the same rule as for those inside; whatever does not count is passed over
and named, so that a scratched extra file never stops what enough others have signed, and junk never helps.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from installer.bundle.archive import BundleReader
from installer.bundle.digest import Digest
from installer.bundle.keyless import OF_STRANGERS
from installer.bundle.roots import current
from installer.bundle.signature import MAX_SIGNATURE_BYTES, MAX_SIGNATURES, SIGNATURE_NAME
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import Now, VerifiedRelease, verify_release
from installer.errors import ExitCode, SealiftError

FOLDER: Final = "signatures"
PROGRAM_PATH: Final = "program/install"
"""Where a release lists the site program, which lies beside the bundle as ``install``, with its signatures."""
PROGRAM_SIGNATURE: Final = re.compile(r"install(\.[a-z0-9][a-z0-9._-]{0,60})?\.sigstore\.json")
_ONE_OF_SEVERAL: Final = frozenset({"threshold-not-met", "requirement-not-met"})
"""Sound files by a trusted signer, of whom more are needed."""
_BY_STRANGERS: Final = OF_STRANGERS | {"no-valid-signature", "key-revoked"}
_NOT_BY_ITSELF: Final = _ONE_OF_SEVERAL | _BY_STRANGERS
"""Those, and sound files by somebody whom another policy may trust. They are taken along."""
_MAX_ENTRIES: Final = 4096
_MAX_READ: Final = 2 * MAX_SIGNATURES
"""The copies of those inside, and as many again."""
_MAX_TOLD: Final = 32
"""Files that do not count, as far as each is named."""


@dataclass(frozen=True)
class PassedOver:
    """A file beside the bundle that does not count, and why."""

    name: str
    error: SealiftError

    @property
    def is_by_a_stranger(self) -> bool:
        """Sound, by somebody whom this policy does not name: nothing is wrong."""
        return self.error.id in _BY_STRANGERS

    def line(self) -> str:
        """For people. The name may hold anything: it is shown in ASCII."""
        return f"{ascii(self.name)[1:-1][:100]} does not count ({self.error.id}): {self.error.message}"


@dataclass(frozen=True)
class Beside:
    """Signature files by member name, and what was passed over. :func:`weigh` has judged them, or not yet."""

    files: Mapping[str, bytes]
    passed_over: tuple[PassedOver, ...] = ()


def verify_with_countersignatures(
    reader: BundleReader, policy: TrustPolicy, bundle: Path, *, now: Now = None
) -> tuple[VerifiedRelease, tuple[PassedOver, ...]]:
    """As :func:`verify_release`, counting the signatures beside the file ``bundle`` too; with what did not count."""
    head = reader.head
    policy = current(policy, head.roots)
    found = weigh(read_countersignatures(bundle), head.release, head.signatures, policy)
    try:
        return verify_release(reader, policy, found.files, now=now), found.passed_over
    except SealiftError as error:
        if error.exit_code is ExitCode.UNTRUSTED:
            error.details += tuple(item.line() for item in found.passed_over)
        raise


def weigh(
    found: Beside, payload: bytes, inside: Mapping[str, bytes], policy: TrustPolicy, role: str = "release"
) -> Beside:
    """What of ``found`` is a sound signature over ``payload`` that is not among ``inside``. Pure.

    Those by trusted keys come first, so that strangers cannot take their places; 32 are the most, with ``inside``.
    """
    passed = list(found.passed_over)
    trusted: list[tuple[str, bytes]] = []
    others: list[tuple[str, bytes]] = []
    for name, data in found.files.items():
        if data in inside.values():
            continue
        error = _refusal(data, name, payload, policy, role)
        if error is not None and error.id not in _ONE_OF_SEVERAL:
            passed.append(PassedOver(name, error))
        if error is None or error.id in _NOT_BY_ITSELF:
            (others if error is not None and error.id in _BY_STRANGERS else trusted).append((name, data))
    taken: dict[str, bytes] = {}
    for name, data in trusted + others:
        if len(inside) + len(taken) < MAX_SIGNATURES:
            taken[name if name not in inside else _other_name(data)] = data
        else:
            error = SealiftError("signatures-too-many", f"there are {MAX_SIGNATURES} without it")
            passed.append(PassedOver(name, error))
    return Beside(taken, tuple(passed))


def read_countersignatures(bundle: Path) -> Beside:
    """The files in ``signatures/`` beside ``bundle``. Never raises: what cannot be read is passed over."""
    return read_signature_files(bundle.parent / FOLDER, SIGNATURE_NAME, f"{FOLDER}/")


def read_signature_files(folder: Path, wanted: re.Pattern[str], prefix: str, *, strays: bool = True) -> Beside:
    """The files of ``folder`` whose name, after ``prefix``, is ``wanted``; ``strays``: others are passed over by name.

    Plain files of at most 64 KiB; no link is followed, nothing is waited for.
    """
    files: dict[str, bytes] = {}
    passed: list[PassedOver] = []
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return Beside({})
    except OSError as error:
        return Beside({}, (PassedOver(folder.name, _of_os(error)),))
    more = False
    try:
        names, more = _names(handle)
        for name in names:
            if wanted.fullmatch(prefix + name) is None:
                error_ = SealiftError(
                    "member-unexpected", "not the name of a signature: NAME.sigstore.json, lower case"
                )
                passed += [PassedOver(prefix + name, error_)] if strays else []
                continue
            if len(files) == _MAX_READ:
                error_ = SealiftError(
                    "signatures-too-many", f"{_MAX_READ} are enough: this and later names are not read"
                )
                passed.append(PassedOver(prefix + name, error_))
                break
            try:
                files[prefix + name] = _read(handle, name)
            except SealiftError as error:
                passed.append(PassedOver(prefix + name, error))
    except OSError as error:
        passed.append(PassedOver(folder.name, _of_os(error)))
    finally:
        os.close(handle)
    told = _at_most(passed, folder.name)
    if more:
        rest = SealiftError("signatures-too-many", f"it holds more than {_MAX_ENTRIES} entries: not all are looked at")
        told += (PassedOver(folder.name, rest),)
    return Beside(files, told)


def _at_most(passed: list[PassedOver], folder: str) -> tuple[PassedOver, ...]:
    """Those that people can still read; whoever filled the folder shall not fill their screen."""
    more = len(passed) - _MAX_TOLD
    if more <= 0:
        return tuple(passed)
    error = SealiftError("signatures-too-many", f"{more} more of what is no signature")
    return (*passed[:_MAX_TOLD], PassedOver(folder, error))


def _names(handle: int) -> tuple[list[str], bool]:
    """The first entries of a folder, sorted, and whether there are more."""
    with os.scandir(handle) as entries:
        found = [entry.name for entry in islice(entries, _MAX_ENTRIES + 1)]
    return sorted(found[:_MAX_ENTRIES]), len(found) > _MAX_ENTRIES


def _read(folder: int, name: str) -> bytes:
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise SealiftError("media-not-a-file", "not a plain file")
            data = file.read(MAX_SIGNATURE_BYTES + 1)
    except OSError as error:
        raise _of_os(error) from error
    if len(data) > MAX_SIGNATURE_BYTES:
        raise SealiftError("signature-too-large", f"larger than {MAX_SIGNATURE_BYTES} bytes")
    return data


def _refusal(data: bytes, name: str, payload: bytes, policy: TrustPolicy, role: str) -> SealiftError | None:
    """Why this file, by itself, is not enough."""
    try:
        policy.judge(role, payload, {name: data})
    except SealiftError as error:
        return error
    return None


def _other_name(data: bytes) -> str:
    """For a file whose name is taken inside: another that follows from its bytes."""
    return f"{FOLDER}/beside-{Digest.of(data).hex[:32]}.sigstore.json"


def _of_os(error: OSError) -> SealiftError:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return SealiftError("member-link", "a link, or not what it must be; none is followed")
    if error.errno in (errno.EISDIR, errno.ENXIO):
        return SealiftError("media-not-a-file", "not a plain file")
    return SealiftError("media-unreadable", f"cannot be read: {error.strerror or error}")
