"""The verbs ``bundle kit`` and ``bundle receipt``: what is made for one site out of its receipt; parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from installer.talk import Talk

Receipt = Annotated[Path, typer.Argument(metavar="FILE", help="a site's receipt")]
SiteKey = Annotated[
    str | None,
    typer.Option(
        "--site-key", metavar="KEY", help="whose receipt it must be: a fingerprint, a PEM, a folder of NAME.pub"
    ),
]


def receipt(context: typer.Context, file: Receipt, site_key: SiteKey = None) -> None:
    """Show what a site says that it runs and holds; with --site-key, only if that site has signed it."""
    from bundler.delta.since import Sites, describe, open_receipt

    talk: Talk = context.obj
    talk.result(*describe(file, open_receipt(file, Sites.read(site_key) if site_key else None, talk)))


def kit(
    context: typer.Context,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="such as v2.1.0")],
    receipt: Annotated[Path, typer.Option("--from", metavar="RECEIPT", help="of the site that it is for")],
    store: Annotated[Path, typer.Option("--store", metavar="DIR", help="where the bundles of releases are")],
    output: Annotated[Path, typer.Option("--output", metavar="DIR")] = Path("dist"),
    product: Annotated[str | None, typer.Option("--product", help="where the site runs several")] = None,
    site_key: SiteKey = None,
    part_size: Annotated[
        str | None, typer.Option("--part-size", metavar="SIZE", help="such as fat32: each step in parts")
    ] = None,
) -> None:
    """Put the whole way from what a site runs to VERSION on one medium, each byte once. Needs no key."""
    from bundler.delta.since import Sites, open_receipt
    from bundler.media.waykit import Wish, make_kit
    from bundler.writing.parts import parse_size

    talk: Talk = context.obj
    signed = open_receipt(receipt, Sites.read(site_key) if site_key else None, talk)
    wish = Wish(version.removeprefix("v"), store, output, product, parse_size(part_size) if part_size else None)
    made = make_kit(signed, wish, talk)
    talk.result(made.table(), made.as_json())
