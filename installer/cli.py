"""The site program's verbs: parse, call, show. ``install`` on the media and ``sealift`` on the host are the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

import typer

from installer import __version__
from installer.errors import SealiftError
from installer.look.foothold import refuse_unsafe
from installer.places import Places
from installer.program.hostprogram import ensure_on_host, own_program
from installer.site.site import DEFAULT_SITE_FILE, DEFAULT_STATE_DIR, load_site
from installer.talk import Table, Talk, run_cli
from installer.verbs.looking import looks
from installer.verbs.mediakey import media_key
from installer.verbs.order import in_order
from installer.verbs.sittings import duration, sittings

_ANYWHERE: Final = ("--state-dir", "--site")
# Paths are declared with `readable=False`: what may not be read is a matter of rights (7), not of the command line (2).
_FLAGS: Final = ("--json", "--quiet", "--help", "--version")

app = typer.Typer(
    cls=in_order(
        "trust", "site", "media-key", "verify", "install", "stage", "switch", "unstage", "confirm", "rollback"
    ),
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
trust = typer.Typer(no_args_is_help=True, help="whom this host trusts")
site = typer.Typer(no_args_is_help=True, help="what this site decides by itself")
app.add_typer(trust, name="trust")
app.add_typer(site, name="site")
app.add_typer(media_key, name="media-key")
app.registered_commands += [*sittings.registered_commands, *looks.registered_commands]
_VERBS: Final = frozenset(
    {"install", "verify", "status", "history", "rollback", "remove", "trust", "site", "doctor"}
    | {"stage", "switch", "unstage", "confirm", "expire", "logs", "prune", "unlock", "receipt", "media-key"}
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    os.umask(os.umask(0o077) | 0o022)  # nothing that we make is for everybody to write to
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run_cli(app, _with_verb(arguments), program=_program_name(), anywhere=_ANYWHERE, last=argv is None)


def _program_name() -> str:
    name = Path(sys.argv[0]).stem
    return name if name in ("install", "sealift") else "sealift"


def _with_verb(arguments: list[str]) -> list[str]:
    """On the media, options alone mean ``install``."""
    if "SEALIFT_MEDIA" not in os.environ or {"--help", "--version"} & set(arguments):
        return arguments
    words = iter(arguments)
    for word in words:
        if word in _ANYWHERE:
            next(words, None)
        elif word in _VERBS:
            return arguments
        elif not word.startswith("-"):
            break
    return ["install", *arguments]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"sealift {__version__}")
        raise typer.Exit


@app.callback()
def places(
    state_dir: Annotated[
        Path,
        typer.Option(
            envvar="SEALIFT_STATE_DIR", help="where this host keeps its state", show_default=True, readable=False
        ),
    ] = DEFAULT_STATE_DIR,
    site_file: Annotated[
        Path | None,
        typer.Option(
            "--site", envvar="SEALIFT_SITE", help="the site file (default: /etc/sealift/site.yaml)", readable=False
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print the version and leave")
    ] = False,
) -> None:
    """Verify a release bundle and bring it into service. --json and --quiet work with every verb."""
    if state_dir.exists() and not os.access(state_dir, os.R_OK | os.X_OK):
        raise SealiftError(
            "permission",
            f"{state_dir} belongs to somebody else",
            hint="run this as root, or name a folder of your own with --state-dir",
        )
    refuse_unsafe(state_dir)
    Places.state_dir = state_dir.absolute()
    fallback = state_dir / "site.yaml"
    Places.site_file = site_file or (
        fallback if not DEFAULT_SITE_FILE.exists() and fallback.exists() else DEFAULT_SITE_FILE
    )


@app.command()
def install(
    context: typer.Context,
    path: Annotated[Path | None, typer.Argument(help="the bundle or the media folder", readable=False)] = None,
    bundle: Annotated[Path | None, typer.Option(help="the same, as an option", readable=False)] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--quick", help="check every byte before anything is touched, or only what is used")
    ] = True,
    strategy: Annotated[
        str | None, typer.Option(help="blue-green or rolling (else the site file or the release decides)")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and change nothing")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask, even on a terminal")] = False,
    permit: Annotated[
        Path | None, typer.Option(help="a signed leave to go to an older release, used once", readable=False)
    ] = None,
    confirm_within: Annotated[
        str | None, typer.Option(help="such as 30m: the old release comes back by itself, unless: sealift confirm")
    ] = None,
) -> None:
    """Bring the release of a bundle into service (without a path: the one beside this program)."""
    from installer.journey import install as go
    from installer.journey import show
    from installer.upgrade import Request

    talk: Talk = context.obj
    media = path or bundle or _beside()
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
        within=duration(confirm_within),
    )
    approve = (
        (lambda question: True) if yes or not sys.stdin.isatty() else (lambda question: talk.confirm(question, "--yes"))
    )
    show(talk, go(request, talk, approve))


@app.command()
def verify(
    context: typer.Context, path: Annotated[Path, typer.Argument(help="the bundle or the media folder", readable=False)]
) -> None:
    """Check every byte and every signature against this host's trust. Changes nothing."""
    from installer.verification import verify as check

    check(path, Places.state_dir, context.obj)


