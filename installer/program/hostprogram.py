"""The program's own place on a host: how ``./install`` becomes ``sealift``, and which of two programs goes on.

Rules:
- The first ``./install`` puts itself on the host: :func:`ensure_on_host`, called by what changes the host, not by
  ``--help``. From then on the host's program judges every stick: the header of ``install`` starts it instead of
  unpacking its own, but for ``--help`` and ``--version``.
- No stick replaces the host's program. The host's own does that, once it has verified that the newer one belongs to
  the release, and who signed it: :mod:`installer.program.handover` asks :func:`decide_program`; :func:`adopt` does it.
- Run from sources (``python -m installer``) there is no program to place, and all of these do nothing.

On the host, below ``$SEALIFT_PREFIX`` (``/usr/local``)::

    lib/sealift/runtime/<sha256>/    a program as the media's header unpacks it; its name is the digest of its payload
    lib/sealift/<version>            link to one of these
    bin/sealift                      a script that starts one; replacing it in one rename is the whole switch.
                                     Its second line is read by the header too
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import semver

from installer.bundle.digest import Digest
from installer.commands import Command
from installer.durable import sync_folder, write_durably
from installer.errors import SealiftError
from installer.system import run

DEFAULT_PREFIX: Final = Path("/usr/local")
_DRAFT: Final = ".new."
_LAUNCHER: Final = """\
#!/bin/sh
# sealift {version}, put here by its first run; {digest}
exec /bin/sh {start} sealift "$@"
"""
_LAUNCHER_LINE: Final = re.compile(r"^# sealift (\S+), put here by its first run; sha256:([0-9a-f]{64})$", re.MULTILINE)


@dataclass(frozen=True)
class Program:
    """One build of the site program: its version and the digest of its payload."""

    version: str
    digest: Digest


class Decision(Enum):
    """What the host's own program does about one that came with a stick."""

    GO_ON = "go-on"  # it is the right one itself
    ADOPT = "adopt"  # it has verified a newer one: that goes on


def decide_program(host: Program, media: Program, *, verified: bool) -> Decision:
    """What the program ``host`` does when ``media`` lies on the stick.

    ``verified``: that one belongs to a release whose signature ``host`` has checked. Versions are compared as SemVer;
    only a higher one is newer.
    """
    newer = semver.Version.parse(media.version) > semver.Version.parse(host.version)
    return Decision.ADOPT if verified and newer else Decision.GO_ON


def prefix() -> Path:
    """Where programs live on this host."""
    return Path(os.environ.get("SEALIFT_PREFIX") or DEFAULT_PREFIX)


def own_program() -> Program | None:
    """The program that is running, or None when it runs from sources."""
    folder = Path(sys.prefix)
    return _described(folder) if (folder / "program.json").is_file() else None


def host_program() -> Program | None:
    """The program that this host knows as ``sealift``, or None where there is none that can start."""
    launcher = prefix() / "bin/sealift"
    try:
        program = read_launcher(launcher.read_text(errors="replace"))
    except OSError:
        return None
    return program if program and (_runtime(program) / "start.sh").is_file() else None


def read_launcher(text: str) -> Program | None:
    """The program that a launcher names, or None where it is not one of ours."""
    found = _LAUNCHER_LINE.search(text)
    return Program(found[1], Digest(found[2])) if found else None


def ensure_on_host() -> Program | None:
    """Put the running program on the host as ``sealift`` if there is none yet; returns the one that is there.

    A program that is there stays, whatever its version. None when run from sources. Raises ``permission`` or
    ``disk-full`` where it can't be put there, ``runtime-unusable`` where something else is called ``sealift``.
    """
    own, host = own_program(), host_program()
    if own is None or host is not None:
        return host
    launcher = prefix() / "bin/sealift"
    if launcher.exists() and read_launcher(launcher.read_text(errors="replace")) is None:
        raise SealiftError(
            "runtime-unusable",
            f"{launcher} exists and is not ours",
            hint="move it away, or set SEALIFT_PREFIX to another folder than /usr/local",
        )
    try:
        with _alone(prefix() / "lib/sealift"):
            _copy_runtime(Path(sys.prefix).resolve(), _runtime(own))
            _point_to(own)
    except OSError as error:
        raise _cannot_place(error) from error
    return own


