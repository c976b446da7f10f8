"""Registries that lie, break off or refuse in the middle: what was pulled is right, or not there and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bundler.build import Request, build
from bundler.publish import form
from bundler.publish.place import Place
from bundler.publish.referrers import Reference, attach
from bundler.writing import press
from installer.bundle.digest import Digest
from installer.bundle.release import RELEASE_TYPE, Descriptor
from installer.bundle.signature import MEDIA_TYPE
from installer.errors import SealiftError
from installer.talk import Talk
from tests.unit.bundler.layouts import LayoutMaker, make_product
from tests.unit.trust.keys import key, policy
from tests.unit.trust.media import write_key

from .cargo import MIB, layer
from .conftest import Distribution
from .doubtful import Fault, Proxy, serving
from .shelf import TAG, Shelf, files

pytestmark = pytest.mark.e2e
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ALWAYS = 1000


@pytest.fixture(scope="module")
def shared_shelf(shared_registry: Distribution, kit: Path) -> Shelf:
    """A release that lies in a registry as it should."""
    made = Shelf.at(shared_registry.address.host, kit, kit)
    made.push()
    return made


@pytest.fixture
def shelf(shared_shelf: Shelf, tmp_path: Path) -> Shelf:
    """The same, with a place of its own for what is pulled; nothing is changed in that registry."""
    return Shelf(shared_shelf.kit, shared_shelf.place, tmp_path / "out")


@pytest.fixture
def registry(shared_registry: Distribution) -> Distribution:
    """One for all, where tests that change something have repositories of their own."""
    return shared_registry


@pytest.fixture
def own(shared_registry: Distribution, shared_shelf: Shelf, tmp_path: Path) -> Shelf:
    """The release in a repository that can be changed."""
    made = Shelf.at(shared_registry.address.host, shared_shelf.kit, tmp_path / "out", f"{tmp_path.name.lower()}/board")
    made.push(mount=(shared_shelf.place.repository,))
    return made


@contextmanager
def through(shelf: Shelf, *faults: Fault) -> Iterator[Proxy]:
    """The same shelf, with something before its registry that fails."""
    before = shelf.place
    proxy = Proxy(before.reference.host, list(faults))
    with serving(proxy):
        host = proxy.url.removeprefix("http://")
        shelf.place = Place.parse(str(before).replace(before.reference.host, host), {}, plain_http=True)
        yield proxy
    shelf.place = before


def refusal(attempt: Callable[[], Any]) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        attempt()
    assert caught.value.hint
    return caught.value


def taken_back(shelf: Shelf) -> None:
    """Nothing has a final name, and pulling again from the registry itself ends well."""
    assert not (shelf.output / "board-v2.1.0").exists()
    assert files(shelf.pull().built.kit) == files(shelf.kit)
    assert [path.name for path in shelf.output.iterdir()] == ["board-v2.1.0"]


def large_blob(shelf: Shelf) -> str:
    return max((blob for image in shelf.release.images for blob in image.blobs), key=lambda blob: blob.size).digest


def program(shelf: Shelf) -> str:
    return next(file.digest for file in shelf.release.files if file.role == "program")


@pytest.mark.parametrize("which", [large_blob, program], ids=["layer", "program"])
def test_refuses_a_blob_of_another_digest(shelf: Shelf, which: Callable[[Shelf], str]) -> None:
    with through(shelf, Fault("GET", f"blobs/{which(shelf)}", "altered", ALWAYS)):
        error = refusal(shelf.pull)
    assert (error.id, int(error.exit_code)) == ("digest-mismatch", 4)
    taken_back(shelf)


def test_refuses_another_release_json_than_the_manifest_pins(shelf: Shelf) -> None:
    digest = Digest.of(shelf.statement)
    with through(shelf, Fault("GET", f"blobs/{digest}", "altered", ALWAYS)):
        assert refusal(shelf.pull).id == "digest-mismatch"
    taken_back(shelf)


def test_refuses_another_manifest_than_the_digest_says(shelf: Shelf) -> None:
    image = shelf.release.image("web")
    with through(shelf, Fault("GET", f"manifests/{image.digest}", "altered", ALWAYS)):
        assert refusal(shelf.pull).id == "digest-mismatch"
    taken_back(shelf)


def test_half_of_a_blob_is_completed_and_the_rest_is_not_sent_again(shelf: Shelf) -> None:
    with through(shelf, Fault("GET", f"blobs/{large_blob(shelf)}", "cut")) as proxy:
        assert files(shelf.pull().built.kit) == files(shelf.kit)
        asked = [headers.get("Range") for method, path, headers in proxy.seen if path.endswith(large_blob(shelf))]
    assert asked[0] is None and asked[1] is not None and int(asked[1].removeprefix("bytes=").rstrip("-")) > 0


def test_a_pull_that_broke_off_goes_on_with_what_it_has(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(press, "_BATCH", 0)  # so that of a small release, too, a part is on disk
    with through(shelf, Fault("GET", f"blobs/{last_blob(shelf)}", "reset", ALWAYS)) as proxy:
        error = refusal(shelf.pull)
        first = [path for method, path, _ in proxy.seen if method == "GET" and "/blobs/" in path]
    assert int(error.exit_code) == 9
    assert not (shelf.output / "board-v2.1.0").exists()
    with through(shelf) as proxy:
        assert files(shelf.pull().built.kit) == files(shelf.kit)
        second = [path for method, path, _ in proxy.seen if method == "GET" and "/blobs/" in path]
    layers = {blob.digest for image in shelf.release.images for blob in image.blobs}
    assert [path for path in second if path.rpartition("/")[2] in layers] == [first[-1]]


@pytest.fixture
def large(registry: Distribution, tmp_path: Path) -> Shelf:
    """A release with a layer of several frames, in a registry."""
    manifest = make_product(tmp_path / "large")
    maker = LayoutMaker(manifest.parent / "layouts/web")
    shutil.rmtree(maker.folder)
    maker.add(maker.image([layer("large", 20 * MIB)]), name="docker.io/board/web:1")
    maker.finish()
    keys = (write_key(tmp_path, "release"),)
    program = manifest.parent / "install"
    request = Request("v2.1.0", tmp_path / "large", keys=keys, installer=program, output=tmp_path / "made")
    made = build(request, lambda _: "", Talk(quiet=True)).kit
    shelf = Shelf.at(registry.address.host, made, tmp_path / "out", f"{tmp_path.name.lower()}/board")
    shelf.push()
    return shelf


@pytest.mark.parametrize("damaged", [False, True])
def test_a_pull_that_broke_off_within_a_blob_goes_on_within_it(
    large: Shelf, damaged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = large_blob(large)
    with through(large, Fault("GET", f"blobs/{digest}", "cut"), Fault("GET", f"blobs/{digest}", "reset", ALWAYS)):
        assert int(refusal(large.pull).exit_code) == 9
    if damaged:
        (left,) = (large.output / "board-v2.1.0.partial").iterdir()
        data = bytearray(left.read_bytes())
        data[-1000] ^= 1
        left.write_bytes(data)
        assert refusal(large.pull).id == "digest-mismatch"  # and that beginning is gone now
        assert not (large.output / "board-v2.1.0").exists()
    with through(large) as proxy:
        assert files(large.pull().built.kit) == files(large.kit)
        asked = [headers.get("Range", "") for _, path, headers in proxy.seen if path.endswith(digest)]
    assert asked == ([""] if damaged else [f"bytes={8 * MIB}-"])


def last_blob(shelf: Shelf) -> str:
    blobs = {blob.digest for image in shelf.release.images for blob in image.blobs}
    return max(blobs)


@pytest.mark.parametrize("kind", ["image", "other"])
def test_refuses_a_manifest_of_another_artifact_type(registry: Distribution, own: Shelf, kind: str) -> None:
    value = json.loads(own.manifest)
    value |= {"artifactType": "application/vnd.other.v1+json"} if kind == "other" else {}
    value = {name: one for name, one in value.items() if kind == "other" or name != "artifactType"}
    replaced(registry, own, value)
    error = refusal(own.pull)
    assert (error.id, int(error.exit_code)) == ("not-a-release", 3)


@pytest.mark.parametrize("change", ["layers", "annotations", "config type"])
def test_refuses_a_manifest_that_does_not_follow_from_its_release(
    registry: Distribution, own: Shelf, change: str
) -> None:
    value = json.loads(own.manifest)
    if change == "layers":
        value["layers"][0], value["layers"][1] = value["layers"][1], value["layers"][0]
    elif change == "annotations":
        value["annotations"]["org.opencontainers.image.version"] = "9.9.9"
    else:
        value["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json"
    raw = replaced(registry, own, value)
    signed = form.Attachment(
        form.SIGNATURE, "signatures/release.sigstore.json", key("release").signature_file(own.statement)
    )
    attached(registry, own, signed, form.described(raw, MANIFEST))
    error = refusal(own.pull)
    assert (error.id, int(error.exit_code)) == ("not-a-release" if change == "config type" else "artifact-spelling", 3)


def replaced(registry: Distribution, shelf: Shelf, value: dict[str, Any]) -> bytes:
    """Another manifest under the tag."""
    raw = json.dumps(value).encode()
    registry.client().put_manifest(shelf.place.repository, TAG, MANIFEST, str(Digest.of(raw)), raw)
    return raw


def attached(registry: Distribution, shelf: Shelf, what: form.Attachment, subject: Any = None) -> str:
    """Something else that refers to the release, or claims to."""
    client, repository = registry.client(), shelf.place.repository
    for data in (what.data, form.EMPTY):
        if not client.has_blob(repository, str(Digest.of(data)), len(data)):
            client.upload_blob(repository, str(Digest.of(data)), len(data), [data])
    about = subject or form.described(shelf.manifest, MANIFEST)
    raw = what.manifest(about)
    listed = about.digest if subject is None or subject.size else shelf.subject
    attach(client, repository, listed, [Reference(raw, MANIFEST, what.kind.artifact_type, "more")])
    return str(Digest.of(raw))


def test_signature_of_another_release_does_not_count_and_is_named(registry: Distribution, own: Shelf) -> None:
    stray = form.Attachment(form.SIGNATURE, "signatures/a.sigstore.json", key("release").signature_file(b"another"))
    name = attached(registry, own, stray)
    assert files(own.pull().built.kit) == files(own.kit)
    assert f"referrer {name[:19]} does not count (signature-of-another)" in own.heard.getvalue()


def test_referrer_of_another_release_does_not_count_and_is_named(registry: Distribution, own: Shelf) -> None:
    good = form.Attachment(form.SIGNATURE, "signatures/a.sigstore.json", key("a").signature_file(own.statement))
    name = attached(registry, own, good, Descriptor(media_type=MANIFEST, digest=f"sha256:{'1' * 64}", size=0))
    assert files(own.pull().built.kit) == files(own.kit)
    assert f"referrer {name[:19]} does not count (referrer-of-another)" in own.heard.getvalue()


@pytest.mark.parametrize("junk", [b"junk", b"{}", b"x" * 70_000], ids=["no-json", "no-signature", "too-large"])
def test_junk_that_refers_to_a_release_does_not_count_and_is_named(
    registry: Distribution, own: Shelf, junk: bytes
) -> None:
    attached(registry, own, form.Attachment(form.SIGNATURE, "signatures/a.sigstore.json", junk))
    assert files(own.pull().built.kit) == files(own.kit)
    assert "does not count" in own.heard.getvalue()


def test_names_of_referrers_never_become_paths(registry: Distribution, own: Shelf) -> None:
    made = key("customer").signature_file(own.statement)
    attached(registry, own, form.Attachment(form.SIGNATURE, "../../up.sigstore.json", made))
    kit = own.pull(policy=policy("customer")).built.kit
    (extra,) = files(kit).keys() - files(own.kit).keys()
    assert extra == f"signatures/attached-{Digest.of(made).hex[:16]}.sigstore.json"


def test_refuses_a_release_that_nobody_has_signed(shelf: Shelf) -> None:
    empty = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    with through(shelf, listing(shelf, empty)):
        error = refusal(shelf.pull)
    assert (error.id, int(error.exit_code)) == ("unsigned", 5)
    taken_back(shelf)


def listing(shelf: Shelf, body: bytes) -> Fault:
    """Another list of referrers."""
    tag = form.fallback_tag(shelf.subject)
    return Fault("GET", f"manifests/{tag}", "200", ALWAYS, {"Content-Type": INDEX}, body)


@pytest.mark.parametrize("kind", [MEDIA_TYPE, form.ROOT_TYPE, form.PROGRAM_SIGNATURE_TYPE, None])
def test_refuses_too_many_referrers_before_it_reads_one(shelf: Shelf, kind: str | None) -> None:
    entries = [
        {"mediaType": MANIFEST, "digest": f"sha256:{number:064}", "size": 5, **({"artifactType": kind} if kind else {})}
        for number in range(65)
    ]
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    with through(shelf, listing(shelf, body)) as proxy:
        error = refusal(shelf.pull)
        assert not [path for _, path, _ in proxy.seen if path.endswith("1")]
    assert (error.id, int(error.exit_code)) == ("referrers-too-many", 3)


def test_others_may_refer_to_a_release_as_often_as_they_like(shelf: Shelf) -> None:
    client = shelf.place.writer()
    before = json.loads(client.manifest(shelf.place.repository, form.fallback_tag(shelf.subject)) or b"")
    sbom = {"mediaType": MANIFEST, "size": 5, "artifactType": "application/spdx+json"}
    before["manifests"] += [sbom | {"digest": f"sha256:{number:064}"} for number in range(200)]
    with through(shelf, listing(shelf, json.dumps(before).encode())):
        assert files(shelf.pull().built.kit) == files(shelf.kit)


@pytest.mark.parametrize(
    "body", [b"[]", b'{"manifests":5}', b'{"manifests":[5]}', b'{"manifests":[{"digest":"x"}]}', b"\xff"]
)
def test_refuses_a_list_of_referrers_that_is_none(shelf: Shelf, body: bytes) -> None:
    with through(shelf, listing(shelf, body)):
        assert int(refusal(shelf.pull).exit_code) == 3


def test_refuses_a_huge_manifest_without_reading_it(shelf: Shelf) -> None:
    body = b'{"artifactType":"' + b"x" * (5 * 1024 * 1024) + b'"}'
    with through(shelf, Fault("GET", f"manifests/{TAG}", "200", ALWAYS, {"Content-Type": MANIFEST}, body)):
        error = refusal(shelf.pull)
    assert (error.id, int(error.exit_code)) == ("too-large", 3)


def test_refuses_a_release_json_beyond_its_cap_unread(registry: Distribution, own: Shelf) -> None:
    value = json.loads(own.manifest)
    value["config"] |= {"mediaType": RELEASE_TYPE, "size": 9 * 1024 * 1024}
    body = json.dumps(value).encode()
    with through(own, Fault("GET", f"manifests/{TAG}", "200", ALWAYS, {"Content-Type": MANIFEST}, body)) as proxy:
        assert refusal(own.pull).id == "release-too-large"
        assert not [path for _, path, _ in proxy.seen if "/blobs/" in path]


def test_redirects_end_after_a_few(shelf: Shelf) -> None:
    away = {"Location": f"/v2/{shelf.place.repository}/blobs/{large_blob(shelf)}"}
    with through(shelf, Fault("GET", f"blobs/{large_blob(shelf)}", "307", ALWAYS, away)) as proxy:
        error = refusal(shelf.pull)
        assert len([path for _, path, _ in proxy.seen if path.endswith(large_blob(shelf))]) < 20
    assert int(error.exit_code) == 9
    taken_back(shelf)


def test_redirect_to_other_content_is_refused(shelf: Shelf) -> None:
    away = {"Location": f"/v2/{shelf.place.repository}/blobs/{program(shelf)}"}
    with through(shelf, Fault("GET", f"blobs/{large_blob(shelf)}", "307", ALWAYS, away)):
        assert refusal(shelf.pull).id == "digest-mismatch"
    taken_back(shelf)


@pytest.mark.parametrize(
    ("status", "times", "ends"),
    [
        ("429", 1, ""),
        ("503", 2, ""),
        ("429", ALWAYS, "registry-unreachable"),
        ("500", ALWAYS, "registry-unreachable"),
        ("401", ALWAYS, "registry-login"),
        ("404", ALWAYS, "release-incomplete"),
    ],
)
def test_pull_meets_a_status_in_the_middle(shelf: Shelf, status: str, times: int, ends: str) -> None:
    with through(shelf, Fault("GET", f"blobs/{large_blob(shelf)}", status, times)):
        if not ends:
            assert files(shelf.pull().built.kit) == files(shelf.kit)
            return
        assert refusal(shelf.pull).id == ends
    taken_back(shelf)


@pytest.mark.parametrize("part", ["referrers/", "manifests/sha256-"])
def test_referrers_that_cannot_be_asked_for_do_not_pass_for_none(shelf: Shelf, part: str) -> None:
    with through(shelf, Fault("GET", part, "500", ALWAYS)):
        assert int(refusal(shelf.pull).exit_code) == 9
        assert int(refusal(shelf.push).exit_code) == 9, "nor is their list written anew"
    taken_back(shelf)


@pytest.mark.parametrize(
    ("method", "part", "status", "times", "ends"),
    [
        ("PUT", "blobs/uploads", "429", 1, ""),
        ("PUT", "blobs/uploads", "reset", 2, ""),
        ("PUT", "blobs/uploads", "half", 1, ""),
        ("PUT", "manifests/", "503", 1, ""),
        ("PUT", "blobs/uploads", "500", ALWAYS, "registry-refused"),
        ("PUT", "blobs/uploads", "corrupt", ALWAYS, "registry-refused"),
        ("PUT", "manifests/", "500", ALWAYS, "registry-refused"),
        ("POST", "blobs/uploads", "401", ALWAYS, "registry-login"),
        ("HEAD", "blobs/", "429", ALWAYS, "registry-unreachable"),
    ],
)
def test_push_meets_a_status_in_the_middle(
    registry: Distribution, kit: Path, tmp_path: Path, method: str, part: str, status: str, times: int, ends: str
) -> None:
    shelf = Shelf.at(registry.address.host, kit, tmp_path / "out", f"{tmp_path.name.lower()}/board")
    with through(shelf, Fault(method, part, status, times)):
        if ends:
            assert refusal(shelf.push).id == ends
        else:
            shelf.push()
    client = registry.client()
    assert (client.manifest_digest(shelf.place.repository, TAG) is None) == bool(ends)
    shelf.push()
    assert files(shelf.pull().built.kit) == files(shelf.kit)


def test_release_that_is_not_there_is_named(shelf: Shelf) -> None:
    shelf.place = Place.parse(f"oci://{shelf.place.reference.host}/no/where:{TAG}", {})
    error = refusal(shelf.pull)
    assert (error.id, int(error.exit_code)) == ("release-not-found", 2)


@pytest.mark.parametrize(
    "text", ["board:1", "oci://board:1", "oci://host/board", "oci://host/Board:1", "oci://h/b:" + "x" * 200]
)
def test_place_that_leaves_something_out_is_refused(text: str) -> None:
    assert refusal(lambda: Place.parse(text, {})).id == "bad-option"


def test_strangers_are_refused_before_any_content_is_fetched(shelf: Shelf) -> None:
    with through(shelf) as proxy:
        error = refusal(lambda: shelf.pull(policy=policy("somebody")))
        fetched = {path.rpartition("/")[2] for method, path, _ in proxy.seen if method == "GET"}
    assert (error.id, int(error.exit_code)) == ("no-valid-signature", 5)
    assert not fetched & {file.digest for file in shelf.release.files}
    with pytest.raises(SealiftError) as caught:
        shelf.push(policy=policy("somebody"))
    assert caught.value.id == "no-valid-signature"


def test_altered_media_are_not_pushed(registry: Distribution, kit: Path, tmp_path: Path) -> None:
    shelf = Shelf.at(registry.address.host, tmp_path / kit.name, tmp_path / "out", "altered/board")
    shelf.kit.mkdir()
    bundle = next(kit.glob("*.bundle.tar.zst"))
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    (shelf.kit / bundle.name).write_bytes(data)
    assert int(refusal(shelf.push).exit_code) in (3, 4)
    assert registry.client().manifest_digest(shelf.place.repository, TAG) is None


def test_lines_that_others_write_at_the_same_moment_are_not_lost(
    registry: Distribution, own: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, repository, tag = registry.client(), own.place.repository, form.fallback_tag(own.subject)
    before = json.loads(client.manifest(repository, tag) or b"")
    before["manifests"].append({**before["manifests"][0], "artifactType": "application/spdx+json"})
    theirs, put, times = json.dumps(before).encode(), client.put_manifest, 0

    def racing(where: str, name: str, *more: Any) -> bool:
        nonlocal times
        done = put(where, name, *more)
        if name == tag and not times:
            times += 1
            put(where, name, INDEX, str(Digest.of(theirs)), theirs)  # and ours is gone again
        return done

    monkeypatch.setattr(client, "put_manifest", racing)
    made = form.Attachment(form.SIGNATURE, "signatures/a.sigstore.json", key("a").signature_file(own.statement))
    client.upload_blob(repository, str(Digest.of(made.data)), len(made.data), [made.data])
    raw = made.manifest(form.described(own.manifest, MANIFEST))
    attach(client, repository, own.subject, [Reference(raw, MANIFEST, MEDIA_TYPE, "a")])
    listed = json.loads(client.manifest(repository, tag) or b"")["manifests"]
    assert times == 1 and listed[:-1] == before["manifests"] and listed[-1]["digest"] == str(Digest.of(raw))
    assert "signatures/a.sigstore.json" in files(own.pull().built.kit)
