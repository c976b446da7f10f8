"""A release in parts of three sizes is what the one file is: looked at, verified, loaded into a real registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.media.pack import pack
from bundler.verification import inspect_media, verify_media
from installer.media import open_media
from installer.registry.fill import fill_registry
from installer.registry.load import RegistrySink
from installer.talk import Talk
from tests import editions
from tests.vectors.forge import RELEASE

from .conftest import Distribution, Start

pytestmark = pytest.mark.e2e

QUIET = Talk(quiet=True)
LAYER = editions.zlib_gzip(editions.layer(editions.tree(20)))
CONTENT = {"web": [LAYER, editions.layer(editions.tree(21, files=8))], "api": [LAYER]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one file."""
    return editions.write(editions.edition("1.0.0", CONTENT), tmp_path_factory.mktemp("whole"))


def loaded(bundle: Path, registry: Distribution) -> list[str]:
    """What lies in a registry that was empty: every blob, manifest, link and tag, by its place in the storage."""
    media, said = open_media(bundle, RELEASE.policy), list[str]()

    def read(sink: RegistrySink, again: bool) -> None:
        media.read([sink], progress=lambda _: None, quick=again)

    fill_registry(registry.client(), media.release, read, said.append)
    assert said == []
    storage = registry.folder / "data"
    return sorted(
        str(path.relative_to(storage)) for path in storage.rglob("*") if path.is_file() and "_uploads" not in path.parts
    )


@pytest.mark.parametrize("size", [5_000, 65_536, 300_001])
def test_parts_are_seen_verified_and_loaded_as_the_one_file(
    size: int, whole: Path, start_registry: Start, tmp_path: Path
) -> None:
    made = pack(whole, tmp_path / "sticks", size, QUIET)
    assert made.parts == -(-whole.stat().st_size // size) > 1
    verified = [verify_media(path, RELEASE.policy, QUIET).as_json() for path in (whole, made.kit)]
    assert verified[0] == verified[1] and verified[0]["verified"] is True
    seen = [inspect_media(path, RELEASE.policy)[1] for path in (whole, made.kit)]
    assert seen[0]["release"] == seen[1]["release"] and seen[0]["digest"] == seen[1]["digest"]
    in_registry = loaded(whole, start_registry())
    assert in_registry and loaded(made.first, start_registry()) == in_registry
