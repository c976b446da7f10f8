"""``bundle push`` and ``bundle pull`` against real registries: CNCF Distribution 2.8 and 3."""

from __future__ import annotations

import base64
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from bundler.build import Request, build
from bundler.delta.holdings import Holdings
from bundler.media.pack import pack
from bundler.publish.place import Place
from bundler.signing.countersign import countersign, read_subject
from bundler.verification import verify_media
from installer.bundle.archive import locate_bundle
from installer.errors import SealiftError
from installer.talk import Talk
from tests import editions
from tests.unit.bundler.layouts import make_product
from tests.unit.trust.keys import key, policy
from tests.unit.trust.media import make_kit, write_key
from tests.unit.trust.roots import root, trusted
from tests.vectors.forge import RELEASE

from .authority import Authority
from .cargo import MIB, layer
from .cargo import digest as named
from .conftest import LOGIN, PROGRAM, QUICK, Distribution, Start
from .distribution3 import distribution3
from .doubtful import TokenService, serving
from .pulling import docker_config
from .shelf import TAG, Shelf, copy_of, files

pytestmark = pytest.mark.e2e
QUIET = Talk(quiet=True)
BOTH = policy("release", "colleague", threshold=2)


@pytest.fixture(params=["2.8", "3"])
def any_registry(request: pytest.FixtureRequest, start_registry: Start, wide_cache: Path) -> Distribution:
    """Either generation of Distribution."""
    if request.param == "3":
        return start_registry(program=str(distribution3(wide_cache)))
    return start_registry()


@pytest.fixture
def shelf(registry: Distribution, kit: Path, tmp_path: Path) -> Shelf:
    return Shelf.at(registry.address.host, kit, tmp_path / "out")


def test_what_is_pulled_is_what_was_built_and_a_second_push_sends_nothing(
    any_registry: Distribution, kit: Path, tmp_path: Path
) -> None:
    shelf = Shelf.at(any_registry.address.host, kit, tmp_path / "out")
    first = shelf.push()
    assert first.manifest == shelf.subject and first.sent and first.added == len(first.attached) + 1
    assert files(shelf.pull().built.kit) == files(kit)
    stored = sorted((any_registry.folder / "data").rglob("*"))
    second = shelf.push()
    assert (second.manifest, second.sent, second.shared, second.added) == (first.manifest, 0, 0, 0)
    assert sorted((any_registry.folder / "data").rglob("*")) == stored, "not even an upload was begun"


def test_countersignature_comes_along_alone_and_counts_where_it_is_pulled(
    any_registry: Distribution, kit: Path, tmp_path: Path
) -> None:
    mine = copy_of(kit, tmp_path)
    shelf = Shelf.at(any_registry.address.host, mine, tmp_path / "out")
    before = shelf.push()
    countersign(read_subject(mine), key("customer"))
    after = shelf.push()
    assert (after.manifest, after.sent, after.added) == (before.manifest, 0, 2)  # over the release, over the program
    pulled = shelf.pull(policy=policy("customer"))
    assert [signer.name for signer in pulled.signers or ()] == ["customer"]
    everybody = policy("release", "colleague", "customer", threshold=3, installer=("customer",))
    verify_media(pulled.built.kit, everybody, QUIET, demands_program=True)


def test_same_release_has_the_same_manifest_whoever_signed_it(
    registry: Distribution, kit: Path, tmp_path: Path
) -> None:
    other = make_kit(tmp_path / "again", "somebody")
    one = Shelf.at(registry.address.host, kit, tmp_path / "out")
    two = Shelf.at(registry.address.host, other, tmp_path / "out", "elsewhere/board")
    assert one.statement == two.statement
    assert one.push().manifest == two.push().manifest


def test_release_is_pulled_by_digest_and_in_parts(shelf: Shelf, tmp_path: Path) -> None:
    shelf.push()
    shelf.place = Place.parse(f"oci://{shelf.place.reference.host}/releases/board@{shelf.subject}", {})
    pulled = shelf.pull(part_size=4 * 1024)
    parts = sorted(pulled.built.kit.glob("*.bundle.tar.zst.[0-9]*"))
    assert len(parts) == pulled.built.parts > 2
    assert b"".join(part.read_bytes() for part in parts) == locate_bundle(shelf.kit).read_bytes()
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=pulled.built.kit, check=True)
    verify_media(pulled.built.kit, BOTH, QUIET)


