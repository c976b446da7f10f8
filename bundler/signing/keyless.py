"""Signs without a lasting key: a certificate for an identity, from a Sigstore instance that the builder names.

sigstore-python does it, against the services in a ``client-trust-config.json``; nothing of the public instance is ever
asked. Each signature is checked by our own offline verifier before it is used. sigstore is imported only here.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bundler.signing.sign import file_stem
from installer.bundle.keyless import signer_of
from installer.bundle.keylessform import KeylessSignature
from installer.bundle.problems import shown
from installer.bundle.signature import parse_signature
from installer.bundle.signers import Identity
from installer.bundle.sigstoreroot import SigstoreRoot
from installer.bundle.strictjson import parse
from installer.bundle.subject import claimed_subject
from installer.errors import SealiftError

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken
    from sigstore.sign import Signer as SigstoreSigner

TOKEN_VARIABLE: Final = "SEALIFT_IDENTITY_TOKEN"  # noqa: S105 - the name of a variable
CONFIG_VARIABLE: Final = "SEALIFT_SIGSTORE_CONFIG"
MAX_CONFIG_BYTES: Final = 1024 * 1024
PATIENCE: Final = 120.0
"""Seconds that one signature may take, all services together."""

_MAX_TOKEN: Final = 64 * 1024


@dataclass(frozen=True)
class Asked:
    """What the command line says about keyless signing; where it says nothing, the environment does."""

    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    config: Path | None = None

    def read_token(self, environment: Mapping[str, str] = os.environ) -> str | None:
        """The identity token, None where there is none. Raises ``identity-token-unusable`` (2)."""
        if self.token_file is not None:
            try:
                with self.token_file.open("rb") as file:
                    return file.read(_MAX_TOKEN).decode("ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SealiftError(
                    "identity-token-unusable",
                    f"cannot read an identity token from {self.token_file}",
                    hint="one token, as the issuer gave it",
                ) from error
        return self.token or environment.get(TOKEN_VARIABLE) or None

    def config_path(self, environment: Mapping[str, str] = os.environ) -> Path | None:
        if self.config is None and (named := environment.get(CONFIG_VARIABLE)):
            return Path(named)
        return self.config


@dataclass
class KeylessSigner:
    """Signs as ``identity``: what the token claims, and once it has signed, what the certificate says."""

    name: str
    identity: Identity
    trusted_root: Mapping[str, Any]
    _open: Callable[[], SigstoreSigner] = field(repr=False)
    _timestamps: int
    _token: str = field(repr=False)
    _signer: SigstoreSigner | None = field(default=None, repr=False)

    @property
    def trusted_as(self) -> Identity:
        return self.identity

    def describe(self) -> str:
        return f"{self.identity.identity} (issuer {self.identity.issuer})"

    def signature_file(self, payload: bytes) -> bytes:
        """The bytes of a Sigstore bundle over ``payload``, which our verifier accepts.

        Raises ``signing-service-failed`` (9) where a service of the instance did not do its part.
        """
        raw = self._sign(payload)
        sign = parse_signature(raw, f"{self.name}.sigstore.json")
        if not isinstance(sign, KeylessSignature) or (subject := claimed_subject(sign)) is None:
            raise self._failed("its certificate names nobody")
        if len(sign.timestamps) < self._timestamps:  # sigstore only logs it
            raise self._failed("its timestamp authority gave no timestamp")
        self.identity = Identity(*subject, self.identity.name)
        root = SigstoreRoot.read(self.trusted_root, "the trusted root of the signing instance")
        try:
            signer_of(sign, payload, [self.identity], root)
        except SealiftError as error:
            raise self._failed(f"our own verifier refuses what it made: {error.id}: {error.message}") from error
        return raw

    def _sign(self, payload: bytes) -> bytes:
        """In a thread that nobody waits for longer than :data:`PATIENCE`: sigstore gives its requests no time limit."""
        done: list[bytes | Exception] = []
        thread = threading.Thread(target=lambda: done.append(self._ask(payload)), daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if not done:
            raise self._failed(f"no answer within {PATIENCE:.0f} seconds")
        if isinstance(done[0], Exception):
            raise self._failed(f"{type(done[0]).__name__} {done[0]}".strip()) from done[0]
        return done[0]

    def _ask(self, payload: bytes) -> bytes | Exception:
        try:
            if self._signer is None:  # one certificate for all that is signed in one go
                self._signer = self._open()
            return self._signer.sign_artifact(payload).to_json().encode("utf-8")
        except Exception as error:  # of sigstore, requests and the services' own texts; none is more than "no"
            return error

    def _failed(self, why: str) -> SealiftError:
        return SealiftError(
            "signing-service-failed",
            f"the Sigstore instance did not sign: {shown(why.replace(self._token, '(the token)'))}",
            hint="are its services up, and is the token for the audience sigstore and still valid? nothing was written",
        )


def open_keyless(config: Path | None, token: str) -> KeylessSigner:
    """A signer for the identity in ``token``, by the instance in the file ``config``.

    Raises ``sigstore-config-invalid``, ``identity-token-unusable`` (2). Nothing is asked of the instance yet.
    """
    if config is None:
        raise SealiftError(
            "sigstore-config-invalid",
            "an identity token, but no Sigstore instance to sign with",
            hint=f"--sigstore-config JSON, {CONFIG_VARIABLE}, or sign.keyless.config in the manifest",
        )
    raw = _read_config(config)
    from sigstore.oidc import IdentityError, IdentityToken
    from sigstore.sign import SigningContext

    logging.getLogger("sigstore").addHandler(logging.NullHandler())  # what it would warn of is asked above
    read, trusted_root, timestamps = _instance(raw, config)
    try:
        identity_token: IdentityToken = IdentityToken(token)
    except IdentityError as error:
        raise SealiftError(
            "identity-token-unusable",
            f"the identity token cannot be used: {str(error).lower()}",
            hint="a token of the instance's issuer, for the audience sigstore, that has not expired",
        ) from error
    context = SigningContext.from_trust_config(read)
    identity = Identity(identity_token.identity, identity_token.federated_issuer, file_stem(identity_token.identity))

    def begin() -> SigstoreSigner:
        with context.signer(identity_token) as signer:
            return signer

    return KeylessSigner(file_stem(identity_token.identity), identity, trusted_root, begin, timestamps, token)


def _read_config(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise _bad_config(path, f"cannot be read: {error.strerror}") from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise _bad_config(path, "is too large")
    return raw


def _instance(raw: bytes, path: Path) -> tuple[ClientTrustConfig, Mapping[str, Any], int]:
    """The configuration, its trusted root as it stands there, and how many timestamps a signature must have."""
    from sigstore.models import ClientTrustConfig

    try:
        trusted_root = parse(raw, path.name)["trustedRoot"]
        SigstoreRoot.read(trusted_root, path.name)
        config = ClientTrustConfig.from_json(raw.decode("utf-8"))
        return config, trusted_root, len(config.signing_config.get_tsas())
    except SealiftError as error:
        raise _bad_config(path, error.message) from error
    except Exception as error:  # pydantic's, sigstore's own, KeyError: all of them are about this file
        raise _bad_config(path, f"is none: {type(error).__name__} {error}") from error


def _bad_config(path: Path, why: str) -> SealiftError:
    return SealiftError(
        "sigstore-config-invalid",
        f"the configuration of the Sigstore instance, {path}: {shown(why)}",
        hint="client-trust-config.json: trustedRoot and signingConfig of your own instance (docs/trust/keyless.md)",
    )


def read_trusted_root(path: Path) -> Mapping[str, Any]:
    """The trusted root in ``trusted_root.json``, or in a ``client-trust-config.json``, for a root of trust.

    Raises ``sigstore-config-invalid`` (2). All of it is read as sigstore will read it on the hosts.
    """
    from sigstore.models import TrustedRoot
    from sigstore_models.trustroot.v1 import TrustedRoot as TrustedRootModel

    raw = _read_config(path)
    try:
        value = parse(raw, path.name)
        value = value.get("trustedRoot", value)
        SigstoreRoot.read(value, path.name)
        TrustedRoot(TrustedRootModel.from_json(json.dumps(value)))
    except SealiftError as error:
        raise _bad_config(path, error.message) from error
    except Exception as error:
        raise _bad_config(path, f"{type(error).__name__} {error}") from error
    return dict(value)
