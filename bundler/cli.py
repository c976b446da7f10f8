"""The command ``bundle``: parse, call, print. What it can do lives in the other modules."""

from __future__ import annotations

import sys
from functools import partial
from json import dumps as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bundler.cache import wide_cache
from bundler.verbs import checking
from bundler.verbs import media as media_verbs
from bundler.verbs import permit as permit_verb
from bundler.verbs import registry as registry_verbs
from bundler.verbs import site as site_verbs
from bundler.verbs.groups import trust_app
from bundler.verbs.media import PartSize
from bundler.verbs.options import (
    IdentityToken,
    IdentityTokenFile,
    SigstoreConfig,
    keyless,
)
from installer.errors import SealiftError
from installer.heap import give_back
from installer.talk import Table, Talk, run_cli, size
from installer.verbs.order import in_order

if TYPE_CHECKING:  # what only some verbs need is imported there: `--help` and `inspect` answer at once
    from bundler.build import Request
    from bundler.check import Check
    from bundler.signing.keyfile import Passphrase

app = typer.Typer(
    cls=in_order("init", "lint", "keygen", "trust", "build", "inspect", "verify", "sign", "pack", "parts", "repair"),
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Make one signed release bundle and the media folder around it.",
)
app.add_typer(trust_app, name="trust")
for verb in (
    *(checking.inspect, checking.verify, permit_verb.permit, media_verbs.pack, media_verbs.parts, media_verbs.repair),
    *(site_verbs.kit, site_verbs.receipt, registry_verbs.push, registry_verbs.pull),
):
    app.command()(verb)

Manifest = Annotated[Path | None, typer.Option("--manifest", help="release.yaml, where there are several products")]
Keys = Annotated[list[Path] | None, typer.Option("--key", help="private key; else SEALIFT_KEY, else the manifest's")]
PassphraseFile = Annotated[Path | None, typer.Option("--passphrase-file", help="else SEALIFT_PASSPHRASE, else asked")]
PlatformOption = Annotated[str | None, typer.Option("--platform", metavar="OS/ARCH")]


def main(argv: list[str] | None = None) -> int:
    """Run ``bundle`` and return its exit code; the console script hands it to ``sys.exit``."""
    give_back()
    return run_cli(app, argv, program="bundle", last=argv is None)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version as distribution_version

        print(f"sealift {distribution_version('sealift')}")
        raise typer.Exit


@app.callback()
def _top(
    json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout; also after the verb")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="only errors on stderr; also after the verb")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """``run_cli`` has taken --json and --quiet already; they stand here for --help."""


@app.command()
def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path(),
    from_compose: Annotated[Path | None, typer.Option("--from-compose", metavar="FILE")] = None,
    product: Annotated[
        str | None, typer.Option("--product", help="its name; else from the compose file or DIR")
    ] = None,
) -> None:
    """Write manifest, templates and changelog for a product below DIR."""
    from bundler.manifest import scaffold

    talk: Talk = context.obj
    made = scaffold.init(folder, from_compose, product)
    for line in made.warnings:
        talk.warn(line)
    value: dict[str, object] = {
        "product": made.product,
        "version": made.version,
        "manifest": str(made.manifest),
        "files": [str(path) for path in made.files],
        "site": made.site,
        "warnings": list(made.warnings),
    }
    talk.result("\n".join(made.lines()), value)


@app.command()
def lint(
    context: typer.Context,
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="else the changelog's newest")] = None,
    manifest: Manifest = None,
    schema: Annotated[bool, typer.Option("--schema", help="print the manifest's JSON Schema, for editors")] = False,
) -> None:
    """Refuse everything that build would refuse, without building."""
    from bundler.manifest.lint import lint as lint_manifest
    from bundler.manifest.recipe import Recipe

    if schema:
        described = Recipe.model_json_schema(by_alias=True)
        context.obj.result(json_text(described, indent=2), described)
        return
    found = lint_manifest(Path(), manifest, version, context.obj)
    what = f"{found.recipe.product} {found.version}"
    value: dict[str, object] = {"valid": True, "product": found.recipe.product, "version": found.version.text}
    context.obj.result(f"{what}: nothing to refuse", value)


@app.command()
def keygen(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", metavar="DIR")],
    name: Annotated[str, typer.Option("--name")] = "release",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a signing key: NAME.key (encrypted PKCS#8) and NAME.pub (PEM)."""
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise SealiftError("bad-option", f"not a name for a key: {name}", hint="letters, digits, dot, dash, underscore")
    from bundler.signing.sign import generate, passphrase_from

    word = passphrase_from(passphrase_file, partial(_ask_twice, context.obj))(out / f"{name}.key")
    key, private, public = generate(out, name, word)
    rows = (("private key", f"{private} (keep it away from the media)"), ("public key", str(public)))
    value: dict[str, object] = {"key": str(private), "public": str(public), "fingerprint": str(key.fingerprint)}
    context.obj.result(Table(("", ""), (*rows, ("fingerprint", str(key.fingerprint)))), value)


@app.command()
def build(
    context: typer.Context,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="such as v2.1.0")],
    manifest: Manifest = None,
    key: Keys = None,
    passphrase_file: PassphraseFile = None,
    platform: PlatformOption = None,
    installer: Annotated[Path | None, typer.Option("--installer", metavar="FILE", help="else it is built")] = None,
    output: Annotated[Path, typer.Option("--output", metavar="DIR")] = Path("dist"),
    force: Annotated[bool, typer.Option("--force", help="replace another release of the same version")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would go in; sign and write nothing")] = False,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="BUNDLE", help="build it again, say what differs; write nothing")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, max=16, help="threads that compress; else one a core, 4 at most")
    ] = None,
    reuse: Annotated[
        list[Path] | None, typer.Option("--reuse", metavar="BUNDLE", help="take blobs from it, as from those in DIR")
    ] = None,
    part_size: PartSize = None,
    since: media_verbs.Since = None,
    store: media_verbs.Store = None,
    site_key: media_verbs.SiteKey = None,
    identity_token: IdentityToken = None,
    identity_token_file: IdentityTokenFile = None,
    sigstore_config: SigstoreConfig = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(
            "--root", metavar="FILE", help="roots of trust to carry, or a folder of them; else the manifest's"
        ),
    ] = None,
) -> None:
    """Make the signed bundle and its media folder, DIR/PRODUCT-vVERSION/."""
    from bundler import build as building
    from bundler import check as checking
    from bundler.writing.parts import parse_size

    talk: Talk = context.obj
    asked = keyless(talk, identity_token, identity_token_file, sigstore_config)
    request = building.Request(
        version,
        Path(),
        manifest,
        tuple(key or ()),
        platform,
        installer,
        output,
        force,
        jobs,
        tuple(reuse or ()),
        asked,
        tuple(root or ()),
        parse_size(part_size) if part_size else None,
    )
    if (dry_run, check is not None, bool(since)).count(True) > 1:
        raise SealiftError("bad-option", "--dry-run, --check, --since differ", hint="ask one at a time")
    if check is not None:
        _show_check(checking.check(request, check, talk), talk)
        return
    if dry_run:
        _show_plan(request, talk)
        return
    if since:
        from bundler.media.hotfix import build_since

        held = media_verbs.held_by(since, store, site_key, talk)
        made = build_since(request, held, _passphrase(passphrase_file, talk), talk)
        talk.result(made.table(), made.as_json())
        return
    built = building.build(request, _passphrase(passphrase_file, talk), talk)
    talk.result(built.table(), built.as_json())


