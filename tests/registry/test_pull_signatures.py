"""Signatures and attestations of others, made by the real cosign, travel and hold in another registry, offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from docker import DockerClient

from bundler.build import Request, build
from bundler.built import Built
from bundler.signing.sign import generate
from installer.bundle.archive import BundleReader
from installer.bundle.content import Sink
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import check_content, verify_release
from installer.errors import SealiftError
from installer.registry.fill import fill_registry
from installer.registry.images import relocate
from installer.registry.load import missing_blobs
from installer.talk import Talk
from tests.unit.bundler.layouts import RECIPE, make_product

from .conftest import Distribution, Start
from .doubtful import Fault, Proxy, serving
from .pulling import Pull, Pushed

pytestmark = pytest.mark.e2e
NO_LOG = ("--use-signing-config=false", "--tlog-upload=false")
OLD = ("--new-bundle-format=false", *NO_LOG)
OFFLINE = ("--insecure-ignore-tlog=true", "--allow-http-registry")


@dataclass(frozen=True)
class Cosign:
    """The tool of the vendor upstream, with a key, and nobody but loopback addresses to talk to."""

    home: Path

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        nobody = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
        environment = os.environ | nobody | {"HOME": str(self.home), "COSIGN_PASSWORD": "word"}
        return subprocess.run(
            ["cosign", *words], cwd=self.home, env=environment, capture_output=True, text=True, timeout=60
        )

    def do(self, *words: str) -> None:
        done = self(*words)
        assert done.returncode == 0, f"{words}: {done.stderr}"

    def sign(self, image: str, *how: str) -> None:
        self.do("sign", "--yes", "--key", "cosign.key", "--allow-http-registry", *how, image)

    def attest(self, image: str, *how: str) -> None:
        (self.home / "predicate").write_text('{"built": "by upstream"}')
        self.do(
            "attest", "--yes", "--key", "cosign.key", "--predicate", "predicate", "--allow-http-registry", *how, image
        )

    def accepts(self, image: str, *how: str, verb: str = "verify", key: str = "cosign.pub") -> bool:
        return self(verb, "--key", key, *OFFLINE, *how, image).returncode == 0


@pytest.fixture(scope="module")
def cosign(tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    """With ``cosign.key`` and a stranger's ``other.key``."""
    tool = Cosign(tmp_path_factory.mktemp("home"))
    tool.do("generate-key-pair")
    tool.do("generate-key-pair", "--output-key-prefix", "other")
    return tool


@pytest.fixture
def pushed(tmp_path: Path, registry: Distribution) -> Pushed:
    found = Pushed.make(tmp_path / "layout")
    found.push(f"{registry.address.host}/acme/web:2.1.0")
    return found


def built(root: Path, registry: Distribution, index: str = "platform") -> tuple[Built, Path]:
    """A release whose image ``web`` comes from the registry with what lies beside it; and its public key."""
    manifest = make_product(root)
    source = f'"docker://{registry.address.host}/acme/web:2.1.0", signatures: true, index: {index}'
    manifest.write_text(RECIPE.replace('"oci:layouts/web"', source))
    generate(root, "release", "word")
    request = Request("v2.1.0", root, keys=(root / "release.key",), installer=manifest.parent / "install")
    return build(request, lambda _: "word", Talk(quiet=True)), root / "release.pub"


def load(made: Built, key: Path, target: Distribution) -> str:
    """Verify the bundle and fill a registry as the site does; returns the reference of ``web`` there."""
    policy = TrustPolicy.from_key(key.read_bytes(), "release")
    with BundleReader(made.bundle) as reader:
        release = verify_release(reader, policy).release

    def read(sink: Sink, _: bool) -> None:
        with BundleReader(made.bundle) as reader:
            check_content(reader, verify_release(reader, policy), [sink])

    client = target.client()
    fill_registry(client, release, read, print)
    assert missing_blobs(client, release) == set()
    references = relocate(release, target.address)
    assert set(references) == {"web", "worker"}
    return references["web"]


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "product"


