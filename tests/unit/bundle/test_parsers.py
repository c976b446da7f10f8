"""Every parser takes any bytes and answers with a value or a refusal of ours; what it takes, it writes back."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from installer.bundle.archive import BundleReader
from installer.bundle.digest import Digest
from installer.bundle.frames import FrameReader, FrameSpan, compress_frame, raw_frame, seek_table
from installer.bundle.packing import read_packing
from installer.bundle.paths import path_fault
from installer.bundle.release import Release
from installer.bundle.signature import KeySignature, parse_signature, sigstore_bundle
from installer.bundle.strictjson import canonical, parse, parse_canonical
from installer.bundle.tarheader import parse_header, tar_header
from installer.bundle.trust import TrustPolicy
from installer.errors import ExitCode, SealiftError
from tests.vectors.forge import RELEASE, Forge, root_of, zstd_frame
from tests.vectors.in_deltas import PACKINGS
from tests.vectors.vector import FIELDS, header_with

REFUSALS = (ExitCode.MALFORMED, ExitCode.CORRUPT, ExitCode.UNTRUSTED)
FORGE = Forge()
VALUE = FORGE.value
SIGNATURE = FORGE.signatures["signatures/release.sigstore.json"]
ROOT = root_of(RELEASE)
MEMBER = FORGE.members()[3]
thorough = settings(max_examples=400, deadline=None)

scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20) | st.floats()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
exact = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5)
    ),
    max_leaves=30,
)


Taken = TypeVar("Taken")


def taken(parse_it: Callable[[], Taken]) -> Taken | None:
    """The value, or None for a refusal of ours. Any other exception is a defect."""
    try:
        return parse_it()
    except SealiftError as error:
        assert error.exit_code in REFUSALS, error.id
        assert error.message.isprintable() and len(error.message) < 600
        return None


def spliced(data: st.DataObject, good: bytes) -> bytes:
    """Good bytes with a stretch replaced, removed or doubled."""
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 40)))
    return good[:start] + data.draw(st.binary(max_size=12)) + good[end:]


def mutated(data: st.DataObject, value: Any) -> Any:
    """A JSON value with one thing in it replaced, removed or added."""
    value = copy.deepcopy(value)
    node = value
    while True:
        inner = [
            key
            for key in (node if isinstance(node, dict) else range(len(node)))
            if isinstance(node[key], dict | list) and node[key]
        ]
        if not inner or data.draw(st.integers(0, 3)) == 0:
            break
        node = node[data.draw(st.sampled_from(inner))]
    key = data.draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
    deed = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if deed == "remove":
        del node[key]
    elif deed == "add" and isinstance(node, dict):
        node[data.draw(st.text(max_size=6))] = data.draw(values)
    elif deed == "add":
        node.insert(key, data.draw(st.just(node[key]) | values))
    else:
        node[key] = data.draw(values)
    return value


@thorough
@given(st.binary(max_size=200))
def test_json_takes_any_bytes(raw: bytes) -> None:
    taken(lambda: parse(raw, "x"))
    value = taken(lambda: (parse_canonical(raw, "x"),))
    assert value is None or canonical(value[0]) == raw


@thorough
@given(exact)
def test_json_writes_back_what_it_took(value: Any) -> None:
    raw = canonical(value)
    assert parse_canonical(raw, "x") == value
    assert canonical(parse(json.dumps(value, indent=1).encode(), "x")) == raw


@thorough
@given(st.data())
def test_json_is_taken_in_one_spelling_only(data: st.DataObject) -> None:
    raw = spliced(data, FORGE.statement)
    if taken(lambda: parse_canonical(raw, "x")) is not None:
        assert canonical(json.loads(raw)) == raw


@thorough
@given(st.data())
def test_release_takes_any_value_and_writes_it_back(data: st.DataObject) -> None:
    value = mutated(data, VALUE)
    try:
        raw = canonical(value)
    except ValueError:
        assume(False)
        return
    release = taken(lambda: Release.parse(raw))
    assert release is None or release.to_bytes() == raw


@thorough
@given(st.data())
def test_release_takes_any_bytes(data: st.DataObject) -> None:
    raw = spliced(data, FORGE.statement)
    release = taken(lambda: Release.parse(raw))
    assert release is None or release.to_bytes() == raw


@thorough
@given(st.data())
def test_packing_takes_any_bytes_and_writes_them_back(data: st.DataObject) -> None:
    good = data.draw(st.sampled_from([FORGE.packing, *PACKINGS]))
    raw = data.draw(st.binary(max_size=80)) if data.draw(st.booleans()) else spliced(data, good)
    packing = taken(lambda: read_packing(raw, Release.parse(FORGE.statement)))
    assert packing is None or packing.to_bytes() == raw


@thorough
@given(st.data())
def test_a_delta_of_any_values_names_only_what_is_listed(data: st.DataObject) -> None:
    value = mutated(data, json.loads(PACKINGS[0]))
    try:
        raw = canonical(value)
    except ValueError:
        assume(False)
        return
    release = Release.parse(FORGE.statement)
    packing = taken(lambda: read_packing(raw, release))
    if packing is None:
        return
    assert packing.to_bytes() == raw
    listed = dict(release.members())
    assert set(packing.carried(release)) <= set(listed)
    assert {f"blobs/sha256/{patch.target[7:]}" for patch in packing.patches} <= set(listed)


@thorough
@given(st.data())
def test_signature_takes_any_value(data: st.DataObject) -> None:
    value = mutated(data, json.loads(SIGNATURE))
    taken(lambda: parse_signature(json.dumps(value).encode("utf-8", "surrogatepass"), "x"))
    taken(lambda: parse_signature(spliced(data, SIGNATURE), "x"))


@thorough
@given(st.binary(min_size=1, max_size=80), st.binary(max_size=20))
def test_signature_writes_back_what_it_took(der: bytes, payload: bytes) -> None:
    raw = sigstore_bundle(der, Digest.of(payload), RELEASE.spki)
    found = parse_signature(raw, "x")
    assert isinstance(found, KeySignature)
    assert (found.signature, found.digest, found.key_hint.hex()) == (
        der,
        Digest.of(payload),
        Digest.of(RELEASE.spki).hex,
    )
    assert sigstore_bundle(found.signature, found.digest, RELEASE.spki) == raw


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_root_takes_any_value(data: st.DataObject) -> None:
    value = mutated(data, json.loads(ROOT))
    raw = json.dumps(value).encode("utf-8", "surrogatepass")
    policy = taken(lambda: TrustPolicy.from_root(raw, "root.json"))
    assert policy is None or policy.roles["release"].keys[0].spki == RELEASE.spki
    taken(lambda: TrustPolicy.from_root(spliced(data, ROOT), "root.json"))


@thorough
@given(st.data())
def test_tar_header_takes_any_fields_and_writes_them_back(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True))
    fields = {name: data.draw(st.binary(max_size=FIELDS[name][1] - FIELDS[name][0])) for name in names}
    block = header_with(MEMBER, **fields)
    header = taken(lambda: parse_header(block))
    assert header is None or tar_header(*header) == block


@thorough
@given(st.binary(min_size=512, max_size=512))
def test_tar_header_takes_any_block(block: bytes) -> None:
    header = taken(lambda: parse_header(block))
    assert header is None or tar_header(*header) == block


@thorough
@given(st.from_regex(r"[A-Za-z0-9._/-]{1,20}", fullmatch=True), st.integers(0, 2**50), st.sampled_from([0o644, 0o755]))
@example("a", 8 * 2**30, 0o644)
@example("a", 8 * 2**30 - 1, 0o755)
def test_tar_header_is_read_as_it_was_written(name: str, size: int, mode: int) -> None:
    assume(path_fault(name) is None)
    assert parse_header(tar_header(name, size, mode)) == (name, size, mode)


@thorough
@given(st.binary(max_size=3000), st.booleans())
def test_frame_is_read_as_it_was_written(content: bytes, raw: bool) -> None:
    frame = (raw_frame if raw else compress_frame)(content)
    reader = FrameReader(io.BytesIO(frame + seek_table([FrameSpan(len(frame), len(content))])))
    assert reader.read((len(content),)) == content
    reader.finish()


@thorough
@given(st.integers(0, 255), st.binary(max_size=60))
def test_frame_takes_any_flags_and_bytes(flags: int, rest: bytes) -> None:
    for frame in (zstd_frame(b"", flags=flags, size=rest, blocks=[]), rest):
        reader = FrameReader(io.BytesIO(frame))
        content = taken(reader.read)
        assert content is None or len(content) == reader.spans[0].content


@thorough
@given(st.data())
def test_frame_takes_any_change(data: st.DataObject) -> None:
    frame = compress_frame(b"sealift " * 200) if data.draw(st.booleans()) else raw_frame(bytes(range(256)))
    reader = FrameReader(io.BytesIO(spliced(data, frame)))
    content = taken(reader.read)
    assert content is None or len(content) == reader.spans[0].content


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_reader_takes_any_file(data: st.DataObject) -> None:
    raw = spliced(data, FORGE.bytes()[:2000]) + data.draw(st.binary(max_size=50))
    taken(lambda: BundleReader.from_file(io.BytesIO(raw), "x"))


@thorough
@given(st.text(max_size=90))
def test_digest_is_taken_in_one_spelling_only(text: str) -> None:
    digest = taken(lambda: Digest.parse(text))
    assert digest is None or str(digest) == text
