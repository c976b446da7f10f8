"""Verbs that look, and the one that makes room: parse, call, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from installer.places import Places
from installer.talk import Table, Talk
from installer.words import size

looks = typer.Typer()
_Product = Annotated[str | None, typer.Option(help="which product, where there are several")]


@looks.command()
def logs(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="a service of the product, or: front-door, registry")],
    product: _Product = None,
    lines: Annotated[int, typer.Option(min=1, max=100_000, help="how many of each container")] = 50,
) -> None:
    """The last words of a service, all its containers, stopped ones and both colours too."""
    from installer.look.logs import last_words

    talk: Talk = context.obj
    found = last_words(Places.state_dir, Places.site_file, service, product, lines)
    text = [f"{one.container}  {line}" for one in found for line in one.lines]
    talk.result(
        "\n".join(text) or f"{service} wrote nothing",
        {
            "service": service,
            "containers": [
                {"name": one.container, "part": one.part, "version": one.version, "lines": list(one.lines)}
                for one in found
            ],
        },
    )


@looks.command()
def receipt(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="what the courier carries back", readable=False)],
) -> None:
    """Write what this site runs and holds, signed with the site's key, for the vendor. Nothing secret is in it."""
    from installer.look.receipts import make_receipt

    talk: Talk = context.obj
    made = make_receipt(Places.state_dir, Places.site_file, out, talk)
    talk.result(made.table(), made.as_json())


@looks.command()
def unlock(context: typer.Context) -> None:
    """Say whether anybody works here. A dead run needs nothing broken; a live one is not touched."""
    from installer.state.journal import Journal
    from installer.state.lock import unlock as release

    talk: Talk = context.obj
    said, run = release(Places.state_dir), Journal(Places.state_dir).unfinished()
    pending = "; a run was cut off: the next one finishes it, or takes it back" if run else ""
    talk.result(f"{said}{pending}", {"locked": False, "pending": run is not None})


@looks.command()
def prune(
    context: typer.Context,
    keep: Annotated[int | None, typer.Option(help="how many releases stay (else as site.yaml says)")] = None,
    product: _Product = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and change nothing")] = False,
) -> None:
    """Make room: forget old releases and what only they need, never what a rollback returns to."""
    from installer.pruning import prune as make_room

    talk: Talk = context.obj
    done = make_room(Places.state_dir, Places.site_file, talk, product, keep=keep, dry_run=dry_run)
    value: dict[str, object] = {
        "result": "planned" if done.planned else "pruned",
        "product": done.product,
        "dropped": list(done.dropped),
        "kept": list(done.kept),
        "freed": done.freed,
    }
    if done.planned:
        value["plan"] = done.plan.model_dump(mode="json")
        talk.result("\n".join([done.plan.headline, *done.plan.lines()]), value)
        return
    rows = (
        ("forgotten", ", ".join(done.dropped) or "nothing"),
        ("to go back to", ", ".join(done.kept)),
        ("freed", size(done.freed)),
    )
    talk.result(Table(("", ""), rows, f"pruned: {done.product}"), value)
