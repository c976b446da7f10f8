"""A process to start, as a value. Only ``system.py`` starts one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Command:
    """An argument vector; ``env`` is added to a clean environment; ``timeout`` is in seconds. Never holds a secret."""

    argv: tuple[str, ...]
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 300.0

    def __str__(self) -> str:
        """As a person would type it."""
        return " ".join([*(f"{key}={shlex.quote(value)}" for key, value in self.env.items()), shlex.join(self.argv)])