def test_blobs_of_other_repositories_are_shared_not_sent(registry: Distribution, shelf: Shelf) -> None:
    client, images = registry.client(), {image.name: image for image in shelf.release.images}
    contents = {path.name: path for path in (shelf.kit.parents[1] / "manifests").rglob("blobs/sha256/*")}
    there = [
        ("board/web", images["web"].blobs),
        ("releases/worker", images["worker"].blobs),
        ("old/x", images["edge-haproxy"].blobs),
    ]
    for repository, blobs in there:
        for blob in blobs:
            client.upload_blob(repository, blob.digest, blob.size, [contents[blob.digest[7:]].read_bytes()])
    pushed = shelf.push(mount=("old/x",))
    assert pushed.shared == len({blob.digest for _, blobs in there for blob in blobs})
    assert pushed.sent == len(b"".join({file.digest: b"x" * file.size for file in shelf.release.files}.values()))
    assert files(shelf.pull().built.kit) == files(shelf.kit)


def test_newer_roots_come_along(registry: Distribution, tmp_path: Path) -> None:
    old, new = root(1, "old", product="board"), root(2, "release", product="board")
    (tmp_path / "2.root.json").write_bytes(new)
    (tmp_path / "1.root.json").write_bytes(old)
    manifest = make_product(tmp_path)
    request = Request(
        "v2.1.0",
        tmp_path,
        keys=(write_key(tmp_path, "release"),),
        installer=manifest.parent / "install",
        output=tmp_path / "made",
        roots=(tmp_path / "1.root.json", tmp_path / "2.root.json"),
    )
    shelf = Shelf.at(registry.address.host, build(request, lambda _: "", QUIET).kit, tmp_path / "out")
    shelf.push()
    pulled = shelf.pull(policy=trusted(old))
    assert [signer.name for signer in pulled.signers or ()] == ["release"]
    assert files(pulled.built.kit) == files(shelf.kit)


def test_tag_that_holds_something_else_moves_only_by_force(shelf: Shelf, tmp_path: Path) -> None:
    shelf.push()
    other = Shelf(make_kit(tmp_path / "other", "release"), shelf.place, tmp_path / "out")
    notes = tmp_path / "other/manifests/board/UPGRADE.md"
    notes.write_text("another release\n")
    request = Request(
        "v2.1.0",
        tmp_path / "other",
        keys=(tmp_path / "other/release.key",),
        installer=notes.parent / "install",
        output=tmp_path / "other/out",
        force=True,
    )
    build(request, lambda _: "", QUIET)
    with pytest.raises(SealiftError) as caught:
        other.push()
    assert caught.value.id == "output-exists"
    assert shelf.pull().manifest == shelf.subject
    assert other.push(force=True).manifest == other.subject != shelf.subject
    with pytest.raises(SealiftError) as caught:
        other.pull()
    assert caught.value.id == "output-exists", "nor is what was pulled replaced by another release"


def test_garbage_collection_takes_nothing_although_the_tag_moves_on(registry: Distribution, shelf: Shelf) -> None:
    shelf.push()
    client, repository = registry.client(), shelf.place.repository
    web = shelf.release.image("web")
    manifest = client.manifest(repository, web.digest) or b""
    client.put_manifest(repository, TAG, web.manifests[-1].media_type, web.digest, manifest)
    registry.stop()
    command = [PROGRAM, "garbage-collect", "--delete-untagged", str(registry.folder / "config.yml")]
    subprocess.run(command, check=True, capture_output=True)
    registry.start_again()
    shelf.place = Place.parse(f"oci://{registry.address.host}/{repository}@{shelf.subject}", {})
    assert files(shelf.pull().built.kit) == files(shelf.kit)


