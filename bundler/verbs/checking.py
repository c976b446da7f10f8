"""The verbs ``bundle inspect`` and ``bundle verify``: parse, call, print."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bundler.verbs.media import Store, held_by
from bundler.verbs.options import MediaKeys, policy_of, unlock_by
from installer.talk import Talk

File = Annotated[Path, typer.Argument(metavar="FILE", help="a bundle, its first part, the media folder, or a kit")]


def inspect(
    context: typer.Context,
    file: File,
    trust_root: Annotated[Path | None, typer.Option("--trust", metavar="ROOT.JSON", help="check who signed it")] = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="PUB", help="the same, by one key")] = None,
    identity: MediaKeys = None,
) -> None:
    """Show what a bundle says about itself; with --trust or --key, only if its signatures hold. Reads its head."""
    from bundler.verification import inspect_media
    from installer.bundle.pathnote import PathNote

    talk: Talk = context.obj
    policy, now = None if trust_root is None and key is None else policy_of(trust_root, key), datetime.now(UTC)
    if file.is_dir() and (note := PathNote.beside(file)) is not None:
        from bundler.waymedia import inspect_way

        talk.result(*inspect_way(file, note, policy, now=now, unlock=unlock_by(identity)))
        return
    talk.result(*inspect_media(file, policy, now=now, unlock=unlock_by(identity)))


def verify(
    context: typer.Context,
    file: File,
    trust_root: Annotated[Path | None, typer.Option("--trust", metavar="ROOT.JSON")] = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="PUB")] = None,
    have: Annotated[
        list[Path] | None,
        typer.Option("--have", metavar="BUNDLE", help="what a delta builds on: bundle or receipt"),
    ] = None,
    store: Store = None,
    identity: MediaKeys = None,
) -> None:
    """Check every byte and every signature."""
    from bundler.verification import verify_media
    from installer.bundle.pathnote import PathNote

    talk: Talk = context.obj
    held = held_by(have, store, None, talk)
    policy, now = policy_of(trust_root, key), datetime.now(UTC)
    if notice := policy.expiry_notice(now):
        talk.warn(notice)
    demanded, unlock = trust_root is not None, unlock_by(identity)
    if file.is_dir() and (note := PathNote.beside(file)) is not None:
        from bundler.waymedia import verify_way

        way = verify_way(file, note, policy, talk, demands_program=demanded, now=now, have=held, unlock=unlock)
        talk.result(way.table(), way.as_json())
        return
    found = verify_media(file, policy, talk, demands_program=demanded, now=now, have=held, unlock=unlock)
    talk.result(found.table(), found.as_json())
