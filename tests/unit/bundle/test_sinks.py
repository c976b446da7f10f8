"""Who wants the bytes of a bundle gets them, of what is carried and of what is rebuilt; the rest can be passed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bundler.delta.holdings import Holdings
from bundler.media.pack import pack
from installer.bundle import verify
from installer.bundle.archive import BundleReader
from installer.bundle.packing import Patch, bases_of, read_packing
from installer.bundle.release import Descriptor, File
from installer.bundle.verify import check_content, verify_release
from installer.errors import SealiftError
from tests import editions
from tests.unit.bundle.asking import checked
from tests.unit.trust.media import QUIET
from tests.vectors.forge import RELEASE, Forge

OLD = editions.layer(editions.tree(3, files=12))
NEW = editions.layer(editions.upgraded(editions.tree(3, files=12), 4))


@dataclass
class Keeper:
    """A sink that wants what ``wants`` names (all, where it is None), and keeps what was finished."""

    wants: str | None = None
    asked: list[str] = field(default_factory=list)
    kept: dict[str, bytes] = field(default_factory=dict)

    def open(self, member: File | Descriptor) -> Page | None:
        self.asked.append(member.digest)
        return Page(self, member.digest) if self.wants in (None, member.digest) else None

    def close(self) -> None:
        """Nothing waits in the background."""


@dataclass
class Page:
    keeper: Keeper
    digest: str
    data: bytes = b""

    def write(self, chunk: bytes) -> None:
        self.data += chunk

    def finish(self) -> None:
        self.keeper.kept[self.digest] = self.data

    def abort(self) -> None:
        self.data = b""


@dataclass
class Known:
    """In place of a process that patches: it knows what comes out."""

    layers: dict[str, bytes]
    bases: frozenset[str]

    def can(self, patch: Patch) -> bool:
        return patch.base in self.bases

    def rebuild(self, patch: Patch, data: Iterable[bytes]) -> Iterator[bytes]:
        assert b"".join(data)
        yield self.layers[patch.target]


@pytest.mark.parametrize("small", [-1, 1 << 20])
def test_who_wants_a_member_gets_its_bytes_however_large_it_is(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_SMALL", small)
    forge, sink = Forge(), Keeper()
    checked(forge.bytes(), sink)
    assert sorted(sink.kept.values()) == sorted(forge.content.values())


@pytest.fixture(scope="module")
def delta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("delta")
    old, new = (
        editions.write(editions.edition(f"1.{number}.0", {"web": [layer]}), folder / str(number))
        for number, layer in enumerate((OLD, NEW))
    )
    return pack(new, folder / "out", None, QUIET, [Holdings.of_bundle(old)]).first


def read(
    delta: Path, *sinks: Keeper, quick: bool = False, at_hand: bool = True, have: frozenset[str] | None = None
) -> tuple[str, ...]:
    """Read a delta whose one patched layer can be rebuilt; what was not checked."""
    known = Known({editions.sha256(NEW): NEW}, frozenset({editions.sha256(OLD)} if at_hand else ()))
    with BundleReader(delta) as reader:
        verified = verify_release(reader, RELEASE.policy)
        return check_content(reader, verified, sinks, quick=quick, have=have, rebuild=known)


def patch_in(delta: Path) -> str:
    with BundleReader(delta) as reader:
        packing = read_packing(reader.head.packing, verify_release(reader, RELEASE.policy).release)
    (patch,) = packing.patches
    assert dict(bases_of(packing)) == {patch.target: (patch,)}
    return patch.name


def test_who_wants_a_rebuilt_layer_gets_it(delta: Path) -> None:
    for quick in (False, True):
        sink = Keeper(editions.sha256(NEW))
        left = read(delta, sink, quick=quick)
        assert sink.kept == {editions.sha256(NEW): NEW} and sink.asked.count(editions.sha256(NEW)) == 1
        assert patch_in(delta) not in left


def test_what_nobody_wants_or_can_be_rebuilt_is_not_rebuilt(delta: Path) -> None:
    for sink in (Keeper("nothing"), Keeper(editions.sha256(NEW))):
        wanted = sink.wants != "nothing"
        read(delta, sink, at_hand=not wanted)
        assert sink.kept == {}
        assert (editions.sha256(NEW) in sink.asked) is not wanted
    assert read(delta, Keeper("nothing"), quick=True) != ()


def test_a_good_patch_that_gives_something_else_names_what_it_builds_on(delta: Path) -> None:
    sink, wrong = (
        Keeper(editions.sha256(NEW)),
        Known({editions.sha256(NEW): NEW + b"x"}, frozenset({editions.sha256(OLD)})),
    )
    with BundleReader(delta) as reader, pytest.raises(SealiftError) as refused:
        check_content(reader, verify_release(reader, RELEASE.policy), (sink,), have=None, rebuild=wrong)
    assert refused.value.id == "digest-mismatch" and sink.kept == {}
    assert editions.sha256(OLD) in refused.value.message and "whole release" in refused.value.hint


def test_what_hinders_a_rebuild_comes_through(delta: Path) -> None:
    class Full(Known):
        def rebuild(self, patch: Patch, data: Iterable[bytes]) -> Iterator[bytes]:
            raise SealiftError("disk-full", "no room", hint="free some")

    with BundleReader(delta) as reader, pytest.raises(SealiftError) as refused:
        full = Full({}, frozenset({editions.sha256(OLD)}))
        check_content(
            reader, verify_release(reader, RELEASE.policy), (Keeper(editions.sha256(NEW)),), have=None, rebuild=full
        )
    assert refused.value.id == "disk-full"


def test_several_patches_of_one_layer_stand_together() -> None:
    named: Any = Patch.model_construct
    patches = tuple(named(target=target, base=base) for target, base in (("a", "x"), ("b", "x"), ("a", "y")))
    packing: Any = SimpleNamespace(patches=patches)
    assert dict(bases_of(packing)) == {"a": (patches[0], patches[2]), "b": (patches[1],)}
