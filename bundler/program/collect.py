"""Finds the files of the program on this machine: Debian's Python, the packages it needs, the libraries below them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Final

from bundler.program import parts
from installer.commands import Command
from installer.errors import SealiftError
from installer.system import run

PYTHON: Final = Path("/usr/bin/python3.11")
STANDARD_LIBRARY: Final = Path("/usr/lib/python3.11")
COPYRIGHT: Final = Path("/usr/share/doc")
ELF_MAGIC: Final = b"\x7fELF"


@dataclass(frozen=True, order=True)
class Part:
    """One file of the program: its ``path`` there and where its bytes come from."""

    path: str
    source: Path
    mode: int = 0o644


@dataclass(frozen=True)
class Closure:
    """The distributions that the program carries, each with its version, sorted by name."""

    versions: dict[str, str]

    @classmethod
    def of(cls, roots: Iterable[str]) -> Closure:
        """Follow what the distributions of this environment require.

        A requirement that is not installed was ruled out by its marker when the environment was made.
        Raises ``installer-missing`` where one of ``roots`` is not installed.
        """
        versions: dict[str, str] = {}
        waiting = [parts.normalised(name) for name in roots]
        required = set(waiting)
        while waiting:
            name = waiting.pop()
            if name in versions or name in parts.LEFT_OUT:
                continue
            try:
                found = metadata.distribution(name)
            except metadata.PackageNotFoundError as error:
                if name in required:
                    raise SealiftError(
                        "installer-missing",
                        f"cannot build the site program: {name} is not installed here",
                        hint="make setup gets everything that requirements.lock names",
                    ) from error
                continue
            versions[name] = found.version
            waiting += filter(None, map(parts.required_name, found.requires or ()))
        return cls(dict(sorted(versions.items())))


def python_parts() -> Iterator[Part]:
    """The interpreter and its standard library. Raises ``tool-missing`` where Debian 12's is not there."""
    if not PYTHON.is_file() or not (STANDARD_LIBRARY / "os.py").is_file():
        raise SealiftError(
            "tool-missing",
            f"cannot build the site program: no {PYTHON} with its standard library",
            hint="build on Debian 12 with the package python3.11 installed",
        )
    yield Part("bin/python3.11", PYTHON, 0o755)
    for path in sorted(STANDARD_LIBRARY.rglob("*")):
        inside = PurePosixPath(path.relative_to(STANDARD_LIBRARY))
        if path.is_file() and parts.wants_standard_file(inside):
            yield Part(f"{parts.PYTHON_HOME}/{inside}", path)


def package_parts(closure: Closure) -> Iterator[Part]:
    """The files of the distributions, as they were installed."""
    for name in closure.versions:
        for file in metadata.distribution(name).files or ():
            inside = PurePosixPath(file)
            source = Path(str(file.locate()))
            if parts.wants_package_file(inside) and source.is_file():
                yield Part(f"{parts.PACKAGES_HOME}/{inside}", source)


def library_parts(programs: Iterable[Path]) -> Iterator[Part]:
    """The shared libraries that ldd finds for these files, the loader, and what libc loads by itself."""
    listing = run(Command(("ldd", *(str(path) for path in programs)))).out
    found = {Path(path) for path in re.findall(r"(?:=>|^)\s*(/\S+) \(0x", listing, re.MULTILINE)}
    missing = sorted(set(re.findall(r"(\S+) => not found", listing)))
    if missing:
        raise SealiftError(
            "tool-missing", f"libraries that the site program needs are not here: {', '.join(missing)}", hint="install"
        )
    libc = next(path for path in found if path.name == "libc.so.6")
    found |= {libc.resolve().parent / name for name in parts.NAME_SERVICE}
    for path in sorted(found, key=lambda path: path.name):
        # Libraries inside a wheel find each other by themselves.
        if "site-packages" not in path.parts:
            yield Part(f"glibc/{path.name}", path, 0o755)


def licence_parts(libraries: Iterable[Part]) -> Iterator[Part]:
    """What Debian says about the copyright of each package that a library or the interpreter comes from."""
    names = [str(part.source.resolve()) for part in libraries]
    # Debian 12 still knows some files by the place they had before /lib moved into /usr.
    names += [name.removeprefix("/usr") for name in names]
    owners = run(Command(("dpkg-query", "--search", *names)), check=False).out
    packages = {line.partition(":")[0] for line in owners.splitlines() if ": /" in line}
    for package in sorted(packages):
        notice = COPYRIGHT / package / "copyright"
        if notice.is_file():
            yield Part(f"share/doc/{package}/copyright", notice)


def is_elf(path: Path) -> bool:
    """Whether a file is a program or a shared library."""
    with path.open("rb") as file:
        return file.read(4) == ELF_MAGIC
