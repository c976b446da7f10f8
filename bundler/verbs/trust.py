"""The verbs ``bundle trust …``: parse, call, print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bundler.signing.keyless import read_trusted_root
from bundler.signing.sign import KeySigner, load_keys, passphrase_from
from bundler.trust import ceremony, trust
from bundler.trust.ceremony import Change, Rotation, Standing
from bundler.verbs.options import InstallerIdentity, ReleaseIdentity, SigstoreTrustedRoot, identities
from installer.bundle.rootfile import version_of
from installer.bundle.trust import ANY_PRODUCT, Identity, PublicKey, Requirement, Role, TrustPolicy, read_public_key
from installer.durable import write_durably
from installer.errors import SealiftError
from installer.talk import Table, Talk

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The root of trust: who may sign what.")
_PUBLIC = b"-----BEGIN PUBLIC KEY-----"

RootKeys = Annotated[
    list[Path] | None,
    typer.Option("--root-key", metavar="KEY", help="private: signs now; public: its holder signs later, by trust sign"),
]
Out = Annotated[Path, typer.Option("--out", metavar="ROOT.JSON")]
Days = Annotated[int, typer.Option("--expires-days", min=1, max=36500)]
Expired = Annotated[str | None, typer.Option("--expired", metavar="warn|refuse", help="what an expired root means")]
Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="NAME=[N:]PUB,…[@CHANNEL,…]",
        help="what releases need besides the threshold, such as customer=hospital.pub or people=2:a.pub,b.pub@stable",
    ),
]
After = Annotated[
    Path | None, typer.Option("--after", metavar="ROOT.JSON", help="the root before it; else one beside it")
]
PassphraseFile = Annotated[Path | None, typer.Option("--passphrase-file", help="else SEALIFT_PASSPHRASE, else asked")]


@app.command("init")
def init(
    context: typer.Context,
    out: Out,
    root_key: RootKeys = None,
    release_key: Annotated[
        list[Path] | None, typer.Option("--release-key", metavar="PUB", help="public; may sign releases")
    ] = None,
    root_threshold: Annotated[int, typer.Option("--root-threshold")] = 1,
    threshold: Annotated[int, typer.Option("--threshold", help="signatures that a release needs")] = 1,
    installer_key: Annotated[list[Path] | None, typer.Option("--installer-key", metavar="PUB")] = None,
    permit_key: Annotated[list[Path] | None, typer.Option("--permit-key", metavar="PUB")] = None,
    product: Annotated[str, typer.Option("--product", help="the one product it is for, or *")] = ANY_PRODUCT,
    expires_days: Days = trust.DEFAULT_DAYS,
    require: Require = None,
    expired: Expired = None,
    passphrase_file: PassphraseFile = None,
    release_identity: ReleaseIdentity = None,
    installer_identity: InstallerIdentity = None,
    sigstore_trusted_root: SigstoreTrustedRoot = None,
) -> None:
    """Make root.json: who may sign releases, the installer and permits. Prints its fingerprint once all have signed."""
    talk: Talk = context.obj
    signers, others = _holders(root_key or [], passphrase_file, talk)
    plan = trust.RootPlan(
        release=[*_public(release_key), *identities(release_identity)],
        threshold=threshold,
        root_threshold=root_threshold,
        installer=[*_public(installer_key), *identities(installer_identity)],
        permit=_public(permit_key),
        product=product,
        requirements=_requirements(require),
        expired=_expired(expired) or "warn",
        keyless=read_trusted_root(sigstore_trusted_root) if sigstore_trusted_root is not None else None,
        root=[*(PublicKey(one.spki, one.name) for one in signers), *others],
    )
    _refuse_unvouched(plan.keyless, [*identities(release_identity), *identities(installer_identity)])
    draft = trust.draft_root(plan, datetime.now(UTC) + timedelta(days=expires_days))
    raw = ceremony.add_signatures(ceremony.standing(draft, out.name), signers)
    here = ceremony.standing(raw, out.name)
    trust.save_root(out, raw)
    _show(here, out, talk)


@app.command("rotate")
def rotate(
    context: typer.Context,
    root: Annotated[Path, typer.Argument(metavar="ROOT.JSON", help="the newest one, complete")],
    out: Out,
    root_key: RootKeys = None,
    add_root_key: Annotated[list[Path] | None, typer.Option("--add-root-key", metavar="PUB")] = None,
    remove_root_key: Annotated[list[str] | None, typer.Option("--remove-root-key", metavar="NAME")] = None,
    root_threshold: Annotated[int | None, typer.Option("--root-threshold", min=1)] = None,
    add_release_key: Annotated[list[Path] | None, typer.Option("--add-release-key", metavar="PUB")] = None,
    remove_release_key: Annotated[list[str] | None, typer.Option("--remove-release-key", metavar="NAME")] = None,
    threshold: Annotated[int | None, typer.Option("--threshold", min=1)] = None,
    add_installer_key: Annotated[list[Path] | None, typer.Option("--add-installer-key", metavar="PUB")] = None,
    remove_installer_key: Annotated[list[str] | None, typer.Option("--remove-installer-key", metavar="NAME")] = None,
    installer_threshold: Annotated[int | None, typer.Option("--installer-threshold", min=1)] = None,
    add_permit_key: Annotated[list[Path] | None, typer.Option("--add-permit-key", metavar="PUB")] = None,
    remove_permit_key: Annotated[list[str] | None, typer.Option("--remove-permit-key", metavar="NAME")] = None,
    permit_threshold: Annotated[int | None, typer.Option("--permit-threshold", min=1)] = None,
    revoke: Annotated[
        list[str] | None,
        typer.Option("--revoke", metavar="NAME", help="take a key (name or fingerprint) out of everything"),
    ] = None,
    require: Require = None,
    drop_requirement: Annotated[list[str] | None, typer.Option("--drop-requirement", metavar="NAME")] = None,
    epoch: Annotated[str | None, typer.Option("--epoch", metavar="+1", help="undo a fast-forward")] = None,
    expires_days: Days = trust.DEFAULT_DAYS,
    expired: Expired = None,
    release_identity: ReleaseIdentity = None,
    installer_identity: InstallerIdentity = None,
    sigstore_trusted_root: SigstoreTrustedRoot = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make the root that follows ROOT.JSON. Those who hold the old one sign it, and those who hold the new one."""
    talk: Talk = context.obj
    old = _read(root)
    policy = TrustPolicy.from_root(old, str(root))
    signers, others = _holders(root_key or [], passphrase_file, talk)
    rotation = Rotation(
        root=Change([*_public(add_root_key), *others], remove_root_key or (), root_threshold or 0),
        release=Change(
            [*_public(add_release_key), *identities(release_identity)], remove_release_key or (), threshold or 0
        ),
        installer=Change(
            [*_public(add_installer_key), *identities(installer_identity)],
            remove_installer_key or (),
            installer_threshold or 0,
        ),
        permit=Change(_public(add_permit_key), remove_permit_key or (), permit_threshold or 0),
        revoke=revoke or (),
        require=_requirements(require),
        drop=drop_requirement or (),
        epoch=_epoch(epoch, policy.epoch),
        expired=_expired(expired),
        keyless=read_trusted_root(sigstore_trusted_root) if sigstore_trusted_root is not None else None,
    )
    vouching = policy.keyless if rotation.keyless is None else rotation.keyless
    _refuse_unvouched(vouching, [*identities(release_identity), *identities(installer_identity)])
    draft = ceremony.rotated(policy, rotation, datetime.now(UTC) + timedelta(days=expires_days))
    raw = ceremony.add_signatures(ceremony.standing(draft, out.name, old, str(root)), signers)
    here = ceremony.standing(raw, out.name, old, str(root))
    trust.save_root(out, raw)
    _show(here, out, talk)


