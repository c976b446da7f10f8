"""Stands in for ``installer/__main__.py`` where a test asks how a program is run rather than what it does.

It imports what the real one imports; its answers are JSON.
"""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import installer
from installer import __version__
from installer.errors import SealiftError
from installer.program.carried import argv_of
from installer.program.hostprogram import adopt, ensure_on_host, host_program, own_program

LIBRARIES = "bcrypt cryptography.x509 docker jinja2 pydantic requests rich.table semver tuf.api.metadata typer yaml"


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
    answer = main(sys.argv[1:])
    print(answer if sys.argv[1:] == ["--version"] and isinstance(answer, str) else json.dumps(answer))
except SealiftError as error:
    print(json.dumps({"error": error.as_json()}))
    sys.exit(int(error.exit_code))
