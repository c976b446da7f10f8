"""Where this run looks, settled by options, then the environment, then defaults."""

from __future__ import annotations

from pathlib import Path

from installer.site.site import DEFAULT_SITE_FILE, DEFAULT_STATE_DIR


class Places:
    """Set once, before any verb."""

    state_dir: Path = DEFAULT_STATE_DIR
    site_file: Path = DEFAULT_SITE_FILE
