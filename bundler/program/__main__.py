"""``python -m bundler.program --output FILE``: build the site program alone."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bundler.program import build_program
from bundler.program.parts import PLATFORM
from installer.errors import SealiftError


def main() -> int:
    """Build as the arguments say; the path goes to stdout."""
    parser = argparse.ArgumentParser(prog="python -m bundler.program", description="build the site program")
    parser.add_argument("--output", type=Path, required=True, help="the file to write, usually named install")
    parser.add_argument("--platform", default=PLATFORM, help="OS/ARCH (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="outlives a run (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        print(build_program(arguments.output, platform=arguments.platform, cache=arguments.cache))
    except SealiftError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return int(error.exit_code)
    return 0


def default_cache() -> Path:
    """Where what is costly to make outlives a run."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("SEALIFT_CACHE") or f"{home}/sealift")


if __name__ == "__main__":
    sys.exit(main())
