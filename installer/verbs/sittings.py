"""Verbs for an upgrade in several sittings: parse, call, show."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from installer.errors import SealiftError
from installer.places import Places
from installer.program.hostprogram import ensure_on_host
from installer.site.site import seconds
from installer.talk import Talk

sittings = typer.Typer()
_Product = Annotated[str | None, typer.Option(help="which product, where there are several")]
_Within = Annotated[
    str | None, typer.Option(help="such as 30m: the old release comes back by itself, unless: sealift confirm")
]


def duration(text: str | None) -> float | None:
    """Seconds of ``30m``. Raises ``bad-option`` (2)."""
    if text is None:
        return None
    try:
        found = seconds(text)
        if found <= 0:
            raise ValueError(text)
    except ValueError as error:
        raise SealiftError("bad-option", f"not a span of time: {text}", hint="write it like 90s, 30m or 2h") from error
    return found


@sittings.command()
def stage(
    context: typer.Context,
    path: Annotated[Path | None, typer.Argument(help="the bundle or the media folder", readable=False)] = None,
    bundle: Annotated[Path | None, typer.Option(help="the same, as an option", readable=False)] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--quick", help="check every byte before anything is touched, or only what is used")
    ] = True,
    strategy: Annotated[str | None, typer.Option(help="blue-green: only that can wait")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and change nothing")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask, even on a terminal")] = False,
    permit: Annotated[
        Path | None, typer.Option(help="a signed leave to go to an older release, used once", readable=False)
    ] = None,
) -> None:
    """All of an upgrade but the switch: verify, load, start and look at the new release beside the old one."""
    from installer.journey import install, show
    from installer.upgrade import Request

    talk: Talk = context.obj
    beside = os.environ.get("SEALIFT_MEDIA")
    media = path or bundle or (Path(beside) if beside else None)
    if media is None:
        raise SealiftError("bad-option", "which bundle?", hint="name it: sealift stage /media/usb")
    if not dry_run:
        ensure_on_host()
    request = Request(
        Places.state_dir,
        Places.site_file,
        media,
        strategy,
        quick=not verify,
        dry_run=dry_run,
        permit=permit,
        stage=True,
    )
    ask = not yes and sys.stdin.isatty()
    show(talk, install(request, talk, lambda text: talk.confirm(text, "--yes") if ask else True))


@sittings.command()
def switch(
    context: typer.Context,
    product: _Product = None,
    confirm_within: _Within = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and change nothing")] = False,
) -> None:
    """Switch to what was staged: without the media, and after a reboot too."""
    from installer.report import show_outcome
    from installer.sittings import switch as go

    within = duration(confirm_within)
    talk: Talk = context.obj
    show_outcome(talk, go(Places.state_dir, Places.site_file, talk, product, within=within, dry_run=dry_run))


@sittings.command()
def unstage(context: typer.Context, product: _Product = None) -> None:
    """Take what was staged down again."""
    from installer.report import show_outcome
    from installer.sittings import unstage as go

    show_outcome(context.obj, go(Places.state_dir, Places.site_file, context.obj, product))


@sittings.command()
def confirm(context: typer.Context, product: _Product = None) -> None:
    """Keep an upgrade that was made with --confirm-within."""
    from installer.report import show_outcome
    from installer.sittings import confirm as go

    show_outcome(context.obj, go(Places.state_dir, Places.site_file, context.obj, product))


@sittings.command(hidden=True)
def expire(
    context: typer.Context,
    wait: Annotated[
        bool, typer.Option("--wait", help="look again and again, until there is nothing to look at")
    ] = False,
) -> None:
    """Bring back what nobody confirmed in time. A timer or a container calls this; it does nothing too early."""
    from installer import sittings as own

    talk: Talk = context.obj
    if wait:
        own.await_end(Places.state_dir, Places.site_file, talk)
        if own.is_container():
            own.leave(Places.state_dir, Places.site_file, talk)
        return
    ended = own.expire(Places.state_dir, Places.site_file, talk)
    if not own.is_needed(Places.state_dir):
        own.leave(Places.state_dir, Places.site_file, talk)
    lines = [f"{one.result}: {one.product} {one.version}" for one in ended] or ["nothing is due"]
    talk.result("\n".join(lines), {"expired": [one.as_json() for one in ended]})
