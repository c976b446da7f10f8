"""One build in many circumstances: another folder, user, umask, clock zone, language, interpreter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bundler.signing.sign import generate
from tests.unit.bundler.layouts import make_product

REPOSITORY: Final = Path(__file__).resolve().parents[2]
WORD: Final = "word"
NOBODY: Final = 65534
PLAIN: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", "SEALIFT_PASSPHRASE": WORD}
_IDENTITY: Final = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")

# The interpreter and the code may lie where another user cannot look, so each build sees them at a place of its own.
_SCRIPT: Final = """
mount --bind "$CODE" "$PLACE/code"
mount --bind "$LIBRARIES" "$PLACE/libraries"
cd "$PLACE/$FOLDER"
umask "$MASK"
exec setpriv --reuid "$WHO" --regid "$WHO" --clear-groups "$@"
"""


@dataclass(frozen=True)
class Circumstance:
    """Where, by whom and in which surroundings a build runs. ``environment`` is all that it sees."""

    folder: str = "product"
    user: int = 0
    umask: str = "022"
    environment: Mapping[str, str] = field(default_factory=dict)


def make_origin(folder: Path) -> Path:
    """A product in a git repository, its key beside it; what every build starts from."""
    make_product(folder)
    with (folder / "manifests/board/release.yaml").open("a") as file:
        file.write("sign: {keys: [../../keys/release.key]}\n")
    for words in (("init", "-q"), ("add", "manifests"), ("commit", "-q", "-m", "first")):
        subprocess.run(["git", *_IDENTITY, *words], cwd=folder, check=True)
    generate(folder / "keys", "release", WORD)
    return folder


def run(origin: Path, place: Path, how: Circumstance, *words: str) -> tuple[int, dict[str, Any]]:
    """``bundle build v2.1.0 … --json`` on a clone of ``origin`` below ``place``: exit code and the JSON object."""
    root = place / how.folder
    if not root.exists():
        clone(origin, place, how)
    variables = PLAIN | {"PYTHONPATH": f"{place}/code:{place}/libraries", "TMPDIR": str(place / "tmp")}
    environment = {**variables, **how.environment}
    command = [str(Path(sys.executable).resolve()), "-m", "bundler", "build", "v2.1.0", "--json", *words]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-eu", "-c", _SCRIPT, "sh", *command],
        env=environment | {
            "PLACE": str(place), "FOLDER": how.folder, "MASK": how.umask, "WHO": str(how.user),
            "CODE": str(REPOSITORY), "LIBRARIES": sysconfig.get_path("purelib"),
        },
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def clone(origin: Path, place: Path, how: Circumstance) -> None:
    """What a release engineer does first: a checkout of their own, with their umask, and the key."""
    root = place / how.folder
    for name in ("code", "libraries", "tmp"):
        (place / name).mkdir(exist_ok=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    before = os.umask(int(how.umask, 8))
    try:
        subprocess.run(["git", "clone", "-q", origin, root], check=True)
        shutil.copytree(origin / "keys", root / "keys")
    finally:
        os.umask(before)
    subprocess.run(["chown", "-R", f"{how.user}:{how.user}", place], check=True)


def contents(kit: Path) -> dict[str, bytes]:
    """Every file of a media folder."""
    return {str(path.relative_to(kit)): path.read_bytes() for path in sorted(kit.rglob("*")) if path.is_file()}
