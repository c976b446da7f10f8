"""``python -m bundler.program --output FILE``: build the site program alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bundler.cache import wide_cache
from bundler.program import build_program
from bundler.program.parts import PLATFORM
from installer.errors import SealiftError


def main() -> int:
    """Build as the arguments say; the path goes to stdout."""
    parser = argparse.ArgumentParser(prog="python -m bundler.program", description="build the site program")
    parser.add_argument("--output", type=Path, required=True, help="the file to write, usually named install")
    parser.add_argument("--platform", default=PLATFORM, help="OS/ARCH (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=wide_cache(), help="outlives a run (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        print(build_program(arguments.output, platform=arguments.platform, cache=arguments.cache))
    except SealiftError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
