"""Secrets of the site, copied to where only the engine can hand them out.

Compose mounts a ``file:`` secret with the host's uid and mode, whatever the compose file says. So a copy lies in a
folder that only root can enter, readable by whatever user the container runs as, and never inside a release.
"""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installer.durable import make_folder, write_durably
from installer.errors import SealiftError
from installer.site.site import Site

MAX_SECRET: Final = 1024 * 1024


@dataclass(frozen=True)
class SecretFile:
    """Where the copy lies, and a keyed fingerprint that shows a change but can't be guessed back to the content."""

    path: str
    fingerprint: str


@dataclass(frozen=True)
class SecretSet:
    """Secrets by name, and what a person should mend about their sources."""

    files: Mapping[str, SecretFile]
    warnings: tuple[str, ...]


def site_secrets(site: Site, product: str) -> tuple[str, ...]:
    """Names of all secrets that the site has for ``product``."""
    own = {name.removeprefix(f"{product}/") for name in site.secrets if name.startswith(f"{product}/")}
    return tuple(sorted(own | {name for name in site.secrets if "/" not in name}))


def copy_path(state_dir: Path, product: str, name: str) -> Path:
    """Where the copy of a secret lies (or will lie)."""
    return state_dir / "secrets" / product / name


def check_secrets(site: Site, product: str, names: Iterable[str]) -> tuple[str, ...]:
    """Warnings about the sources of ``names``; writes nothing. Raises ``secret-missing`` (7)."""
    warnings: list[str] = []
    for name in names:
        _read(site, product, name, warnings)
    return tuple(warnings)


def install_secrets(site: Site, product: str, names: Iterable[str], state_dir: Path) -> SecretSet:
    """Copy the secrets ``names`` of ``product`` into the state dir, each as one step.

    Raises ``secret-missing`` (7) for one that the site lacks, that can't be read, or that is empty or huge.
    """
    warnings: list[str] = []
    contents = {name: _read(site, product, name, warnings) for name in sorted(set(names))}
    key = fingerprint_key(state_dir)
    files = {}
    for name, content in contents.items():
        path = copy_path(state_dir, product, name)
        make_folder(path.parent)
        if not path.exists() or path.read_bytes() != content:
            write_durably(path, content, 0o444)
        message = f"{product}/{name}".encode() + b"\0" + content
        files[name] = SecretFile(str(path), hmac.new(key, message, "sha256").hexdigest())
    return SecretSet(files, tuple(warnings))


def planned_secrets(site: Site, product: str, names: Iterable[str], state_dir: Path) -> dict[str, SecretFile]:
    """What :func:`install_secrets` will make of ``names``; copies nothing. Raises ``secret-missing`` (7)."""
    key = fingerprint_key(state_dir)
    planned = {}
    for name in sorted(set(names)):
        message = f"{product}/{name}".encode() + b"\0" + _read(site, product, name, [])
        planned[name] = SecretFile(
            str(copy_path(state_dir, product, name)), hmac.new(key, message, "sha256").hexdigest()
        )
    return planned


def _read(site: Site, product: str, name: str, warnings: list[str]) -> bytes:
    secret = site.secret(product, name)
    if secret is None or "/" in name or name in (".", ".."):
        raise SealiftError(
            "secret-missing",
            f"{product} needs the secret {name}, which the site file lacks",
            hint=f"add to site.yaml, below `secrets:`, {name}: {{file: /etc/sealift/secrets/{name}}}",
        )
    try:
        with secret.file.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_SECRET + 1)
    except OSError as error:
        raise SealiftError(
            "secret-missing",
            f"cannot read the secret {name}: {error.strerror or error}: {secret.file}",
            hint="create the file, readable by root only",
        ) from error
    if not content or len(content) > MAX_SECRET:
        raise SealiftError(
            "secret-missing",
            f"the secret {name} is {'larger than 1 MiB' if content else 'empty'}: {secret.file}",
            hint="write the secret into the file, and nothing else",
        )
    if stat.S_IMODE(mode) & 0o007:
        warnings.append(f"everybody on this host can read the secret {name}: chmod 0600 {secret.file}")
    return content


def fingerprint_key(state_dir: Path) -> bytes:
    """The key of this state dir's fingerprints, made on first use."""
    path = make_folder(state_dir / "secrets") / ".fingerprint-key"
    if not path.exists():
        write_durably(path, os.urandom(32), 0o600)
    return path.read_bytes()
