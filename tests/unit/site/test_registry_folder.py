"""The bundled registry's files, read beside it: only a plain file of a blob is one, whatever else stands there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from installer.registry.settings import RegistryFolder

NUMBER = "ab" + 62 * "1"
DIGEST = f"sha256:{NUMBER}"


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "registry/data/docker/registry/v2/blobs/sha256/ab" / NUMBER / "data"
    path.parent.mkdir(parents=True)
    return path


def test_opens_the_file_of_a_blob(tmp_path: Path, blob: Path) -> None:
    blob.write_bytes(b"a layer")
    file = RegistryFolder.of(tmp_path).open_blob(DIGEST)
    assert file is not None
    with file:
        assert file.read() == b"a layer"


@pytest.mark.parametrize("what", ["nothing", "folder", "link", "pipe", "socket"])
def test_takes_nothing_else_for_one_and_waits_for_nobody(tmp_path: Path, blob: Path, what: str) -> None:
    match what:
        case "folder":
            blob.mkdir()
        case "link":
            (tmp_path / "elsewhere").write_bytes(b"of somebody else")
            blob.symlink_to(tmp_path / "elsewhere")
        case "pipe":
            os.mkfifo(blob)
        case "socket":
            os.mknod(blob, 0o140600)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert RegistryFolder.of(tmp_path).open_blob(DIGEST) is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before
