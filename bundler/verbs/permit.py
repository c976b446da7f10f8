"""The verb ``bundle permit``, and ``bundle sign`` for a permit: parse, call, print."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from installer.errors import SealiftError
from installer.talk import Talk

if TYPE_CHECKING:
    from bundler.signing.keyfile import Passphrase

DEFAULT_DAYS: Final = 14
MAX_DAYS: Final = 366  # what installer.trust.permit takes: spelled again, because `--help` does not import it


def permit(
    context: typer.Context,
    coming_from: Annotated[str, typer.Option("--from", help="digest or bundle of what serves there; or: lost")],
    to: Annotated[str, typer.Option("--to", help="digest or bundle of what may come in")],
    site: Annotated[str, typer.Option("--site", help="the site's fingerprint, as sealift trust show says it there")],
    out: Annotated[Path, typer.Option("--out", metavar="NAME.permit.json")],
    key: Annotated[list[Path] | None, typer.Option("--key", help="of the permit role; else SEALIFT_KEY")] = None,
    product: Annotated[str | None, typer.Option("--product", help="where only digests are named")] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=MAX_DAYS)] = DEFAULT_DAYS,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="else SEALIFT_PASSPHRASE, else asked")
    ] = None,
) -> None:
    """Let one site go once to an older release. A second person signs with: bundle sign NAME.permit.json."""
    from bundler.signing.sign import load_keys, passphrase_from
    from bundler.trust import permit as permits

    talk: Talk = context.obj
    if not permits.is_permit(out):
        raise SealiftError("bad-option", f"{out} is no name for a permit", hint=f"end it with {permits.SUFFIX}")
    made = permits.make_permit(permits.Wish(coming_from, to, site, product, days), datetime.now(UTC))
    _show(talk, made.lines())
    signers = load_keys(key or _keys_of_environment(), passphrase_from(passphrase_file, talk.ask_secret))
    signed = permits.write_permit(made, out, signers)
    talk.result(signed.table(), signed.as_json())


def sign(talk: Talk, file: Path, key: Path | None, passphrase: Passphrase) -> None:
    """Add one signature to a permit, which is shown before the passphrase is asked for. Permits want keys."""
    from bundler.signing.sign import load_keys
    from bundler.trust import permit as permits

    _show(talk, permits.read_unsigned(file).lines())
    signed = permits.sign_permit(file, load_keys([key] if key is not None else _keys_of_environment(), passphrase))
    talk.result(signed.table(), signed.as_json())


def _keys_of_environment() -> list[Path]:
    return [Path(path) for path in os.environ.get("SEALIFT_KEY", "").split(os.pathsep) if path]


def _show(talk: Talk, lines: tuple[str, ...]) -> None:
    for line in lines:
        talk.say(line)
