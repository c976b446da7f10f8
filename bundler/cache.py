"""Where what is costly to make outlives a run. Made again when missing."""

from __future__ import annotations

import os
from pathlib import Path


def wide_cache() -> Path:
    """``SEALIFT_CACHE``, else ``sealift`` in the user's cache folder. Not created here."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("SEALIFT_CACHE") or f"{home}/sealift")
