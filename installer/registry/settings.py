"""The files of the bundled registry in the state dir, and what stands in them.

::

    registry/               root alone may enter (0700)
      password              0600, made once; the user is ``sealift``
      config/config.yml     what Distribution reads; its folder is mounted read-only
      config/htpasswd
      docker-config/        ``DOCKER_CONFIG`` for pulls and for compose
      data/                 belongs to the registry's user (10001)

Rules:
- Whoever asks needs the password, and nobody can delete: other people use this host too.
- No cache of what is stored: what the disk lost is reported as missing and comes again with the next load.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import bcrypt

from installer.registry.address import RegistryAddress
from installer.registry.files import make_folder, unusable, write_file
from installer.registry.login import Login, write_docker_config

USER: Final = "sealift"
REGISTRY_UID: Final = 10001
CONFIG_MOUNT: Final = "/etc/docker/registry"
DATA_MOUNT: Final = "/var/lib/registry"
MARK_HEADER: Final = "X-Sealift-Site"
_ROUNDS: Final = 4
"""The password has 256 random bits, so slow hashing adds no safety, but would cost 60 ms at each request."""


@dataclass(frozen=True)
class RegistryFolder:
    """Where the bundled registry of one state dir keeps its files."""

    root: Path

    @classmethod
    def of(cls, state_dir: Path) -> RegistryFolder:
        return cls(state_dir / "registry")

    @property
    def password(self) -> Path:
        return self.root / "password"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def data(self) -> Path:
        return self.root / "data"

    def open_blob(self, digest: str) -> IO[bytes] | None:
        """The file of a blob, where Distribution keeps it; None where it has none, or this user may not read it.

        What stands there is the registry's doing: whoever uses the bytes ends at a digest.
        """
        number = digest.removeprefix("sha256:")
        path = self.data / "docker/registry/v2/blobs/sha256" / number[:2] / number / "data"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb", buffering=0)
        os.close(descriptor)
        return None

    @property
    def docker_config(self) -> Path:
        """To be named by ``DOCKER_CONFIG`` when an engine's client pulls."""
        return self.root / "docker-config"


def config_text(address: RegistryAddress, password: str) -> str:
    """Distribution's ``config.yml`` (JSON is YAML)."""
    value: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": DATA_MOUNT},
            "delete": {"enabled": False},
            "maintenance": {"uploadpurging": {"enabled": True, "age": "24h", "interval": "24h", "dryrun": False}},
        },
        "http": {
            "addr": address.host,
            "secret": derived(password, "uploads"),
            "headers": {"X-Content-Type-Options": ["nosniff"], MARK_HEADER: [derived(password, "mark")]},
        },
        "auth": {"htpasswd": {"realm": "sealift", "path": f"{CONFIG_MOUNT}/htpasswd"}},
    }
    return json.dumps(value, indent=1) + "\n"


def derived(password: str, purpose: str) -> str:
    """A value that only who knows the password can make, and that does not give it away."""
    return hmac.new(password.encode(), f"sealift registry {purpose}".encode(), hashlib.sha256).hexdigest()


def write_settings(folder: RegistryFolder, address: RegistryAddress) -> Login:
    """Make or mend all files, the password once; returns the login. Raises ``state-dir-unusable`` (7)."""
    make_folder(folder.root, 0o700)
    make_folder(folder.data, 0o700, owner=REGISTRY_UID)
    make_folder(folder.config, 0o755)  # nobody but root comes this far, and the registry by its mount
    login = Login(USER, _kept_password(folder.password))
    write_file(folder.config / "config.yml", config_text(address, login.password).encode(), 0o640, group=REGISTRY_UID)
    if not _accepts(folder.config / "htpasswd", login):
        hashed = bcrypt.hashpw(login.password.encode(), bcrypt.gensalt(_ROUNDS)).decode("ascii")
        write_file(folder.config / "htpasswd", f"{USER}:{hashed}\n".encode(), 0o640, group=REGISTRY_UID)
    write_docker_config(folder.docker_config, {address.host: login})
    return login


def read_settings(folder: RegistryFolder) -> Login | None:
    """The login of a registry that was set up before, or None. Raises ``state-dir-unusable`` (7)."""
    try:
        return Login(USER, folder.password.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error if isinstance(error, OSError) else OSError(0, "it is damaged")
        raise unusable(folder.password, reason) from None


def _kept_password(path: Path) -> str:
    kept = read_settings(RegistryFolder(path.parent))
    if kept is not None and kept.password:
        return kept.password
    password = secrets.token_urlsafe(32)
    write_file(path, f"{password}\n".encode(), 0o600)
    return password


def _accepts(path: Path, login: Login) -> bool:
    try:
        user, _, hashed = path.read_text(encoding="ascii").strip().partition(":")
        return user == login.user and bcrypt.checkpw(login.password.encode(), hashed.encode())
    except (OSError, ValueError):
        return False
