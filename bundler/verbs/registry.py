"""The verbs ``bundle push`` and ``bundle pull``: parse, call, print."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bundler.verbs.options import policy_of
from installer.talk import Talk

if TYPE_CHECKING:
    from installer.bundle.trust import TrustPolicy

Place = Annotated[str, typer.Argument(metavar="oci://REGISTRY/REPOSITORY:TAG")]
Trust = Annotated[Path | None, typer.Option("--trust", metavar="ROOT.JSON", help="judge first who signed it")]
Key = Annotated[Path | None, typer.Option("--key", metavar="PUB", help="the same, by one public key")]
PlainHttp = Annotated[bool, typer.Option("--plain-http", help="ask without TLS")]
Authority = Annotated[Path | None, typer.Option("--ca", metavar="FILE", help="whom to trust there, PEM")]


def push(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a bundle, its first part, or the media folder")],
    place: Place,
    trust_root: Trust = None,
    key: Key = None,
    mount: Annotated[
        list[str] | None,
        typer.Option("--mount-from", metavar="REPOSITORY", help="it may have images already: take blobs from there"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="let the tag move from what it holds")] = False,
    plain_http: PlainHttp = False,
    ca: Authority = None,
) -> None:
    """Put a signed release into an OCI registry, with what signs it; what is there is not sent again. Needs no key."""
    from bundler.publish import place as places
    from bundler.publish import push as pushing

    talk: Talk = context.obj
    where = places.Place.parse(place, os.environ, plain_http=plain_http, ca=ca)
    wish = pushing.Wish(_policy(trust_root, key, talk), datetime.now(UTC), force, tuple(mount or ()))
    done = pushing.push(file, where, wish, talk)
    talk.result(done.table(), done.as_json())


def pull(
    context: typer.Context,
    place: Annotated[str, typer.Argument(metavar="oci://REGISTRY/REPOSITORY[:TAG|@DIGEST]")],
    output: Annotated[Path, typer.Option("--output", metavar="DIR")] = Path("dist"),
    part_size: Annotated[
        str | None,
        typer.Option("--part-size", metavar="SIZE", help="such as 700MB, fat32, dvd, blu-ray; else one file"),
    ] = None,
    trust_root: Trust = None,
    key: Key = None,
    plain_http: PlainHttp = False,
    ca: Authority = None,
) -> None:
    """Make the media folder of a release in an OCI registry again, below DIR. Goes on where it was cut off."""
    from bundler.publish import place as places
    from bundler.publish import pull as pulling
    from bundler.writing.parts import parse_size

    talk: Talk = context.obj
    where = places.Place.parse(place, os.environ, plain_http=plain_http, ca=ca)
    size = parse_size(part_size) if part_size else None
    wish = pulling.Wish(output, size, _policy(trust_root, key, talk), datetime.now(UTC))
    done = pulling.pull(where, wish, talk)
    talk.result(done.table(), done.as_json())


def _policy(trust_root: Path | None, key: Path | None, talk: Talk) -> TrustPolicy | None:
    """Whom to trust, where that is asked for."""
    if trust_root is None and key is None:
        return None
    policy = policy_of(trust_root, key)
    if notice := policy.expiry_notice(datetime.now(UTC)):
        talk.warn(notice)
    return policy
