"""Archives and layouts damaged or forged anywhere: an error of ours, or content that is that of its digests."""

from __future__ import annotations

import gzip
import json
import random
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundler.collect.charts import pack, unpack
from bundler.collect.documents import INDEX, MANIFEST
from bundler.collect.layout import collect_from_layout
from bundler.collect.reference import Reference
from bundler.collect.store import LayoutStore
from installer.errors import SealiftError
from tests.unit.bundler.layouts import LayoutMaker
from tests.unit.collect.archives import LAYERS, docker_archive, sha256, take, tar_of, wish

PLAIN = tar_of(docker_archive())
PACKED = gzip.compress(PLAIN, mtime=0)
CHART = pack("web", {"Chart.yaml": b"apiVersion: v2\nname: web\nversion: 1.0.0\n", "a/b": b"c" * 700})
EXPECTED = {2, 3, 4, 12}
FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

changes = st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 255)), min_size=1, max_size=6)


def altered(data: bytes, edits: list[tuple[float, int]]) -> bytes:
    copy = bytearray(data)
    for place, value in edits:
        copy[int(place * len(copy))] = value
    return bytes(copy)


def try_to_take(source: str, folder: Path) -> None:
    """Layers are checked by their digests when they are written, so here only what was read as a document is."""
    try:
        found, contents = take(source, folder)
    except SealiftError as error:
        assert int(error.exit_code) in EXPECTED
    else:
        for part in (*found.image.manifests, found.image.blobs[0]):
            assert part.digest == f"sha256:{sha256(contents[part.digest])}"


@FEW
@given(changes)
def test_docker_archive_altered_anywhere(edits: list[tuple[float, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").write_bytes(altered(PLAIN, edits))
        try_to_take("docker-archive:a", Path(folder))


@FEW
@given(changes)
def test_compressed_archive_altered_anywhere(edits: list[tuple[float, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").write_bytes(altered(PACKED, edits))
        try_to_take("docker-archive:a", Path(folder))


@FEW
@given(st.binary(max_size=2000))
def test_archive_of_anything(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for start in (b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh9"):
            (Path(folder) / "a").write_bytes(start + data)
            try_to_take("oci-archive:a", Path(folder))


@FEW
@given(changes)
def test_chart_altered_anywhere(edits: list[tuple[float, int]]) -> None:
    try:
        unpack(altered(CHART, edits), "it")
    except SealiftError as error:
        assert error.id in ("chart-invalid", "too-large")


TEXTS = ["", INDEX, MANIFEST, "sha256:" + "0" * 64, "a"]
FIELDS = ["mediaType", "digest", "size", "platform", "os", "annotations", "data", "manifests", "layers"]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**60)
    | st.sampled_from(["", INDEX, MANIFEST, "sha256:" + "0" * 64, "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["mediaType", "digest", "size", "platform", "os", "annotations", "data", "manifests", "layers"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


def replaced(value: Any, with_: Any, chance: random.Random) -> Any:
    """The same document with one of its values, wherever it stands, replaced."""
    if chance.random() < 0.25 or not isinstance(value, dict | list) or not value:
        return with_
    copy = value.copy()
    place = chance.choice(sorted(copy) if isinstance(copy, dict) else range(len(copy)))
    copy[place] = replaced(copy[place], with_, chance)
    return copy


@FEW
@given(values, st.randoms(use_true_random=False), st.sampled_from(["index.json", "index", "manifest", "config"]))
def test_layout_whose_documents_say_anything(value: Any, chance: random.Random, which: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        maker = LayoutMaker(Path(folder) / "layout")
        change = {which: lambda one: replaced(one, value, chance)}
        document = maker.document

        def forged(value: dict[str, Any], media_type: str) -> dict[str, Any]:
            kind = {MANIFEST: "manifest", INDEX: "index"}.get(media_type, "config")
            return document(change[kind](value) if kind in change else value, media_type)

        maker.document = forged  # type: ignore[method-assign]
        maker.add(maker.indexed(maker.image(LAYERS)))
        layout = maker.finish()
        if which == "index.json":
            path = layout / "index.json"
            path.write_text(json.dumps(replaced(json.loads(path.read_text()), value, chance)))
        for index in ("platform", "keep"):
            try:
                collect_from_layout(LayoutStore.of_folder("it", layout), None, wish(index=index))
            except SealiftError as error:
                assert int(error.exit_code) in EXPECTED


@given(st.text(max_size=200))
def test_reference_of_anything(text: str) -> None:
    try:
        Reference.parse(text)
    except SealiftError as error:
        assert error.id == "source-unsupported"
