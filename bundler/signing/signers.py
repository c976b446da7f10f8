"""Who signs a release: keys and an identity, from the options, else the environment, else the manifest."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.signing.keyless import TOKEN_VARIABLE, Asked, open_keyless
from bundler.signing.sign import Passphrase, Signer, load_key, load_keys
from installer.errors import SealiftError

if TYPE_CHECKING:  # what reads manifests is not needed to sign beside a bundle
    from bundler.manifest.recipe import Sign


def open_signers(
    keys: Sequence[Path],
    keyless: Asked,
    manifest: Sign,
    base: Path,
    passphrase: Passphrase,
    environment: Mapping[str, str] = os.environ,
) -> tuple[Signer, ...]:
    """All who sign a release, keys first; ``base`` is the manifest's folder. An identity signs where there is a token.

    Raises ``no-signing-key``, ``identity-token-missing`` (2), what :func:`load_keys` and :func:`open_keyless` raise.
    """
    named = list(keys) or _from(environment)
    token = keyless.read_token(environment)
    if token is None and manifest.keyless is not None and not named:
        raise SealiftError(
            "identity-token-missing",
            "the manifest says to sign as an identity, and there is no token for one",
            hint=f"--identity-token-file FILE or {TOKEN_VARIABLE}; to sign by a key alone: --key FILE",
        )
    paths = named or [base / path for path in manifest.keys]
    if token is None:
        return load_keys(paths, passphrase)
    own = base / manifest.keyless.config if manifest.keyless is not None else None
    identity = open_keyless(keyless.config_path(environment) or own, token)
    by_key = load_keys(paths, passphrase) if paths else ()
    if identity.name in {key.name for key in by_key}:
        identity.name += "-keyless"
    return (*by_key, identity)


def open_signer(
    key: Path | None, keyless: Asked, passphrase: Passphrase, environment: Mapping[str, str] = os.environ
) -> Signer:
    """The one who adds a signature: what an option says counts more than the environment, and a key more than a token.

    Raises as :func:`open_signers`.
    """
    if key is not None and (keyless.token or keyless.token_file):
        raise SealiftError("bad-option", "a key and an identity are two signers", hint="sign twice, once by each")
    token = None if key is not None else keyless.read_token(environment)
    if keyless.token is None and keyless.token_file is None and (named := key or next(iter(_from(environment)), None)):
        return load_key(named, passphrase)
    if token is None:
        return load_keys((), passphrase)[0]
    return open_keyless(keyless.config_path(environment), token)


def _from(environment: Mapping[str, str]) -> list[Path]:
    return [Path(path) for path in environment.get("SEALIFT_KEY", "").split(os.pathsep) if path]
