"""What goes into the site program, as tables and the pure questions asked of them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

PLATFORM: Final = "linux/amd64"
LOADER: Final = "glibc/ld-linux-x86-64.so.2"
PYTHON_HOME: Final = "lib/python3.11"
PACKAGES_HOME: Final = "lib/python3/dist-packages"  # where Debian's Python looks by itself

DISTRIBUTIONS: Final = (
    "backports-zstd",
    "bcrypt",
    "bech32",
    "cryptography",
    "docker",
    "jinja2",
    "pydantic",
    "pydantic-core",
    "pyyaml",
    "requests",
    "rfc3161-client",
    "rich",
    "securesystemslib",
    "semver",
    "sigstore",
    "sigstore-models",
    "tuf",
    "typer",
    "urllib3",
    "zstandard",
)
"""What the site side imports, by distribution name. What these need comes along by itself."""

LEFT_OUT: Final = frozenset({"pycparser"})
"""Needed by a distribution only to compile something, never on a site."""

NAME_SERVICE: Final = ("libnss_files.so.2", "libnss_dns.so.2")
"""Loaded by libc when it looks up users and hosts; no program names them, so ldd can't see them."""

_UNUSED_LIBRARY: Final = frozenset(
    [
        "__phello__",
        "__pycache__",
        "config-3.11-x86_64-linux-gnu",
        "curses",
        "dbm",
        "distutils",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "msilib",
        "pydoc_data",
        "sqlite3",
        "test",
        "tkinter",
        "turtledemo",
        "venv",
        "wsgiref",
    ]
)
_UNUSED_FILES: Final = frozenset(
    [
        "EXTERNALLY-MANAGED",
        "_aix_support.py",
        "_bootsubprocess.py",
        "_distutils_system_mod.py",
        "_osx_support.py",
        "antigravity.py",
        "sitecustomize.py",
        "this.py",
        "turtle.py",
    ]
)
_UNUSED_EXTENSIONS: Final = re.compile(
    r"_codecs_(cn|hk|iso2022|jp|kr|tw)|_multibytecodec|_curses(_panel)?|_dbm|_gdbm|_sqlite3|_tkinter|_crypt|_lsprof"
    r"|_test\w*|_ctypes_test|_xx\w+|xx\w+|audioop|nis|ossaudiodev|readline"
)
_EAST_ASIAN_CODECS: Final = re.compile(
    r"(big5\w*|cp932|cp949|cp950|euc_\w+|gb\d+|gbk|gb18030|hz|iso2022_\w+|johab|shift_\w+)\.py"
)
_UNUSED_SUFFIXES: Final = frozenset({".pyc", ".pyi", ".pyx", ".pxd", ".c", ".h", ".a", ".typed"})
_KEPT_METADATA: Final = re.compile(r"METADATA|licenses/.*|(LICEN[CS]E|COPYING|NOTICE|AUTHORS)[^/]*", re.IGNORECASE)
_LEXERS_KEPT: Final = frozenset({"__init__.py", "_mapping.py", "python.py"})


def wants_standard_file(path: PurePosixPath) -> bool:
    """Whether the site needs a file of the standard library; ``path`` is relative to it."""
    if path.suffix in _UNUSED_SUFFIXES or _UNUSED_LIBRARY.intersection(path.parts) or "tests" in path.parts:
        return False
    if path.parts[0] == "lib-dynload":
        return not _UNUSED_EXTENSIONS.fullmatch(path.name.partition(".")[0])
    if path.parts[0] == "encodings":
        return not _EAST_ASIAN_CODECS.fullmatch(path.name)
    return path.name not in _UNUSED_FILES or len(path.parts) > 1


def wants_package_file(path: PurePosixPath) -> bool:
    """Whether the site needs a file of a distribution; ``path`` is relative to site-packages."""
    top = path.parts[0]
    if top in {"..", "__pycache__"} or path.suffix in _UNUSED_SUFFIXES or path.name == "pytest_plugin.py":
        return False
    if {"tests", "test", "test_data", "__pycache__"}.intersection(path.parts[:-1]):
        return False
    if top.endswith(".dist-info"):
        return _KEPT_METADATA.fullmatch("/".join(path.parts[1:])) is not None
    if path.parts[:2] == ("pygments", "lexers"):
        # Colours for 500 languages; a traceback needs one.
        return path.name in _LEXERS_KEPT
    return True


def normalised(name: str) -> str:
    """A distribution's name in its one comparable spelling (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required_name(requirement: str) -> str | None:
    """The distribution that a ``Requires-Dist`` line names, or None where only an extra asks for it."""
    if re.search(r";.*\bextra\b", requirement):
        return None
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    return normalised(found.group()) if found else None
