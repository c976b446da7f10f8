"""When a stick brings a newer sealift: may it take over, and how it does.

Rules:
- Its bytes come out of the bundle, where the verified release lists them; the file ``install`` beside it has no say.
- Whether it may take over is for the root's *installer* role to say: a threshold of that role's keys must have signed
  these very bytes, in ``install.sigstore.json`` or ``install.NAME.sigstore.json`` beside the bundle. That the release
  is signed is not enough.
- Only a higher version takes over. One that may not, or does not run here, is passed over with a note; it is a refusal
  (``program-untrusted``) only where the release needs a newer one than the host has.
- It goes on with the same arguments, in the same process. It stays, whatever becomes of the release: a newer program is
  no part of an upgrade that is taken back.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import semver

from installer import __version__
from installer.bundle.beside import PROGRAM_PATH, PROGRAM_SIGNATURE, Beside, read_signature_files, weigh
from installer.bundle.content import Writer
from installer.bundle.digest import Digest
from installer.bundle.release import Descriptor, File
from installer.bundle.trust import Signer, TrustPolicy
from installer.errors import SealiftError
from installer.media import Media
from installer.program.hostprogram import Decision, Program, adopt, decide_program, host_program, own_program, start_of
from installer.state.journal import Journal
from installer.system import become
from installer.talk import Talk
from installer.trust.admission import refuse_program, suffices

_FIRST_LINES: Final = re.compile(rb"\A#!/bin/sh\n# sealift (\S{1,64}) for \S{1,64}: ")
_MAX_PROGRAM: Final = 256 * 1024 * 1024


@dataclass(frozen=True)
class Offer:
    """The program in a verified release: its file's bytes and digest, and the version that its second line names."""

    version: str
    digest: Digest
    data: bytes = field(repr=False)


def hand_over(media: Media, policy: TrustPolicy, state_dir: Path, talk: Talk, *, dry_run: bool) -> None:
    """Go on as the newer program that ``media`` brings, if it may; return where this one goes on.

    Called for a release that was admitted, under the lock, which ends with this program and is taken by the next.
    Raises ``installer-too-old`` (6) and what :func:`take_over` raises.
    """
    needed = not suffices(media.release, __version__)
    newer = None if dry_run else take_over(media, policy, Journal(state_dir), talk, needed=needed)
    if newer is not None:
        become((*start_of(newer), *sys.argv[1:]))
    refuse_program(media.release, __version__)


def take_over(media: Media, policy: TrustPolicy, journal: Journal, talk: Talk, *, needed: bool) -> Program | None:
    """Adopt the newer program that ``media`` brings and return it; None where the running one goes on.

    ``needed``: the release can't do with the running one. Raises ``program-untrusted`` (5)
    for a newer one that may not take over, or can't, where it is needed; and the errors of reading the media.
    """
    own = own_program()
    if own is None or own != host_program():  # run from sources, or only asked for a plan by a host without a program
        return None
    offer = read_offer(media)
    if offer is None or decide_program(own, Program(offer.version, offer.digest), verified=True) is not Decision.ADOPT:
        return None
    try:
        signers = judge_program(offer, read_program_signatures(media), policy, media.release.channel)
        _note(journal, "begin", own, offer, signers)
        program = adopt(offer.data, offer.version)
        _note(journal, "done", own, offer, signers)
    except SealiftError as error:
        if needed:
            raise untrusted(offer, own.version, error) from error
        talk.warn(f"sealift {offer.version} of this medium was passed over ({error.id}): {error.message}")
        return None
    names = ", ".join(signer.name for signer in signers)
    talk.say(f"sealift {offer.version}, signed by {names}, takes over from {own.version} and stays")
    return program


def read_offer(media: Media) -> Offer | None:
    """The program that the verified release lists, read and checked; None where there is none, or not one of ours."""
    listed = next((file for file in media.release.files if file.role == "program" and file.path == PROGRAM_PATH), None)
    if listed is None or listed.size > _MAX_PROGRAM:
        return None
    sink = _InMemory(listed)
    media.read([sink], progress=lambda _: None, quick=True)
    return offered(sink.data)


def offered(data: bytes) -> Offer | None:
    """What these bytes are, if they begin like a program of ours. Pure."""
    found = _FIRST_LINES.match(data)
    if found is None:
        return None
    version = found[1].decode("ascii", "replace")
    return Offer(version, Digest.of(data), data) if semver.Version.is_valid(version) else None


def read_program_signatures(media: Media) -> Mapping[str, bytes]:
    """The signature files beside the bundle that are called like the program. Never raises."""
    return read_signature_files(media.bundle.parent, PROGRAM_SIGNATURE, "", strays=False).files


def judge_program(
    offer: Offer, signatures: Mapping[str, bytes], policy: TrustPolicy, channel: str | None = None
) -> tuple[Signer, ...]:
    """Who of the installer role has signed this program. Pure. Raises the errors of :meth:`TrustPolicy.judge` (5).

    Junk beside sound signatures is passed over: it neither helps nor harms.
    """
    sound = weigh(Beside(signatures), offer.data, {}, policy, "installer")
    return policy.judge("installer", offer.data, sound.files or signatures, channel=channel)


def untrusted(offer: Offer, own: str, error: SealiftError) -> SealiftError:
    """The release needs a newer program, and the one that came along may not take over."""
    return SealiftError(
        "program-untrusted",
        f"the release needs a newer sealift than {own}, and {offer.version} on this medium cannot take over: "
        f"{error.message} ({error.id})",
        hint=error.hint or "ask the vendor for media whose program the installer role has signed",
        details=error.details,
    )


def _note(journal: Journal, step: str, own: Program, offer: Offer, signers: tuple[Signer, ...]) -> None:
    detail = {
        "from": own.version,
        "to": offer.version,
        "digest": str(offer.digest),
        "signers": [{"key": str(signer.key), "name": signer.name} for signer in signers],
    }
    journal.write("program", "program", step, detail)


class _InMemory:
    """Takes one member."""

    def __init__(self, wanted: File) -> None:
        self._wanted = wanted
        self.data = b""

    def open(self, member: File | Descriptor) -> Writer | None:
        return _Whole(self) if member == self._wanted else None

    def close(self) -> None:
        """Nothing is pending."""


@dataclass
class _Whole:
    """Hands the member over when its digest was right."""

    sink: _InMemory
    data: bytearray = field(default_factory=bytearray)

    def write(self, chunk: bytes) -> None:
        self.data += chunk

    def finish(self) -> None:
        self.sink.data = bytes(self.data)

    def abort(self) -> None:
        self.data.clear()