def start_of(program: Program) -> tuple[str, ...]:
    """The first words of a command that starts a program of this host as ``sealift``."""
    return ("/bin/sh", str(_runtime(program) / "start.sh"), "sealift")


def adopt(data: bytes, version: str) -> Program:
    """Make the program whose file has these bytes the host's own and return it; the one before stays on the disk.

    To be called only for verified bytes. It unpacks itself and must say that it is ``version`` before anything leads
    to it. After a kill at any moment ``sealift`` is the old one or the new. Raises ``program-damaged`` (4),
    ``permission``, ``disk-full``, ``tool-failed`` (7).
    """
    home = prefix() / "lib/sealift"
    try:
        with _alone(home), tempfile.TemporaryDirectory(dir=home, prefix=_DRAFT) as scratch:
            copy = Path(scratch) / "install"
            copy.write_bytes(data)
            wishes = {"SEALIFT_RUNTIME_DIR": str(Path(scratch) / "runtime"), "SEALIFT_UNPACK_ONLY": "1"}
            unpacked = Path(run(Command(("/bin/sh", str(copy)), env=wishes)).out.rstrip("\n"))
            said = run(Command(("/bin/sh", str(unpacked / "start.sh"), "sealift", "--version"))).out.strip()
            program = _described(unpacked)
            if program.version != version or said != f"sealift {version}":
                raise SealiftError(
                    "program-damaged",
                    f"the program is {version} by its header, {program.version} inside, and says: {said[:60]}",
                    hint="ask the vendor for another build; the host keeps its own program",
                )
            _move_runtime(unpacked, _runtime(program))
            _point_to(program)
    except OSError as error:
        raise _cannot_place(error) from error
    return program


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One exchange of programs at a time, whatever the state dir; what a killed one left in ``home`` is gone first."""
    home.mkdir(parents=True, exist_ok=True)
    handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for left in home.glob(f"{_DRAFT}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(handle)


def _described(folder: Path) -> Program:
    folder = folder.resolve()
    facts = json.loads((folder / "program.json").read_text())
    return Program(facts["version"], Digest.parse(f"sha256:{folder.name}"))


def _runtime(program: Program) -> Path:
    return prefix() / "lib/sealift/runtime" / program.digest.hex


def _copy_runtime(source: Path, target: Path) -> None:
    """Copy an unpacked program that lies elsewhere; the target has its name only when it is whole."""
    if (target / "start.sh").is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=_DRAFT) as scratch:
        copy = Path(scratch) / target.name
        shutil.copytree(source, copy)
        os.sync()
        try:
            copy.rename(target)
        except OSError:
            # Another first run may have been quicker: its folder has the same content.
            if not (target / "start.sh").is_file():
                raise


def _move_runtime(unpacked: Path, target: Path) -> None:
    """Give a program that was unpacked and synced its place; one that is there has the same content."""
    if not (target / "start.sh").is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        unpacked.rename(target)
        sync_folder(target.parent)


def _point_to(program: Program) -> None:
    """Make ``sealift`` mean this program: the link first, the launcher last."""
    home, launcher = prefix() / "lib/sealift", prefix() / "bin/sealift"
    launcher.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=_DRAFT) as scratch:
        link = Path(scratch) / "link"
        link.symlink_to(Path("runtime") / program.digest.hex)
        link.replace(home / program.version)
    sync_folder(home)
    start = shlex.quote(str(_runtime(program) / "start.sh"))
    text = _LAUNCHER.format(version=program.version, digest=program.digest, start=start)
    write_durably(launcher, text.encode(), 0o755)


def _cannot_place(error: OSError) -> SealiftError:
    full = error.errno in {28, 122}  # ENOSPC, EDQUOT
    return SealiftError(
        "disk-full" if full else "permission",
        f"cannot put the program into {prefix()}: {error.strerror or error}",
        hint="free 100 MB there" if full else "run it as root, or set SEALIFT_PREFIX to a folder that you can write",
    )
