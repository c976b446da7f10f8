"""What git knows about a folder. Reads only."""

from __future__ import annotations

import shutil
from pathlib import Path

from bundler.manifest.version import Checkout
from installer.commands import Command
from installer.system import Finished, run

# The folder may belong to the user who called sudo; nothing of its configuration may start a program.
_SAFE = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")


def read_checkout(folder: Path) -> Checkout | None:
    """The state of the checkout around ``folder``; None outside of one, before its first commit, or without git.

    Raises ``tool-failed`` (7) where git itself fails.
    """
    if shutil.which("git") is None or not _ask(folder, "rev-parse", "--verify", "--quiet", "HEAD").out.strip():
        return None
    branch = _ask(folder, "symbolic-ref", "--short", "--quiet", "HEAD").out.strip()
    tags = _ask(folder, "tag", "--points-at", "HEAD", check=True).out.split()
    commit_time = _ask(folder, "log", "-1", "--format=%ct", check=True).out.strip()
    return Checkout(branch or None, tuple(tags), int(commit_time))


def _ask(folder: Path, *words: str, check: bool = False) -> Finished:
    return run(Command(("git", *_SAFE, "-C", str(folder), *words), timeout=30), check=check)
