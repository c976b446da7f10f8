"""The zstd of Python's standard library (3.14), or its backport: python-zstandard knows no prefixes."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["zstd"]
