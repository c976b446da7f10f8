"""The verbs ``sealift media-key …``: the keys that open encrypted media. Only recipients are shown, never a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from installer.durable import make_folder
from installer.places import Places
from installer.state.lock import locked
from installer.talk import Talk

if TYPE_CHECKING:  # what only these verbs need is imported there: others answer at once
    from installer.bundle.age import MediaKey

media_key = typer.Typer(no_args_is_help=True, help="what opens encrypted media on this host")


@media_key.command()
def new(context: typer.Context) -> None:
    """Make a key, and print what the vendor encrypts to. Keys that are there still open what was made for them."""
    from installer.trust.mediakey import new_key

    with _at_work("media-key new"):
        _show(context.obj, [new_key(Places.state_dir)])


@media_key.command()
def add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="a file that age-keygen wrote", readable=False)],
) -> None:
    """Take over keys that were made elsewhere."""
    from installer.trust.mediakey import add_keys

    with _at_work("media-key add"):
        _show(context.obj, add_keys(Places.state_dir, file))


@media_key.command()
def show(context: typer.Context) -> None:
    """What media for this host are encrypted to, one a line, the newest first."""
    from installer.trust.mediakey import media_keys

    _show(context.obj, media_keys(Places.state_dir))


@contextmanager
def _at_work(doing: str) -> Iterator[None]:
    from installer.program.hostprogram import ensure_on_host

    ensure_on_host()
    make_folder(Places.state_dir)
    with locked(Places.state_dir, doing):
        yield


def _show(talk: Talk, keys: Iterable[MediaKey]) -> None:
    """Recipients alone on stdout: ``> site.recipients`` is a file for ``bundle pack --encrypt-to``."""
    recipients = [key.recipient for key in keys]
    what = "what media for this host are encrypted to" if recipients else "this host has no media key"
    talk.say(f"{what}: {'bundle pack --encrypt-to …, at the vendor' if recipients else 'sealift media-key new'}")
    talk.result("\n".join(recipients), {"recipients": recipients})
