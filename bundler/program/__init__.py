"""The site program: one executable file for hosts that have no Python, no network and perhaps an old libc."""

from bundler.program.build import build_program

__all__ = ["build_program"]
