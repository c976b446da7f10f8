"""What time it is here. The one place that asks the clock where trust depends on it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


def now(state_dir: Path) -> datetime:
    """The time of this host, in UTC; ``state_dir`` is where the host keeps what it knows about time."""
    del state_dir  # nothing is kept yet
    return datetime.now(UTC)
