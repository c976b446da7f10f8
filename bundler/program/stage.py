"""The program as a folder, before it is packed: copied, stripped, compiled."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from bundler.program import collect, parts
from bundler.program.collect import Closure, Part
from installer.commands import Command
from installer.errors import SealiftError
from installer.system import run

HERE: Final = Path(__file__).resolve().parent


def base_parts(closure: Closure) -> list[Part]:
    """Everything but our own package, sorted by path, each path once."""
    if sys.version_info[:2] != (3, 11):
        raise SealiftError(
            "tool-missing",
            f"cannot build the site program with Python {sys.version.split()[0]}: it carries Debian's 3.11",
            hint="use the environment that make setup makes",
        )
    found = [*collect.python_parts(), *collect.package_parts(closure)]
    libraries = list(collect.library_parts(part.source for part in found if collect.is_elf(part.source)))
    interpreter = next(part for part in found if part.path.startswith("bin/"))
    found += [*libraries, *collect.licence_parts([interpreter, *libraries])]
    found += [Part("bin/start.py", HERE / "start.py"), Part("etc/openssl.cnf", HERE / "openssl.cfg")]
    return sorted({part.path: part for part in found}.values())


def package_parts(package: Path) -> list[Part]:
    """Our own package ``installer``, sorted by path."""
    home = f"{parts.PACKAGES_HOME}/installer"
    files = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(Part(f"{home}/{path.relative_to(package)}", path) for path in files)


def place(found: Iterable[Part], folder: Path) -> None:
    """Copy into a folder, leaving out what debuggers need, and compile what is Python."""
    compiled: list[str] = []
    for part in found:
        target = folder / part.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(part.source, target)
        target.chmod(0o755 if part.mode & 0o100 else 0o644)
        if collect.is_elf(target) and part.path != parts.LOADER:
            run(Command(("strip", "--strip-unneeded", str(target))))
        if target.suffix == ".py" and not part.path.startswith("bin/"):
            compiled.append(str(target))
    compile_all(compiled, folder)


def compile_all(files: list[str], folder: Path) -> None:
    """Byte code beside each module, by the interpreter that the program carries; never compared with the source.

    Carried, not made on the host: 8 MB more to carry, but the first run takes 1.5 s instead of 3.4, and what lies on
    the host is what was signed, file by file.
    """
    listing = folder / ".modules"
    listing.write_text("".join(f"{file}\n" for file in sorted(files)))
    mode = ("--invalidation-mode", "unchecked-hash", "-f", "-q", "-s", f"{folder}/")
    run(Command((str(collect.PYTHON), "-I", "-m", "compileall", *mode, "-i", str(listing)), timeout=600))
    listing.unlink()


def read(folder: Path) -> Iterator[tuple[str, bytes, int]]:
    """Path, content and mode of every file of a folder, sorted by path."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield path.relative_to(folder).as_posix(), path.read_bytes(), path.stat().st_mode & 0o777


def description(version: str, platform: str, closure: Closure) -> bytes:
    """``program.json``: what the program is and carries; it also tells a running program that it is one."""
    facts = {"name": "sealift", "version": version, "platform": platform, "carries": closure.versions}
    return json.dumps(facts, indent=1, sort_keys=True).encode() + b"\n"
