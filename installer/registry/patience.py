"""How long a registry is waited for, and how often it is asked again: one policy, whoever asks and whatever for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from urllib3.util import Retry

BUSY: Final = frozenset({429, 502, 503, 504})
"""What a registry says that will take the same request later."""


@dataclass(frozen=True)
class Patience:
    """Seconds, and how often a request is repeated. ``answer``: how long nothing may come; ``storing``: how long a
    registry may take to store a blob; ``longest_pause``: whatever ``Retry-After`` says."""

    connect: float = 15.0
    answer: float = 60.0
    storing: float = 600.0
    retries: int = 4
    pause: float = 0.5
    longest_pause: int = 30

    def repeats(self, busy: Collection[int] = BUSY) -> Retry:
        """The rule for a request that can be sent again: by statuses ``busy``, and connections that break."""
        return Retry(
            total=self.retries,
            connect=min(1, self.retries),
            other=0,
            redirect=False,
            allowed_methods=None,
            status_forcelist=busy,
            backoff_factor=self.pause,
            backoff_max=self.longest_pause,
            retry_after_max=self.longest_pause,
            raise_on_status=False,
        )
