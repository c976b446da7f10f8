"""The built program applies a patch in a process of its own, which has its own loader, and is confined."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from bundler.delta.layers import Unpacked
from bundler.delta.patches import make_patch
from installer.bundle.packing import Encoding, Gzip, Patch, Plain, Zstd
from installer.patching.encoders import version_of
from installer.patching.worker import MEMORY
from tests import editions
from tests.program.hosts import MEDIA, Host, root_filesystem

pytestmark = pytest.mark.e2e

FILES = editions.tree(6, files=250)
OLD, NEW = editions.layer(FILES), editions.layer(editions.upgraded(FILES, 7))
HEADER = editions.zlib_gzip(b"")[:20].partition(b"tar\0")
PACKED: dict[str, tuple[Encoding, bytes]] = {
    "plain": (Plain(), NEW),
    "gzip": (
        Gzip(header=(HEADER[0] + HEADER[1]).hex(), level=6, library=version_of("gzip") or ""),
        editions.zlib_gzip(NEW),
    ),
    "zstd": (
        Zstd(at_once=False, checksum=True, level=3, library=version_of("zstd") or "", sized=False),
        editions.zstd_stream(NEW),
    ),
}


@pytest.fixture(scope="module")
def stick(standin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, an old layer, and a patch to the new one in three ways of packing it."""
    folder = tmp_path_factory.mktemp("stick")
    shutil.copy(standin, folder / "install")
    out = io.BytesIO()
    with Unpacked([OLD], folder) as old, Unpacked([NEW], folder) as new:
        reach = make_patch(old, new, out)
    data = out.getvalue()
    for name, (encoding, packed) in PACKED.items():
        (folder / name).mkdir()
        (folder / name / "old").write_bytes(editions.zlib_gzip(OLD))
        (folder / name / "patch").write_bytes(data)
        patch = Patch(
            base=editions.sha256(editions.zlib_gzip(OLD)),
            base_unpacked=len(OLD),
            digest=editions.sha256(data),
            encoding=encoding,
            reach=reach,
            size=len(data),
            target=editions.sha256(packed),
            unpacked=len(NEW),
        )
        (folder / name / "patch.json").write_text(patch.model_dump_json())
    return folder


def answer(host: Host, name: str) -> dict[str, Any]:
    done = host.install(f"rebuild '{MEDIA}/{name}'")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("root", "name"), [("busybox-alone", "plain"), ("busybox-alone", "gzip"), ("bullseye", "zstd")]
)
def test_rebuilds_a_layer_to_its_digest_in_a_process_that_the_kernel_confines(
    root: str, name: str, stick: Path, wide_cache: Path, scratch: Path
) -> None:
    found = answer(Host(root_filesystem(root, wide_cache), scratch, stick), name)
    assert found["digest"] == editions.sha256(PACKED[name][1])
    (status,), (limits,) = found["status"], found["limits"]
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    for what, most in (("address space", MEMORY), ("open files", 0), ("core file size", 0)):
        line = next(line for line in limits.splitlines() if line.startswith(f"Max {what}"))
        assert re.split(r"  +", line)[1:3] == [str(most), str(most)], line
    assert found["left"] == []
