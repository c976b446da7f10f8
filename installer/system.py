"""The only place on the site side that starts a process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from installer.carried import argv_of
from installer.commands import Command
from installer.errors import SealiftError

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "DOCKER_CONFIG")


@dataclass(frozen=True)
class Finished:
    """What a process left: exit code, standard output and error as text."""

    code: int
    out: str
    err: str


def become(argv: tuple[str, ...]) -> NoReturn:
    """Go on as another program, in this process: the same environment, files and terminal. Raises ``OSError``."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(argv[0], argv, os.environ)  # noqa: S606


def run(command: Command, *, stdin: bytes | None = None, check: bool = True) -> Finished:
    """Run to the end. Raises ``tool-missing`` or, with ``check``, ``tool-failed`` (7) with its last lines."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(command.env)
    environment.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
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
