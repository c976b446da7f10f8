"""Images out of real registries, on good days and bad ones: byte for byte, or refused in words of ours."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundler.collect.registry.session import Session
from installer.errors import SealiftError

from .authority import Authority
from .cargo import MIB
from .conftest import Distribution, Start
from .doubtful import Fault, Proxy, serving
from .pulling import LARGE, QUICK, Pull, Pushed, content

pytestmark = pytest.mark.e2e
NOWHERE = "sha256:" + "0" * 64


@pytest.fixture
def pushed(tmp_path: Path, registry: Distribution) -> Pushed:
    """An image in a registry that lets everybody in."""
    found = Pushed.make(tmp_path / "layout")
    found.push(f"{registry.address.host}/acme/web:1")
    return found


@pytest.fixture
def before(registry: Distribution) -> Iterator[Any]:
    """Puts a proxy with faults before the registry; gives the proxy and its ``host:port``."""
    with ExitStack() as stack:

        def start(*faults: Fault) -> tuple[Proxy, str]:
            proxy = Proxy(registry.address.host, list(faults))
            stack.enter_context(serving(proxy))
            return proxy, proxy.url.removeprefix("http://")

        yield start


def refused(reference: str, pull: Pull | None = None) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        (pull or Pull()).read(reference)
    return caught.value


def test_takes_the_platforms_manifest_or_the_whole_index_byte_for_byte(pushed: Pushed, registry: Distribution) -> None:
    place = f"{registry.address.host}/acme/web"
    found = Pull().read(f"{place}:1")
    assert found.image.digest == pushed.digests["amd64"]
    kept = Pull().read(f"{place}:1", index="keep")
    listed = [part.digest for part in kept.image.manifests]
    assert listed == [pushed.digests[name] for name in ("amd64", "arm64", "index")]
    for digest in (pushed.digests["index"], pushed.digests["amd64"]):
        assert Pull().read(f"{place}@{digest}").image.digest == pushed.digests["amd64"]


def test_each_blob_is_asked_for_once(pushed: Pushed, registry: Distribution) -> None:
    Pull().read(f"{registry.address.host}/acme/web:1")
    asked = [line.split('"')[1].split()[1] for line in registry.requests("GET", "/acme/web/")]
    assert len(asked) == len(set(asked)) == 4  # index, manifest, configuration, layer


def test_nothing_is_read_before_it_is_written(pushed: Pushed, registry: Distribution) -> None:
    Pull().take(f"{registry.address.host}/acme/web:1")
    assert not registry.requests("GET", pushed.digests["large"])


def test_what_is_not_there_is_refused(pushed: Pushed, registry: Distribution) -> None:
    for name in ("acme/web:2", "acme/other:1", f"acme/web@{NOWHERE}"):
        assert refused(f"{registry.address.host}/{name}").id == "image-not-found"


def test_moved_tag_is_named_and_the_pin_is_taken(pushed: Pushed, registry: Distribution, tmp_path: Path) -> None:
    place = f"{registry.address.host}/acme/web:1"
    pull = Pull(heard=io.StringIO())
    pull.read(f"{place}@{pushed.digests['index']}")
    assert pull.heard.getvalue() == ""
    newer = Pushed.make(tmp_path / "newer", b"another layer")
    newer.push(place)
    found = pull.read(f"{place}@{pushed.digests['index']}")
    assert found.image.digest == pushed.digests["amd64"]
    assert f"the tag 1 is {newer.digests['index']} now" in pull.heard.getvalue()
    assert newer.digests["index"] in refused(f"{place}@{NOWHERE}").message


def test_checking_finds_a_missing_blob_and_pulls_none(pushed: Pushed, registry: Distribution) -> None:
    store = Pull().store(f"{registry.address.host}/acme/web:1")
    store.check([pushed.digests["large"]])
    with pytest.raises(SealiftError) as caught:
        store.check([pushed.digests["large"], NOWHERE])
    assert caught.value.id == "image-not-found"
    assert not registry.requests("GET", pushed.digests["large"])


def test_broken_stream_goes_on_where_it_broke(pushed: Pushed, before: Any) -> None:
    proxy, host = before(Fault("GET", pushed.digests["large"], "cut", 3))
    found = Pull().read(f"{host}/acme/web:1")
    assert found.image.digest == pushed.digests["amd64"]
    ranges = [headers.get("Range") for _, path, headers in proxy.seen if pushed.digests["large"] in path]
    starts = [int(one.removeprefix("bytes=").rstrip("-")) for one in ranges if one]
    assert ranges[0] is None
    assert len(starts) == 3
    assert starts == sorted(set(starts))
    assert starts[0] >= MIB


def test_registry_that_comes_back_within_patience_is_forgiven(pushed: Pushed, before: Any) -> None:
    large = pushed.digests["large"]
    once_asked = 1 + Pull().patience.retries
    _, host = before(Fault("GET", large, "cut", 1), Fault("GET", large, "reset", 2 * once_asked))
    Pull().read(f"{host}/acme/web:1")


def test_registry_that_does_not_come_back_is_refused(pushed: Pushed, before: Any) -> None:
    large = pushed.digests["large"]
    _, host = before(Fault("GET", large, "cut", 1), Fault("GET", large, "reset", 99))
    error = refused(f"{host}/acme/web:1")
    assert (error.id, error.exit_code) == ("registry-unreachable", 9)


def test_stream_that_gets_nowhere_is_refused(pushed: Pushed, before: Any) -> None:
    half = Fault("GET", pushed.digests["large"], "200", 99, {"Content-Length": str(len(LARGE))}, b"x")
    _, host = before(half)
    error = refused(f"{host}/acme/web:1", Pull(patience=replace(QUICK, answer=0.2, retries=1)))
    assert error.id == "registry-cut-off"


def test_registry_without_ranges_is_read_anew_and_what_we_have_is_passed_over(pushed: Pushed, before: Any) -> None:
    large = pushed.digests["large"]
    whole = Fault("GET", large, "200", 1, {"Content-Length": str(len(LARGE))}, LARGE)
    _, host = before(Fault("GET", large, "cut", 1), whole)
    Pull().read(f"{host}/acme/web:1")


@pytest.mark.parametrize("status", ["429", "500", "502", "503", "504"])
def test_busy_registry_is_asked_again(pushed: Pushed, before: Any, status: str) -> None:
    patience = {"Retry-After": "0"}
    _, host = before(Fault("GET", "/manifests/", status, 2, patience), Fault("GET", "/blobs/", status, 2, patience))
    Pull().read(f"{host}/acme/web:1")


def test_retry_after_is_honoured(pushed: Pushed, before: Any) -> None:
    proxy, host = before(Fault("GET", "/manifests/", "429", 1, {"Retry-After": "1"}))
    pull = Pull()
    naps: list[float] = []
    store = pull.store(f"{host}/acme/web:1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("urllib3.util.retry.time.sleep", naps.append)
        store.entry()
    assert naps == [1.0]
    assert len(proxy.seen) >= 2


@pytest.mark.parametrize("status", ["429", "500", "503"])
def test_registry_that_stays_busy_is_refused_with_its_own_words(pushed: Pushed, before: Any, status: str) -> None:
    _, host = before(Fault("GET", "/manifests/", status, 99, {"Retry-After": "1"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("urllib3.util.retry.time.sleep", lambda _: None)
        error = refused(f"{host}/acme/web:1")
    assert error.id == "registry-unreachable"
    assert f"status {status} and asks for patience (1)" in error.message


def test_other_refusals_are_named(pushed: Pushed, before: Any) -> None:
    _, host = before(Fault("GET", "/manifests/", "418", 1))
    assert refused(f"{host}/acme/web:1").id == "registry-refused"


def test_old_schema_1_is_refused_with_the_way_out(pushed: Pushed, before: Any) -> None:
    body = b'{"schemaVersion":1,"fsLayers":[],"history":[]}'
    headers = {"Content-Type": "application/vnd.docker.distribution.manifest.v1+prettyjws"}
    _, host = before(Fault("GET", "/manifests/1", "200", 1, headers | {"Content-Length": str(len(body))}, body))
    error = refused(f"{host}/acme/web:1")
    assert error.id == "source-unsupported"
    assert "schema 1" in error.message


def test_altered_manifest_is_refused(pushed: Pushed, before: Any) -> None:
    _, host = before(Fault("GET", "/manifests/sha256:", "altered", 1))
    assert refused(f"{host}/acme/web:1").id == "digest-mismatch"


def test_manifest_cut_in_half_is_refused(pushed: Pushed, before: Any) -> None:
    _, host = before(Fault("GET", "/manifests/1", "cut", 1))
    assert refused(f"{host}/acme/web:1").id == "registry-cut-off"


def test_manifest_beyond_all_measure_is_not_taken_into_memory(pushed: Pushed, before: Any) -> None:
    body = b" " * (5 * MIB)
    _, host = before(Fault("GET", "/manifests/1", "200", 1, {"Content-Length": str(len(body))}, body))
    assert refused(f"{host}/acme/web:1").id == "too-large"


def test_blob_of_another_size_is_refused_before_it_is_read(pushed: Pushed, before: Any) -> None:
    _, host = before(Fault("GET", pushed.digests["large"], "200", 1, {"Content-Length": "5"}, b"12345"))
    assert refused(f"{host}/acme/web:1").id == "digest-mismatch"


def test_mirror_is_asked_first_and_the_registry_not_at_all(pushed: Pushed, registry: Distribution, before: Any) -> None:
    proxy, host = before()
    pull = Pull({host: {"mirrors": [registry.address.host]}})
    assert pull.read(f"{host}/acme/web:1").image.digest == pushed.digests["amd64"]
    assert [path for _, path, _ in proxy.seen if "acme" in path] == []


def test_mirror_may_keep_it_elsewhere(pushed: Pushed, registry: Distribution) -> None:
    pull = Pull({"hub.example": {"mirrors": [f"{registry.address.host}/acme"]}})
    assert pull.read("hub.example/web:1").image.reference == "fallback/web:1"


def test_mirror_that_fails_is_named_and_the_registry_asked(pushed: Pushed, registry: Distribution, before: Any) -> None:
    _, broken = before(
        Fault("GET", pushed.digests["large"], "cut", 1), Fault("GET", pushed.digests["large"], "403", 99)
    )
    pull = Pull({registry.address.host: {"mirrors": ["127.0.0.1:1", broken]}})
    found = pull.take(f"{registry.address.host}/acme/web:1")
    assert content(found, pushed.digests["large"]) == pushed.digests["large"]
    assert "mirror 127.0.0.1:1" in pull.heard.getvalue()
    assert f"mirror {broken}" in pull.heard.getvalue()


def test_nobody_there_is_said(free_port: Any) -> None:
    error = refused(f"127.0.0.1:{free_port()}/acme/web:1")
    assert error.id == "registry-unreachable"
    assert "nothing accepts a connection" in error.message


@pytest.fixture
def secure(start_registry: Start, authority: Authority, tmp_path: Path) -> tuple[Distribution, Pushed]:
    """A registry with a certificate of a private authority, and an image in it."""
    tls = {"http": {"tls": {"certificate": str(authority.server), "key": str(authority.key)}}}
    registry = start_registry(tls, ca=authority.certificate)
    pushed = Pushed.make(tmp_path / "layout")
    pushed.push(f"{registry.address.host}/acme/web:1")
    return registry, pushed


def test_private_authority_is_trusted_where_the_manifest_names_it(
    secure: tuple[Distribution, Pushed], authority: Authority
) -> None:
    registry, pushed = secure
    pull = Pull({registry.address.host: {"ca": str(authority.certificate)}})
    assert pull.read(f"{registry.address.host}/acme/web:1").image.digest == pushed.digests["amd64"]


def test_private_authority_is_trusted_where_the_engine_trusts_it(
    secure: tuple[Distribution, Pushed], authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, _ = secure
    folder = tmp_path / "certs.d" / registry.address.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(authority.certificate.read_bytes())
    monkeypatch.setattr("bundler.collect.registry.hosts.CERTS_D", (tmp_path / "certs.d",))
    Pull().read(f"{registry.address.host}/acme/web:1")


def test_shows_the_certificate_that_the_engine_would_show(
    start_registry: Start, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {"certificate": str(authority.server), "key": str(authority.key)}
    registry = start_registry(
        {"http": {"tls": {**ours, "clientcas": [str(authority.certificate)]}}}, ca=authority.certificate
    )
    folder = tmp_path / "certs.d" / registry.address.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(authority.certificate.read_bytes())
    monkeypatch.setattr("bundler.collect.registry.hosts.CERTS_D", (tmp_path / "certs.d",))
    assert refused(f"{registry.address.host}/acme/web:1").id == "registry-unreachable"
    (folder / "ours.cert").write_bytes(authority.server.read_bytes())
    (folder / "ours.key").write_bytes(authority.key.read_bytes())
    assert refused(f"{registry.address.host}/acme/web:1").id == "image-not-found"
    (folder / "ours.key").unlink()
    assert refused(f"{registry.address.host}/acme/web:1").id == "certificate-missing"


def test_certificate_that_nobody_vouches_for_is_refused_on_loopback_too(
    secure: tuple[Distribution, Pushed],
) -> None:
    error = refused(f"{secure[0].address.host}/acme/web:1")
    assert error.id == "registry-unreachable"
    assert "certificate" in error.message
    assert "certs.d" in error.hint


def test_authority_that_is_none_is_refused(secure: tuple[Distribution, Pushed], tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name in ("empty.pem", "nowhere.pem"):
        pull = Pull({secure[0].address.host: {"ca": str(tmp_path / name)}})
        assert refused(f"{secure[0].address.host}/acme/web:1", pull).id == "certificate-missing"


def test_redirect_from_tls_to_plain_http_is_not_followed(
    secure: tuple[Distribution, Pushed], authority: Authority, before: Any
) -> None:
    leak, host = before()
    registry, _ = secure
    pull = Pull({registry.address.host: {"ca": str(authority.certificate)}})
    found = pull.take(f"{registry.address.host}/acme/web:1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "get_redirect_target", lambda *_: f"http://{host}/leak")
        with pytest.raises(SealiftError) as caught:
            content(found, secure[1].digests["large"])
    assert caught.value.id == "registry-unreachable"
    assert leak.seen == []