@app.command()
def status(context: typer.Context) -> None:
    """What runs here, since when, healthy or not."""
    from installer.look.status import observe_status, trust_status
    from installer.report import show_status

    products, found = observe_status(Places.state_dir, Places.site_file)
    show_status(context.obj, products, trust_status(Places.state_dir), own_program(), found)


@app.command()
def doctor(context: typer.Context) -> None:
    """What would stop an upgrade, and what will before long. Ends as the upgrade would; changes nothing."""
    from installer.look.doctor import Visit, examine, first_stop
    from installer.report import show_doctor

    found = examine(Visit(Places.state_dir, Places.site_file, context.obj))
    show_doctor(context.obj, found, first_stop(found))


@app.command()
def history(
    context: typer.Context,
    steps: Annotated[bool, typer.Option("--steps", help="every step too, when it began and how long it took")] = False,
) -> None:
    """What was done here, when, by whom, and how it ended."""
    from installer.report import show_history
    from installer.state.chronicle import chronicle
    from installer.state.journal import Journal

    journal = Journal(Places.state_dir)
    show_history(context.obj, journal.runs(), journal.programs(), chronicle(journal.entries()), long=steps)


@app.command()
def rollback(
    context: typer.Context,
    to: Annotated[str | None, typer.Option(help="a version that ran here (default: the one before)")] = None,
    product: Annotated[str | None, typer.Option(help="which product, where there are several")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and change nothing")] = False,
) -> None:
    """Back to a release that this host has run and kept: whole, without the media."""
    from installer.report import show_outcome
    from installer.upgrade import rollback as roll_back

    talk: Talk = context.obj
    show_outcome(talk, roll_back(Places.state_dir, Places.site_file, talk, to=to, product=product, dry_run=dry_run))


@app.command()
def remove(
    context: typer.Context,
    product: Annotated[str | None, typer.Option(help="which product, where there are several")] = None,
    volumes: Annotated[bool, typer.Option("--volumes", help="its data too: they are gone for good")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Take a product off the host. The last one takes front door and registry with it."""
    from installer.removal import remove as take_off

    talk: Talk = context.obj
    if not yes and not talk.confirm("take the product off this host?", "--yes"):
        raise SealiftError("interrupted", "nothing was removed", hint="answer y, or use --yes")
    removed = take_off(Places.state_dir, Places.site_file, talk, product, volumes=volumes)
    data = "with its data" if volumes else "its data volumes are still there"
    talk.result(f"removed {removed}; {data}", {"removed": removed, "volumes": volumes})


@trust.command("init")
def trust_init(
    context: typer.Context,
    root: Annotated[Path, typer.Argument(help="root.json, as the vendor gave it to you", readable=False)],
    fingerprint: Annotated[str, typer.Option(help="its fingerprint, which came by another way than the media")],
) -> None:
    """Tell this host, once, whom to trust."""
    from installer.trust.store import provision

    talk: Talk = context.obj
    ensure_on_host()
    policy = provision(Places.state_dir, root, fingerprint)
    line = f"this host now trusts {root} (root version {policy.root_version}, for {policy.product or 'any product'})"
    talk.result(line, {"product": policy.product, "version": policy.root_version})


@trust.command("show")
def trust_show(context: typer.Context) -> None:
    """Whom this host trusts, for what, and until when."""
    from installer.look.status import trust_status
    from installer.trust import view as trustview
    from installer.trust.sitekey import site_fingerprint
    from installer.trust.store import first_fingerprint, load_policy

    policy = load_policy(Places.state_dir)
    talk: Talk = context.obj
    status = trust_status(Places.state_dir)
    here, first = str(site_fingerprint(Places.state_dir)), first_fingerprint(Places.state_dir)
    rows = [*trustview.rows(policy), ("this site", "", f"{here} (tell it to the vendor: permits name it)")]
    value: dict[str, object] = {
        **trustview.facts(policy),
        "product": policy.product,
        "site": here,
        "first": first,
        "days_left": status.days_left if status else None,
        "roles": {
            role: {"threshold": rule.threshold, "keys": [str(who.fingerprint) for who in rule.signers]}
            for role, rule in trustview.roles_of(policy).items()
        },
    }
    title = f"{policy.product or 'any product'}: root version {policy.root_version}, epoch {policy.epoch}"
    until = f", expires on {policy.expires:%Y-%m-%d}" if policy.expires else ""
    talk.result(Table(("for", "needs", "who"), tuple(rows), title + until), value)
    for finding in status.findings if status else ():
        talk.warn(f"{finding.message} ({finding.hint})")


@trust.command("update")
def trust_update(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="roots, folders of them, media", readable=False)],
) -> None:
    """Walk to a newer root: each version must be signed by the holders of the one before it."""
    from installer.state.lock import locked
    from installer.trust import view as trustview
    from installer.trust.mediakey import media_keys
    from installer.trust.rootmedia import read_roots
    from installer.trust.store import load_policy, update

    talk: Talk = context.obj
    before = load_policy(Places.state_dir)
    roots = read_roots(paths, lambda: media_keys(Places.state_dir))
    with locked(Places.state_dir, "trust update"):
        after = update(Places.state_dir, roots)
    value = {
        "result": "unchanged" if after.root_version == before.root_version else "updated",
        "previous": before.root_version,
        "product": after.product,
        **trustview.facts(after),
    }
    newest = max(roots)
    line = f"the root of trust is version {after.root_version} now (it was {before.root_version}), epoch {after.epoch}"
    nothing = f"nothing newer: this host has root version {before.root_version}, and the newest here is {newest}"
    talk.result(nothing if value["result"] == "unchanged" else line, value)


@site.command("init")
def site_init(context: typer.Context) -> None:
    """Write a complete, commented site file, unless there is one."""
    talk: Talk = context.obj
    place = Places.site_file
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("x", encoding="utf-8") as file:
            file.write(resources.files("installer.site.site").joinpath("site.example.yaml").read_text(encoding="utf-8"))
    except FileExistsError as error:
        raise SealiftError(
            "output-exists", f"{place} is there already", hint="edit it; sealift site check reads it"
        ) from error
    talk.result(f"wrote {place}: edit it, then run: sealift site check", {"site": str(place)})


@site.command("check")
def site_check(context: typer.Context) -> None:
    """Is the site file right?"""
    talk: Talk = context.obj
    found = load_site(Places.site_file)
    talk.result(f"{Places.site_file} is a valid site file for {found.site}", {"valid": True, "site": found.site})


def _beside() -> Path:
    media = os.environ.get("SEALIFT_MEDIA")
    if media is None:
        raise SealiftError("bad-option", "which bundle?", hint="name it: sealift install /media/usb")
    return Path(media)