def test_logins_authorities_and_proxies_are_those_of_pulls(
    start_registry: Start,
    password_config: dict[str, Any],
    authority: Authority,
    kit: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tls = {"http": {"tls": {"certificate": str(authority.server), "key": str(authority.key)}}}
    registry = start_registry(password_config | tls, ca=authority.certificate)
    shelf = Shelf.at(registry.address.host, kit, tmp_path / "out")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    assert refused(shelf) == ("registry-unreachable", True)  # whoever signed that certificate is a stranger
    shelf.place = Place.parse(str(shelf.place), {}, ca=authority.certificate)
    assert refused(shelf) == ("registry-login", True)
    for name, value in docker_config(tmp_path / "docker", registry.address.host, LOGIN).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    shelf.push()
    assert files(shelf.pull().built.kit) == files(kit)


def refused(shelf: Shelf) -> tuple[str, bool]:
    """How pushing and pulling are refused, and whether alike."""
    found = []
    for attempt in (shelf.push, shelf.pull):
        with pytest.raises(SealiftError) as caught:
            attempt()
        found.append(caught.value)
    assert all(error.hint for error in found)
    return found[0].id, found[0].id == found[1].id


def test_large_release_passes_in_pieces(registry: Distribution, tmp_path: Path) -> None:
    """Blobs of several uploads at a time, none of them in memory as a whole."""
    manifest = make_product(tmp_path)
    (manifest.parent / "helper").write_bytes(layer("a tool", 20 * MIB))
    request = Request(
        "v2.1.0",
        tmp_path,
        keys=(write_key(tmp_path, "release"),),
        installer=manifest.parent / "install",
        output=tmp_path / "made",
    )
    shelf = Shelf.at(registry.address.host, build(request, lambda _: "", QUIET).kit, tmp_path / "out")
    assert shelf.push(patience=QUICK).sent > 20 * MIB
    assert files(shelf.pull().built.kit) == files(shelf.kit)
    assert named((shelf.output / "board-v2.1.0/install").read_bytes()) == named((shelf.kit / "install").read_bytes())


def test_delta_is_pushed_where_the_registry_has_what_it_leaves_out(registry: Distribution, tmp_path: Path) -> None:
    shared = [editions.layer(editions.tree(2, files=10))]
    old, new = (
        editions.write(editions.edition(version, {"web": shared}), tmp_path / version) for version in ("2.0.0", "2.1.0")
    )
    delta = pack(new, tmp_path / "delta", None, QUIET, [Holdings.of_bundle(old)])
    assert delta.delta is not None
    shelf = Shelf.at(registry.address.host, delta.kit, tmp_path / "out")
    with pytest.raises(SealiftError) as caught:
        shelf.push()
    assert (caught.value.id, int(caught.value.exit_code)) == ("incomplete", 4)
    assert registry.client().manifest_digest(shelf.place.repository, TAG) is None
    whole = Shelf(old, Place.parse(str(shelf.place).replace(TAG, "v2.0.0"), {}), tmp_path / "out")
    whole.push()
    assert shelf.push().release.version == "2.1.0"
    pulled = shelf.pull(policy=RELEASE.policy).built
    assert verify_media(pulled.kit, RELEASE.policy, QUIET).verified.digest == delta.digest


def test_identity_token_of_a_login_is_exchanged_for_the_right_to_push(
    authority: Authority, start_registry: Start, kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    service = TokenService(authority.private, certificate, LOGIN.basic)
    with serving(service):
        settings = {"realm": service.realm, "service": "shelf", "issuer": "test"}
        token = {"auth": {"token": {**settings, "rootcertbundle": str(authority.certificate)}}}
        shelf = Shelf.at(start_registry(token).address.host, kit, tmp_path / "out")
        host = shelf.place.reference.host
        for text, ends in (("wrong", "registry-login"), (service.identity, "")):
            entry = {"auth": base64.b64encode(b"<token>:").decode(), "identitytoken": text}
            for name, value in docker_config(tmp_path / "docker", host, auths={host: entry}).items():
                monkeypatch.setenv(name, value)
            if ends:
                assert refused(shelf) == (ends, True)
                continue
            shelf.push()
            # The registry asks for both in either order.
            assert any({"pull", "push"} <= set(re.split("[:, ]", scope)) for scope in service.given)
            assert files(shelf.pull().built.kit) == files(kit)
