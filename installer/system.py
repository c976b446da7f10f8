"""The only place on the site side that starts a process."""

from __future__ import annotations

import fcntl
import functools
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from installer.commands import Command
from installer.errors import SealiftError
from installer.look.foothold import others_can_change
from installer.program.carried import argv_of

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "DOCKER_CONFIG")
_FOLDERS = frozenset({"HOME", "TMPDIR", "DOCKER_CONFIG"})
_PACKAGES = Path(__file__).resolve().parents[1]
_PIPE = 1024 * 1024
"""Bytes that wait in a pipe: with the 64 KiB that are usual, two processes wake each other sixteen times as often."""
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Finished:
    """What a process left: exit code, standard output and error as text."""

    code: int
    out: str
    err: str


def _passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What a child sees of ours. Where we are root, nothing in it leads to what others can change.

    `sudo` may have kept a PATH with a `docker` in it, or a home folder with plugins of Docker's, that are not root's.
    """
    found = {name: environment[name] for name in _PASSED_ON if environment.get(name)}
    if os.geteuid() == 0:
        found = {name: text for name, text in found.items() if name not in _FOLDERS or _is_ours(text)}
        path = found.get("PATH", "").split(":")
        found["PATH"] = ":".join(folder for folder in path if folder.startswith("/") and _is_ours(folder))
    found["PATH"] = found.get("PATH") or _USUAL_PATH
    return found


@functools.cache
def _is_ours(folder: str) -> bool:
    return others_can_change(Path(folder)) is None


def become(argv: tuple[str, ...]) -> NoReturn:
    """Go on as another program, in this process: the same environment, files and terminal. Raises ``OSError``."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(argv[0], argv, os.environ)  # noqa: S606


@dataclass(frozen=True)
class Worker:
    """A process with three pipes, and a further one for the ``patch``."""

    process: subprocess.Popen[bytes]
    patch: IO[bytes]


@contextmanager
def worker(
    code: str, descriptors: Iterable[int], stdin: IO[bytes] | int = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of this Python that runs ``code``, with three pipes (``stdin`` may be a file) and these descriptors.

    It inherits nothing else, and is gone at the end of the block.
    """
    words = (*_interpreter(), "-IB", "-X", "utf8", "-c", f"import sys; sys.path.insert(0, {str(_PACKAGES)!r}); {code}")
    process = subprocess.Popen(
        words,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=tuple(descriptors),
        env={},
        cwd="/",
    )
    try:
        yield process
    finally:
        process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        process.wait()


@contextmanager
def confined_worker(spool: int | None, base: IO[bytes] | None) -> Iterator[Worker]:
    """The process of :mod:`installer.patching.worker`, with its pipes and the descriptor ``spool`` if there is one.

    The old layer is the file ``base``, or comes by a pipe.
    """
    theirs, ours = os.pipe()
    passed = (theirs,) if spool is None else (theirs, spool)
    code = f"from installer.patching.worker import main; main({theirs}, {spool})"
    with ExitStack() as stack:
        patch = os.fdopen(ours, "wb")
        stack.callback(_closed, patch)  # after the process is gone: whoever waits for it to read would wait for ever
        try:
            process = stack.enter_context(worker(code, passed, base or subprocess.PIPE))
        finally:
            os.close(theirs)
        for pipe in filter(None, (process.stdin, process.stdout, patch)):
            with suppress(OSError):  # only as large as this user may have them
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
        yield Worker(process, patch)


def _closed(pipe: IO[bytes]) -> None:
    """Close it; what is left in its buffer goes nowhere where nobody reads it any more."""
    with suppress(OSError):
        pipe.close()


def _interpreter() -> tuple[str, ...]:
    """What starts this Python again; the site program's own one needs its own loader."""
    if sys.executable:
        return (sys.executable,)
    home, python = Path(sys.prefix), str(Path(sys.prefix) / "bin/python3.11")
    loader = str(home / "glibc/ld-linux-x86-64.so.2")
    return (loader, "--inhibit-cache", "--argv0", python, "--library-path", str(home / "glibc"), python)


def run(command: Command, *, stdin: bytes | None = None, check: bool = True) -> Finished:
    """Run to the end. Raises ``tool-missing`` or, with ``check``, ``tool-failed`` (7) with its last lines."""
    environment = _passed_on(os.environ) | dict(command.env)
    program, *arguments = command.argv
    try:
        done = subprocess.run(
            [*(argv_of(Path(program)) if command.carried else (program,)), *arguments],
            cwd=command.cwd,
            env=environment,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            timeout=command.timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise SealiftError(
            "tool-missing", f"cannot start {command.argv[0]}: not found", hint="install it, or check PATH"
        ) from error
    except PermissionError as error:
        raise SealiftError(
            "permission", f"cannot start {command.argv[0]}: not permitted", hint="check its mode"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SealiftError(
            "tool-failed", f"no end after {command.timeout:.0f} s: {command}", hint="look at the engine's log"
        ) from error
    finished = Finished(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
    if check and finished.code != 0:
        raise SealiftError(
            "tool-failed",
            f"exit code {finished.code} from: {command}",
            hint="the lines above are the tool's own words",
            details=tuple((finished.err or finished.out).strip().splitlines()[-12:]),
        )
    return finished
