"""Stands in for ``installer/__main__.py`` where a test asks how a program is run rather than what it does.

It imports what the real one imports; its answers are JSON.
"""

import hashlib
import importlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import installer
from installer import __version__
from installer.errors import SealiftError
from installer.program.carried import argv_of
from installer.program.hostprogram import adopt, ensure_on_host, host_program, own_program

LIBRARIES = "bcrypt cryptography.x509 docker jinja2 pydantic requests rich.table semver tuf.api.metadata typer yaml"


class Held:
    """The old layer in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def has(self, digest: str) -> bool:
        return True

    def read(self, digest: str) -> Iterator[bytes]:
        yield self.path.read_bytes()


def rebuilt(folder: Path) -> object:
    """The digest of the layer that ``patch`` makes of ``old``, and what the kernel says of the process meanwhile."""
    from installer.bundle.packing import Patch
    from installer.patching.rebuild import Rebuilder

    patch = Patch.model_validate_json((folder / "patch.json").read_bytes())
    pieces = Rebuilder(Held(folder / "old"), Path("/tmp")).rebuild(patch, [(folder / "patch").read_bytes()])
    hasher = hashlib.sha256(next(pieces))
    workers = [one for one in Path("/proc").glob("[0-9]*/status") if f"PPid:\t{os.getpid()}\n" in one.read_text()]
    status = [dict(line.split(":\t") for line in one.read_text().splitlines() if ":\t" in line) for one in workers]
    limits = [(one.parent / "limits").read_text() for one in workers]
    for piece in pieces:
        hasher.update(piece)
    left = [one.name for one in Path("/tmp").iterdir()]
    return {"digest": f"sha256:{hasher.hexdigest()}", "status": status, "limits": limits, "left": left}


def main(argv: list[str]) -> object:
    """Answer one question about the world that the program sees."""
    match argv:
        case ["libraries"]:
            return [importlib.import_module(name).__name__ for name in [*LIBRARIES.split(), "zstandard"]]
        case ["modules"]:
            found = pkgutil.walk_packages(installer.__path__, "installer.")
            return [importlib.import_module(one.name).__name__ for one in found if not one.name.endswith("__main__")]
        case ["world", *rest]:
            return {
                "argv": rest,
                "cwd": str(Path.cwd()),
                "env": dict(os.environ),
                "path": sys.path,
                "name": sys.argv[0],
            }
        case ["child", *command]:
            done = subprocess.run(command, capture_output=True, text=True)
            return {"code": done.returncode, "out": done.stdout, "err": done.stderr}
        case ["--version"] if sys.argv[0] == "sealift":
            return f"sealift {__version__}"
        case ["adopt", file, version]:
            return str(adopt(Path(file).read_bytes(), version))
        case ["tool", tool, *rest]:
            return main(["child", *argv_of(Path(tool)), *rest])
        case ["place"]:
            return str(ensure_on_host())
        case ["text"]:
            return {"encoding": sys.stdout.encoding, "files": sys.getfilesystemencoding(), "ä": "ü"}
        case _:
            return {"version": __version__, "own": str(own_program()), "host": str(host_program())}


try:
    answer = rebuilt(Path(sys.argv[2])) if sys.argv[1:2] == ["rebuild"] else main(sys.argv[1:])
    print(answer if sys.argv[1:] == ["--version"] and isinstance(answer, str) else json.dumps(answer))
except SealiftError as error:
    print(json.dumps({"error": error.as_json()}))
    sys.exit(int(error.exit_code))