@app.command("sign")
def sign(
    context: typer.Context,
    root: Annotated[Path, typer.Argument(metavar="ROOT.JSON")],
    root_key: Annotated[list[Path], typer.Option("--root-key", metavar="KEY", help="private; yours")],
    after: After = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Add your signature to a root that others have drafted. Shows what it says before your passphrase is asked for."""
    talk: Talk = context.obj
    before, origin = _before(root, after)
    here = ceremony.standing(_read(root), root.name, before, origin)
    if here.complete and (before is not None or here.policy.root_version == 1):
        talk.say("nothing to do: enough have signed, and one more signature would change its fingerprint")
        _show(here, root, talk)
        return
    for row in here.rows():
        talk.say("  ".join(filter(None, row)))
    signers = load_keys(root_key, passphrase_from(passphrase_file, talk.ask_secret))
    raw = ceremony.add_signatures(here, signers)
    write_durably(root, raw, 0o644)
    _show(ceremony.standing(raw, root.name, before, origin), root, talk)


@app.command("show")
def show(
    context: typer.Context,
    root: Annotated[Path, typer.Argument(metavar="ROOT.JSON")],
    after: After = None,
) -> None:
    """Show whom a root trusts, who has signed it, who must still, and its fingerprint."""
    before, origin = _before(root, after)
    _show(ceremony.standing(_read(root), root.name, before, origin), root, context.obj)


def _show(here: Standing, path: Path, talk: Talk) -> None:
    talk.result(Table(("", "", ""), tuple(here.rows()), str(path)), {"root": str(path), **here.as_json()})


def _holders(
    paths: Iterable[Path], passphrase_file: Path | None, talk: Talk
) -> tuple[tuple[KeySigner, ...], list[PublicKey]]:
    """Keys that sign now, and public keys whose holders sign later."""
    listed = list(paths)
    public = [path for path in listed if _PUBLIC in _read(path)]
    private = [path for path in listed if path not in public]
    signers = load_keys(private, passphrase_from(passphrase_file, talk.ask_secret)) if private else ()
    return tuple(signers), _public(public)


def _before(root: Path, after: Path | None) -> tuple[bytes | None, str]:
    """The root before this one: as it was named, or where it lies beside it."""
    if after is not None:
        return _read(after), str(after)
    version = version_of(_read(root), root.name)
    for name in (f"{version - 1}.root.json", "root.json"):
        place = root.with_name(name)
        if version > 1 and place.is_file() and version_of(_read(place), name) == version - 1:
            return _read(place), str(place)
    return None, ""


def _requirements(values: Iterable[str] | None) -> list[Requirement]:
    """Requirements as the option spells them. Raises ``bad-option`` (2)."""
    found = []
    for value in values or ():
        name, _, rest = value.partition("=")
        who, _, channels = rest.partition("@")
        count, colon, keys = who.rpartition(":")
        if not name or not keys or (colon and not count.isdecimal()):
            raise SealiftError(
                "bad-option",
                f"not a requirement: {value}",
                hint="such as customer=hospital.pub, or people=2:ann.pub,ben.pub@stable",
            )
        rule = Role(tuple(_public([Path(path) for path in keys.split(",")])), int(count or 1))
        found.append(Requirement(name, rule, channels=frozenset(channels.split(",")) if channels else None))
    return found


def _refuse_unvouched(keyless: Mapping[str, Any] | None, named: Sequence[Identity]) -> None:
    if named and keyless is None:
        raise SealiftError(
            "root-invalid",
            f"{named[0].identity} could never sign: this root names no Sigstore instance that vouches for identities",
            hint="--sigstore-trusted-root FILE, as the instance's operators give it",
        )


def _epoch(asked: str | None, now: int) -> int:
    if asked is None:
        return 0
    digits = asked.removeprefix("+")
    wanted = int(digits) + (now if asked.startswith("+") else 0) if digits.isdecimal() and len(digits) < 16 else 0
    if wanted <= now:
        raise SealiftError("bad-option", f"the epoch is {now}; {asked} is none after it", hint="say --epoch +1")
    return wanted


def _expired(asked: str | None) -> Literal["warn", "refuse"] | None:
    if asked not in (None, "warn", "refuse"):
        raise SealiftError("bad-option", f"an expired root cannot {asked}", hint="--expired warn, or --expired refuse")
    return "refuse" if asked == "refuse" else "warn" if asked == "warn" else None


def _public(paths: Iterable[Path] | None) -> list[PublicKey]:
    return [PublicKey(read_public_key(_read(path), str(path)), path.stem) for path in paths or ()]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SealiftError("input-missing", f"cannot read {path}: {error.strerror}", hint="check the path") from error
