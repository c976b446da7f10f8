"""``python -m tests.vectors.write DIR``: every vector as files, for verifiers that are not ours.

``DIR/expected.json`` is a list of ``{"name", "what", "bundle", "root", "key", "needs_root", "exit_code", "error"}``;
bundle, root and key are file names in ``DIR``. ``key`` is null where one public key cannot stand for the root
(thresholds, other products, roots that are the subject); ``needs_root`` says that roots on the media decide, so that
who has only keys cannot tell; ``error`` is null where the bundle must be accepted.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from tests.vectors.catalogue import VECTORS
from tests.vectors.forge import RELEASE
from tests.vectors.vector import Vector, good_root

KEY = "release.pub"


def write(folder: Path) -> list[dict[str, object]]:
    """Write all vectors into ``folder``, which is made; gives the list of what must come out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / KEY).write_bytes(RELEASE.pem)
    expected = [_written(vector, folder) for vector in VECTORS]
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    return expected


def _written(vector: Vector, folder: Path) -> dict[str, object]:
    bundle, root = f"{vector.name}.bundle.tar.zst", vector.trusted
    (folder / bundle).write_bytes(vector.bundle)
    name = f"root-{hashlib.sha256(root).hexdigest()[:12]}.json"
    (folder / name).write_bytes(root)
    plain = root == good_root() and vector.error != "wrong-product" and not vector.needs_root
    return {
        "name": vector.name,
        "what": vector.what,
        "bundle": bundle,
        "root": name,
        "key": KEY if plain else None,
        "needs_root": vector.needs_root,
        "exit_code": vector.code,
        "error": vector.error,
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.vectors.write DIR")
    print(f"{len(write(Path(sys.argv[1])))} vectors in {sys.argv[1]}")
