"""A process to start, as a value. Only ``system.py`` starts one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Command:
    """An argument vector; ``env`` is added to a clean environment; ``timeout`` is in seconds. Never holds a secret.

    ``carried``: the program travelled with a release. It is started by our loader where it needs one, which is settled
    when it starts: a plan is made before the tool is on the disk, and may be finished by a later build of ours.
    """

    argv: tuple[str, ...]
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 300.0
    carried: bool = False

    def __str__(self) -> str:
        """As a person would type it."""
        return " ".join([*(f"{key}={shlex.quote(value)}" for key, value in self.env.items()), shlex.join(self.argv)])