def test_signatures_of_both_kinds_and_attestations_hold_at_the_site(
    pushed: Pushed, registry: Distribution, start_registry: Start, cosign: Cosign, at_home: Path
) -> None:
    upstream = f"{registry.address.host}/acme/web@{pushed.digests['amd64']}"
    cosign.sign(upstream, *OLD)
    cosign.sign(upstream, *NO_LOG)
    cosign.attest(upstream, *NO_LOG)
    made, key = built(at_home, registry)
    names = [image.reference for image in made.assembly.release.images if image.name.startswith("beside-")]
    tag = f"web:sha256-{pushed.digests['amd64'][7:]}"
    assert sorted(names) == [tag, f"{tag}.sig"]
    site = start_registry()
    registry.stop()
    image = load(made, key, site)
    assert image.endswith(pushed.digests["amd64"])
    assert cosign.accepts(image, "--new-bundle-format=false")
    assert cosign.accepts(image)
    assert cosign.accepts(image, "--type=custom", verb="verify-attestation")
    assert not cosign.accepts(image, key="other.pub")
    assert not cosign.accepts(image, "--new-bundle-format=false", key="other.pub")
    assert not cosign.accepts(image.replace("/web@", "/worker@"))


def test_signature_over_an_index_holds_where_the_index_is_kept(
    pushed: Pushed, registry: Distribution, start_registry: Start, cosign: Cosign, at_home: Path
) -> None:
    cosign.sign(f"{registry.address.host}/acme/web@{pushed.digests['index']}", *NO_LOG)
    with pytest.raises(SealiftError) as caught:
        built(at_home, registry)
    assert caught.value.id == "signature-not-found"
    assert "index: keep" in caught.value.hint
    (at_home / "release.key").unlink()
    (at_home / "release.pub").unlink()
    made, key = built(at_home, registry, "keep")
    site = start_registry()
    image = load(made, key, site)
    assert image.endswith(pushed.digests["index"])
    assert cosign.accepts(image)


def test_engine_pulls_a_kept_index_by_its_digest(
    pushed: Pushed, registry: Distribution, start_registry: Start, cosign: Cosign, at_home: Path, engine: DockerClient
) -> None:
    cosign.sign(f"{registry.address.host}/acme/web@{pushed.digests['index']}", *NO_LOG)
    made, key = built(at_home, registry, "keep")
    image = load(made, key, start_registry())
    found = engine.images.pull(image)
    try:
        assert found.attrs["Architecture"] == "amd64"
        assert image in found.attrs["RepoDigests"]
    finally:
        engine.images.remove(image)


def test_image_without_signatures_is_refused_where_they_are_asked_for(
    pushed: Pushed, registry: Distribution, at_home: Path
) -> None:
    with pytest.raises(SealiftError) as caught:
        built(at_home, registry)
    assert caught.value.id == "signature-not-found"


def test_layout_lists_images_alone_and_the_auditors_verifier_agrees(
    pushed: Pushed, registry: Distribution, cosign: Cosign, at_home: Path, repository: Path
) -> None:
    cosign.sign(f"{registry.address.host}/acme/web@{pushed.digests['amd64']}", *NO_LOG)
    made, key = built(at_home, registry)
    audit: list[str | Path] = [sys.executable, repository / "docs/audit/verify_bundle.py", "--key", key, made.bundle]
    judged = subprocess.run(audit, capture_output=True, text=True)
    assert judged.returncode == 0, judged.stderr
    done = subprocess.run(["tar", "--zstd", "-xOf", made.bundle, "index.json"], capture_output=True, check=True)
    assert len(json.loads(done.stdout)["manifests"]) == 3


def test_referrers_that_a_registry_lists_itself_are_the_same(
    pushed: Pushed, registry: Distribution, cosign: Cosign
) -> None:
    """Distribution has no such list, so the proxy before it gives what others would."""
    from bundler.collect.beside import collect_beside

    digest = pushed.digests["amd64"]
    cosign.sign(f"{registry.address.host}/acme/web@{digest}", *NO_LOG)
    cosign.attest(f"{registry.address.host}/acme/web@{digest}", *NO_LOG)
    pull = Pull()
    direct = pull.store(f"{registry.address.host}/acme/web:2.1.0")
    found = collect_beside(direct, pull.take(f"{registry.address.host}/acme/web:2.1.0"))
    fallback = direct.fetch(f"sha256-{digest[7:]}")
    assert fallback is not None
    value = json.loads(fallback.raw)
    body = json.dumps(value | {"manifests": value["manifests"][::-1]}).encode()
    kind = {"Content-Type": "application/vnd.oci.image.index.v1+json", "Content-Length": str(len(body))}
    with serving(proxy := Proxy(registry.address.host, [Fault("GET", "/referrers/", "200", 1, kind, body)])):
        host = proxy.url.removeprefix("http://")
        listed = collect_beside(pull.store(f"{host}/acme/web:2.1.0"), pull.take(f"{host}/acme/web:2.1.0"))
    assert [one.image for one in listed] == [one.image for one in found]
