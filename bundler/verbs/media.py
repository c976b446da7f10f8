"""The verbs ``bundle pack`` and ``bundle parts``: parse, call, print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bundler.verbs.options import MediaKeys, unlock_by
from installer.errors import SealiftError
from installer.talk import Table, Talk

if TYPE_CHECKING:
    from bundler.delta.holdings import Holdings

PartSize = Annotated[
    str | None, typer.Option("--part-size", metavar="SIZE", help="such as 700MB, fat32, dvd, blu-ray; else one file")
]
Since = Annotated[
    list[Path] | None,
    typer.Option(
        "--since",
        metavar="BUNDLE",
        help="a delta for sites that run this, or sent this receipt; repeatable",
    ),
]
Store = Annotated[
    Path | None, typer.Option("--store", metavar="DIR", help="a folder of the bundles that receipts name")
]
SiteKey = Annotated[
    str | None, typer.Option("--site-key", metavar="KEY", help="whose key receipts must be signed by; a folder of them")
]


def held_by(paths: Sequence[Path] | None, store: Path | None, site_key: str | None, talk: Talk) -> tuple[Holdings, ...]:
    """What the bundles and receipts that were named tell of."""
    from bundler.delta.since import Sites, read_since
    from bundler.media.stock import Stock

    stock = Stock.read(store, talk.warn) if store else None
    return read_since(paths or (), stock, Sites.read(site_key) if site_key else None, talk)


def pack(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a bundle, its first part, or the media folder")],
    part_size: PartSize = None,
    since: Since = None,
    store: Store = None,
    site_key: SiteKey = None,
    encrypt_to: Annotated[
        list[str] | None,
        typer.Option("--encrypt-to", metavar="RECIPIENT", help="age1…, or a file with one a line; may be repeated"),
    ] = None,
    identity: MediaKeys = None,
    output: Annotated[Path, typer.Option("--output", metavar="DIR")] = Path("dist"),
) -> None:
    """Pack a signed release otherwise, without its keys: a delta, parts, encrypted, or joined, with what signed it."""
    from bundler.media.encrypt import Cover, recipients_from
    from bundler.media.pack import pack as make_packing
    from bundler.writing.parts import parse_size

    talk: Talk = context.obj
    held = held_by(since, store, site_key, talk)
    cover = Cover(recipients_from(encrypt_to) if encrypt_to else (), unlock_by(identity))
    made = make_packing(file, output, parse_size(part_size) if part_size else None, talk, held, cover)
    talk.result(made.table(), made.as_json())


def repair(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a damaged bundle, one of its parts, or their folder")],
    other: Annotated[Path, typer.Option("--from", metavar="OTHER", help="a second copy, which may be damaged too")],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="write there; else FILE is replaced once it is whole")
    ] = None,
) -> None:
    """Heal damaged media from a second copy, without any key, or name the bytes that neither has."""
    from bundler.repair.verb import repair as heal

    talk: Talk = context.obj
    made = heal(file, other, output, talk)
    talk.result(made.table(), made.as_json())


def parts(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PART...", help="parts, or the folder with all of them")],
) -> None:
    """Check parts one by one, each alone, against parts.json beside them. Says nothing about who made them."""
    from installer.bundle.parts import check_part

    talk: Talk = context.obj
    named = [part for path in paths for part in _parts_of(path)]
    rows: list[tuple[str, str]] = []
    bad: list[SealiftError] = []
    for part in named:
        try:
            check_part(part)
            rows.append((part.name, "whole"))
        except SealiftError as error:
            rows.append((part.name, error.id))
            bad.append(error)
    value: dict[str, object] = {"parts": [{"name": name, "state": state} for name, state in rows]}
    talk.result(Table(("part", ""), tuple(rows)), value)
    if bad:
        bad[0].details += tuple(error.message for error in bad[1:])
        raise bad[0]


def _parts_of(path: Path) -> list[Path]:
    """The part itself, or all that the note in a folder tells of."""
    from installer.bundle.archive import locate_bundle
    from installer.bundle.parts import PartsNote, part_name, split_name

    if not path.is_dir():
        return [path]
    first = locate_bundle(path)
    split, note = split_name(first.name), PartsNote.beside(first)
    if split is None or note is None:
        return [first]
    return [path / part_name(split[0], number) for number in range(1, len(note.parts) + 1)]
