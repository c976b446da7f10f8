"""Options that several verbs of ``bundle`` share: who signs without a key, whom to trust, keys of encrypted media."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from installer.errors import SealiftError
from installer.talk import Talk

if TYPE_CHECKING:  # not for `--help`
    from bundler.signing.keyless import Asked
    from installer.bundle.age import MediaKey
    from installer.bundle.encrypted import Unlock
    from installer.bundle.trust import Identity, TrustPolicy

_LONGEST_NAME = 200
"""Longer ones are tokens, not names of files."""

IdentityToken = Annotated[
    str | None,
    typer.Option(
        "--identity-token",
        metavar="TOKEN|FILE",
        help="sign as the identity in this OIDC token; better in a file or SEALIFT_IDENTITY_TOKEN: others see commands",
    ),
]
IdentityTokenFile = Annotated[
    Path | None, typer.Option("--identity-token-file", metavar="FILE", help="a file that holds the token")
]
SigstoreConfig = Annotated[
    Path | None,
    typer.Option(
        "--sigstore-config",
        metavar="JSON",
        help="client-trust-config.json of the instance; else SEALIFT_SIGSTORE_CONFIG, else the manifest's",
    ),
]
MediaKeys = Annotated[
    list[Path] | None,
    typer.Option("--identity", metavar="FILE", help="opens encrypted media: a file of keys as age-keygen writes it"),
]
ReleaseIdentity = Annotated[
    list[str] | None,
    typer.Option("--release-identity", metavar="IDENTITY@@ISSUER", help="who may sign releases without a key"),
]
InstallerIdentity = Annotated[
    list[str] | None,
    typer.Option("--installer-identity", metavar="IDENTITY@@ISSUER", help="who may sign the program without a key"),
]
SigstoreTrustedRoot = Annotated[
    Path | None,
    typer.Option(
        "--sigstore-trusted-root", metavar="JSON", help="trusted_root.json of the instance that vouches for identities"
    ),
]


def keyless(talk: Talk, token: str | None, file: Path | None, config: Path | None) -> Asked:
    """What these options say. Where ``--identity-token`` names a file, that file holds the token.

    Raises ``bad-option`` (2) for two tokens.
    """
    from bundler.signing.keyless import Asked

    if token and len(token) < _LONGEST_NAME and Path(token).is_file():
        file, token = file or Path(token), None
    if token and file:
        raise SealiftError("bad-option", "two tokens for one signature", hint="--identity-token-file FILE alone")
    if token:
        talk.warn("every user of this machine can read a token on a command line: --identity-token-file FILE")
    return Asked(token, file, config)


def identities(values: Iterable[str] | None) -> list[Identity]:
    """Identities as an option spells them, ``IDENTITY@@ISSUER``: neither a mail address nor a URL holds two of them.

    Raises ``bad-option`` (2).
    """
    from bundler.signing.sign import file_stem
    from installer.bundle.trust import Identity

    found = []
    for value in values or ():
        identity, _, issuer = value.rpartition("@@")
        if not identity or not issuer:
            raise SealiftError(
                "bad-option",
                f"not an identity with its issuer: {value}",
                hint="such as pipeline@vendor.example@@https://login.vendor.example: both must match exactly",
            )
        found.append(Identity(identity, issuer, file_stem(identity)))
    return found


def policy_of(trust_root: Path | None, key: Path | None) -> TrustPolicy:
    """Whom to trust, as ``--trust`` or ``--key`` says. Raises ``bad-option`` (2) unless it is one of them."""
    from installer.bundle.trust import TrustPolicy

    if trust_root is not None and key is None:
        return TrustPolicy.from_root(_read(trust_root), str(trust_root))
    if key is not None and trust_root is None:
        return TrustPolicy.from_key(_read(key), key.stem)
    raise SealiftError("bad-option", "whom to trust must be said, once", hint="--trust ROOT.JSON, or --key PUB")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SealiftError("input-missing", f"cannot read {path}: {error.strerror}", hint="check the path") from error


def unlock_by(files: Iterable[Path] | None) -> Unlock:
    """What brings the media keys in ``files``, when encrypted media ask for them."""

    def unlock() -> list[MediaKey]:
        from installer.trust.mediakey import read_keys

        return [key for file in files or () for key in read_keys(file)]

    return unlock
