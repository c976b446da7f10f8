"""``sealift verify``: every byte and every signature of media, against this host's trust. Changes nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from installer.bundle.pathnote import PathNote
from installer.bundle.trust import TrustPolicy
from installer.journey import now_here, verify_legs
from installer.media import Media, open_media
from installer.report import show_verified
from installer.talk import Talk
from installer.trust.clock import date_findings, root_findings
from installer.trust.entrance import clock_here
from installer.trust.mediakey import media_keys
from installer.trust.store import load_policy

_BUILDS_ON: Final = "what the steps build on (sealift install looks for it before it touches anything)"


def verify(path: Path, state_dir: Path, talk: Talk) -> None:
    """Check one release, or every step of media that hold a way, and show it. Raises what the verifier raises.

    A delta alone is ``incomplete`` (4). Of a way all is checked that the media carry: what its steps leave out is told
    as not checked, since a step may build on the one before it.
    """
    note = PathNote.beside(path) if path.is_dir() else None
    if note is not None:
        _verify_way(path, note, state_dir, talk)
        return
    media = _checked(path, load_policy(state_dir), state_dir, talk, alone=True)
    policy = media.verified.policy
    clock = clock_here(state_dir, policy)
    findings = (*clock.findings(), *root_findings(policy, clock), *date_findings(media.release, policy))
    for finding in findings:
        talk.warn(f"{finding.message} ({finding.hint})")
    show_verified(talk, media.verified, findings)


def _verify_way(path: Path, note: PathNote, state_dir: Path, talk: Talk) -> None:
    policy = load_policy(state_dir)
    now, keys = partial(now_here, state_dir), partial(media_keys, state_dir)
    legs = verify_legs(path, note, policy, now=now, ask=talk.ask_for_disc, unlock=keys)
    steps: list[dict[str, object]] = []
    for leg in legs:
        media = _checked(leg.folder, policy, state_dir, talk, alone=False)
        policy = media.verified.policy
        signers = [signer.as_json() for signer in media.verified.signers]
        steps.append({"folder": leg.folder.name, "digest": str(media.verified.digest), "signers": signers})
    value: dict[str, object] = {
        "verified": True,
        "product": note.product,
        "version": legs[-1].release.version,
        "digest": str(legs[-1].release.digest),
        "steps": steps,
        "checked": ["signatures", "order", "content that is carried"],
        "not_checked": [_BUILDS_ON],
    }
    way = " -> ".join(leg.release.version for leg in legs)
    talk.result(f"verified: {note.product} {way}, all that the media carry\nnot checked: {_BUILDS_ON}", value)


def _checked(path: Path, policy: TrustPolicy, state_dir: Path, talk: Talk, *, alone: bool) -> Media:
    """Media of one release, all of whose bytes were read."""
    now, keys = partial(now_here, state_dir), partial(media_keys, state_dir)
    media = open_media(path, policy, now=now, ask=talk.ask_for_disc, unlock=keys)
    for item in media.passed_over:
        (talk.say if item.is_by_a_stranger else talk.warn)(item.line())
    with talk.progress("verify", media.size) as meter:
        media.read([], progress=meter.advance, have=() if alone else None)
    return media