@app.command()
def sign(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a bundle, or the media folder")],
    key: Annotated[Path | None, typer.Option("--key", metavar="KEY", help="private key; else SEALIFT_KEY")] = None,
    name: Annotated[str | None, typer.Option("--name", help="what the signature is called; else as the key")] = None,
    passphrase_file: PassphraseFile = None,
    identity_token: IdentityToken = None,
    identity_token_file: IdentityTokenFile = None,
    sigstore_config: SigstoreConfig = None,
) -> None:
    """Add one more signature, to a media folder or a permit. Shows what is signed first, and leaves it as it is."""
    from bundler.signing.countersign import countersign, read_subject
    from bundler.signing.signers import open_signer
    from bundler.trust.permit import is_permit

    talk: Talk = context.obj
    passphrase = _passphrase(passphrase_file, talk)
    if is_permit(file):
        permit_verb.sign(talk, file, key, passphrase)
        return
    subject = read_subject(file)
    for line in subject.lines():
        talk.say(line)
    signer = open_signer(key, keyless(talk, identity_token, identity_token_file, sigstore_config), passphrase)
    made = countersign(subject, signer, name)
    talk.result(made.table(subject), made.as_json(subject))


@app.command()
def program(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--output", metavar="FILE")],
    platform: PlatformOption = None,
    key: Annotated[list[Path] | None, typer.Option("--key", help="private key of the installer role")] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Build the site program alone: the one file that goes onto the media as `install`; sign it with --key."""
    from bundler.program import build_program
    from bundler.program.signed import sign_program
    from bundler.signing.sign import load_keys

    talk: Talk = context.obj
    keys = load_keys(key, _passphrase(passphrase_file, talk)) if key else []
    made = build_program(output, platform=platform or "linux/amd64", cache=wide_cache())
    signatures = [str(path) for path in sign_program(made, keys)]
    value: dict[str, object] = {"program": str(made), "size": made.stat().st_size, "signatures": signatures}
    talk.result("\n".join((f"{made}  {size(made.stat().st_size)}", *signatures)), value)


def _show_plan(request: Request, talk: Talk) -> None:
    from bundler.build import plan
    from bundler.verification import contents

    assembly = plan(request, talk)
    parts = [(name, member.size) for name, member in assembly.release.members()]
    value: dict[str, object] = {
        "dry_run": True,
        "product": assembly.release.product,
        "version": assembly.release.version,
        "size": assembly.size,
        "members": [{"name": name, "size": count} for name, count in parts],
    }
    talk.result(contents(assembly.release, parts), value)


def _show_check(found: Check, talk: Talk) -> None:
    same = f"{found.bundle.name} is what these sources give, byte for byte; its signatures are not judged here"
    talk.result(same if found.reproducible else "\n".join(found.differences), found.as_json())
    if not found.reproducible:
        raise found.refusal()


def _ask_twice(talk: Talk, question: str, option: str) -> str:
    """A new passphrase: what is mistyped once could never be typed again."""
    word = talk.ask_secret(question, option)
    if talk.ask_secret("once more", option) != word:
        raise SealiftError("passphrase-wrong", "that was not the same passphrase twice", hint="run it again")
    return word


def _passphrase(file: Path | None, talk: Talk) -> Passphrase:
    from bundler.signing.sign import passphrase_from

    return passphrase_from(file, talk.ask_secret)


if __name__ == "__main__":
    sys.exit(main())
