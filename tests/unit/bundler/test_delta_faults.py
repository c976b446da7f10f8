"""A disk that is full, and a kill, at every call of making a delta that changes the disk.

Whatever happens, what stands under the final name is the right delta or not there, and the same command makes it then.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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


@dataclass
class Bench:
    """Packs a delta again and again, of one release with a patched layer."""

    folder: Path
    part_size: int | None
    cover: Cover

    def __post_init__(self) -> None:
        layers = (editions.layer(BASE), editions.zlib_gzip(editions.layer(editions.upgraded(BASE, 83))))
        self.old, self.new = (
            editions.write(editions.edition(f"1.{number}.0", {"web": [SHARED, one]}), self.folder / str(number))
            for number, one in enumerate(layers)
        )
        self.out = self.folder / "out"
        made = self.run()
        assert made.delta is not None and len(made.delta.patches) == 1 and made.delta.absent
        self.kit = made.kit
        self.right = self.content()

    def run(self) -> Packed:
        return pack(self.new, self.out, self.part_size, QUIET, [Holdings.of_bundle(self.old)], self.cover)

    def begin(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)

    def content(self) -> dict[str, bytes]:
        """What is in the finished folder; of an encrypted bundle, whose bytes and name are drawn, what it opens to."""
        if self.cover.recipients:
            (path,) = self.kit.glob("*.age")
            with path.open("rb") as file:
                return {path.name.partition("-")[0]: decrypted(file, path.name, lambda: [KEY])[0].read()}
        return {str(path.relative_to(self.kit)): path.read_bytes() for path in self.kit.rglob("*") if path.is_file()}

    def converges(self) -> None:
        if not self.out.exists() or not any(self.out.iterdir()):
            return  # as it was in the beginning, from where it has just been seen to end well
        if self.kit.exists():
            assert self.content() == self.right
        if not self.kit.exists() or not self.cover.recipients:  # which never replaces another of its kind
            self.run()
        assert self.content() == self.right
        assert list(self.out.iterdir()) == [self.kit]


@pytest.fixture(
    scope="module",
    params=[(PART, Cover()), (None, Cover([KEY.recipient]))],
    ids=["parts", "age"],
)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rebuilder, "rebuild", recording())
        yield Bench(tmp_path_factory.mktemp("bench"), *request.param)


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
def test_a_full_disk_at_any_call_leaves_nothing_wrong(bench: Bench, sticky: bool) -> None:
    made = []
    for call in strikes(bench.begin, bench.run, errno.ENOSPC, sticky=sticky):
        made.append(call)
        bench.converges()
    assert {"write", "create", "nameless", "rename", "fsync", "mkdir", "unlink"} <= set(made) and len(made) >= 25


def test_a_kill_at_any_call_leaves_nothing_wrong(bench: Bench) -> None:
    made = []
    for call in strikes(bench.begin, bench.run, None):
        made.append(call)
        for path in bench.out.rglob("*") if bench.cover.recipients and bench.out.exists() else ():
            assert not path.is_file() or b"release.json" not in path.read_bytes()
        bench.converges()
    assert len(made) >= 25
