"""A disk that is full, and a kill, at every call of making a delta that changes the disk.

Whatever happens, what stands under the final name is the right delta or not there, and the same command makes it then.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from bundler.delta.holdings import Holdings
from bundler.media.encrypt import Cover
from bundler.media.pack import Packed, pack
from installer.bundle.age import MediaKey
from installer.bundle.encrypted import decrypted
from installer.bundle.packing import Patch
from installer.patching.rebuild import Rebuilder
from tests import editions
from tests.unit.bundler.converging import Output, files
from tests.unit.bundler.faults import strikes
from tests.unit.trust.media import QUIET

BASE = editions.tree(81, files=4)
SHARED = editions.layer(editions.tree(82, files=1, size=3000))
KEY = MediaKey.generate()
PART = 3000


def recording() -> Callable[..., Iterator[bytes]]:
    """In place of ``Rebuilder.rebuild``: the real process runs once for each patch, for here the disk is what fails."""
    real, made = Rebuilder.rebuild, dict[str, bytes]()

    def rebuild(rebuilder: Rebuilder, patch: Patch, data: Iterable[bytes]) -> Iterator[bytes]:
        whole = b"".join(data)
        if patch.digest not in made:
            made[patch.digest] = b"".join(real(rebuilder, patch, [whole]))
        yield made[patch.digest]

    return rebuild


def opened(kit: Path) -> dict[str, bytes]:
    """What an encrypted bundle opens to: its bytes and its name are drawn each time."""
    (path,) = kit.glob("*.age")
    with path.open("rb") as file:
        return {path.name.partition("-")[0]: decrypted(file, path.name, lambda: [KEY])[0].read()}


@pytest.fixture(
    scope="module",
    params=[(PART, Cover()), (None, Cover([KEY.recipient]))],
    ids=["parts", "age"],
)
def delta(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Output]:
    """Packed again and again, of one release with a patched layer."""
    (part_size, cover), folder = request.param, tmp_path_factory.mktemp("bench")
    layers = (editions.layer(BASE), editions.zlib_gzip(editions.layer(editions.upgraded(BASE, 83))))
    old, new = (
        editions.write(editions.edition(f"1.{number}.0", {"web": [SHARED, one]}), folder / str(number))
        for number, one in enumerate(layers)
    )

    def run() -> Packed:
        return pack(new, folder / "out", part_size, QUIET, [Holdings.of_bundle(old)], cover)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rebuilder, "rebuild", recording())
        packed = run()
        assert packed.delta is not None and len(packed.delta.patches) == 1 and packed.delta.absent
        content = opened if cover.recipients else files
        made = Output(folder / "out", packed.kit.name, run, content, replaces=not cover.recipients)
        made.prove()
        yield made


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
def test_a_full_disk_at_any_call_leaves_nothing_wrong(delta: Output, sticky: bool) -> None:
    made = []
    for call in strikes(delta.begin, delta.run, errno.ENOSPC, sticky=sticky):
        made.append(call)
        delta.converges()
    assert {"write", "create", "nameless", "rename", "fsync", "mkdir", "unlink"} <= set(made) and len(made) >= 25


def test_a_kill_at_any_call_leaves_nothing_wrong(delta: Output) -> None:
    made = []
    for call in strikes(delta.begin, delta.run, None):
        made.append(call)
        for data in files(delta.folder).values() if delta.content is opened else ():
            assert b"release.json" not in data
        delta.converges()
    assert len(made) >= 25
