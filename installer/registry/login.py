"""A name and a password for a registry. They stand in files, never in messages, arguments or ``repr()``."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from installer.errors import SealiftError
from installer.registry.files import make_folder, write_file


@dataclass(frozen=True)
class Login:
    """``user`` and ``password``, or an identity token in their place; neither secret shows in ``repr()``."""

    user: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """``user:password`` in base64, as HTTP Basic and Docker's configuration spell it."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


def read_login(path: Path) -> Login:
    """Read ``user:password`` from the one line of ``path``. Raises ``secret-missing`` (7)."""
    hint = "registry.credentials.file holds one line, user:password, and is readable for this program"
    try:
        text = path.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        message = f"cannot read the registry's credentials in {path}: {reason}"
        raise SealiftError("secret-missing", message, hint=hint) from None
    user, colon, password = text.partition(":")
    if not (user and colon and password) or "\n" in text:
        raise SealiftError("secret-missing", f"no user:password in one line in {path}", hint=hint)
    return Login(user, password)


def docker_config(logins: Mapping[str, Login]) -> bytes:
    """The text of ``config.json`` for an engine's client that logs in to each ``host:port``."""
    auths = {host: {"auth": login.basic} for host, login in sorted(logins.items())}
    return json.dumps({"auths": auths}, indent=1).encode() + b"\n"


def write_docker_config(folder: Path, logins: Mapping[str, Login]) -> None:
    """Write ``config.json`` into ``folder`` (0700), to be named by ``DOCKER_CONFIG``. Raises ``state-dir-unusable``."""
    make_folder(folder, 0o700)
    write_file(folder / "config.json", docker_config(logins), 0o600)
