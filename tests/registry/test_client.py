"""Certificates and bad days: what a registry's client refuses, survives and never says."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from installer.errors import SealiftError
from installer.registry.address import RegistryAddress
from installer.registry.client import RegistryClient
from installer.registry.load import RegistrySink, missing_blobs
from installer.registry.login import Login

from .asking import BLOB, NAME, pieces, refusal_of
from .authority import Authority
from .cargo import MIB, Cargo, Picture, layer
from .conftest import LOGIN, QUICK, Distribution, Start
from .doubtful import Fault, Proxy, serving

HANGS = 60.0
"""Seconds after which it has not given up; none of these takes three on an idle machine."""

pytestmark = pytest.mark.e2e


def tls(authority: Authority) -> dict[str, Any]:
    return {"http": {"tls": {"certificate": str(authority.server), "key": str(authority.key)}}}


@pytest.fixture
def secure(start_registry: Start, authority: Authority) -> Distribution:
    """A registry with a certificate of a private authority."""
    config = tls(authority)
    return start_registry(config, ca=authority.certificate)


def test_trusts_a_private_authority(secure: Distribution, authority: Authority) -> None:
    client = secure.client(ca=authority.certificate)
    client.upload_blob("some/image", NAME, len(BLOB), pieces())
    assert client.has_blob("some/image", NAME, len(BLOB))


def test_refuses_a_certificate_of_an_unknown_authority(secure: Distribution) -> None:
    error = refusal_of(secure.client())
    assert error.id == "registry-unreachable"
    assert "registry.ca" in error.hint
    assert secure.address.url in error.hint


def test_refuses_an_authority_that_is_no_certificate(secure: Distribution, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for path in (tmp_path / "empty.pem", tmp_path / "not there"):
        with pytest.raises(SealiftError) as refusal:
            secure.client(ca=path)
        assert refusal.value.id == "certificate-missing"


@pytest.mark.parametrize(
    "url",
    [
        "http://registry.site:5000",
        "http://10.0.0.1:5000",
        "ftp://127.0.0.1",
        "https://user:word@registry.site",
        "https://registry.site/Upper",
        "https://registry.site:70000",
        "https://registry.site/a//b",
    ],
)
def test_refuses_an_address_that_is_unsafe_or_unclear(url: str) -> None:
    with pytest.raises(SealiftError) as refusal:
        RegistryAddress.parse(url)
    assert refusal.value.id == "site-file-invalid"


def test_references_always_name_a_port() -> None:
    address = RegistryAddress.parse("https://registry/ward")
    assert address.host == "registry:443"
    assert address.repository("lan-chat", "gateway") == "ward/lan-chat/gateway"


def test_says_where_nobody_answers(free_port: Any) -> None:
    port = free_port()
    address = RegistryAddress.parse(f"http://127.0.0.1:{port}")
    error = refusal_of(RegistryClient.at(address, LOGIN, patience=QUICK))
    assert error.id == "registry-unreachable"
    assert f"http://127.0.0.1:{port}" in error.hint


def test_gives_up_on_a_registry_that_accepts_and_says_nothing() -> None:
    patience = type(QUICK)(connect=1, answer=0.3, storing=0.3, retries=1, pause=0.05, longest_pause=1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = RegistryAddress.parse(f"http://127.0.0.1:{mute.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(SealiftError) as refusal:
            RegistryClient.at(address, patience=patience).ping()
    assert refusal.value.id == "registry-unreachable"
    assert time.monotonic() - started < HANGS


# Bad days


def through(proxy: Proxy, login: Login | None = None) -> RegistryClient:
    return RegistryClient.at(RegistryAddress.parse(proxy.url), login, patience=QUICK)


def load(cargo: Cargo, client: RegistryClient) -> RegistrySink:
    sink = RegistrySink(client, cargo.release)
    cargo.stream(sink)
    sink.close()
    sink.finish_manifests()
    return sink


@pytest.fixture
def cargo() -> Cargo:
    return Cargo([Picture("gateway", [BLOB, layer("small")])])


@pytest.mark.parametrize(
    "fault",
    [
        Fault("HEAD", "/blobs/", "503", 2),
        Fault("POST", "/uploads/", "429", 1, {"Retry-After": "1"}),
        Fault("POST", "/uploads/", "502", 2),
        Fault("POST", "/uploads/", "reset", 1),
        Fault("PUT", "/manifests/", "504", 2),
        Fault("PUT", "/manifests/", "reset", 1),
    ],
    ids=lambda fault: f"{fault.method}-{fault.kind}",
)
def test_tries_again_when_the_registry_stumbles(cargo: Cargo, registry: Distribution, fault: Fault) -> None:
    with serving(proxy := Proxy(registry.address.host, [fault])):
        load(cargo, through(proxy))
        assert fault.times == 0, "the fault never happened"
        assert missing_blobs(through(proxy), cargo.release) == set()


@pytest.mark.parametrize("kind", ["503", "half"])
def test_sends_again_what_it_still_has_in_hand(registry: Distribution, kind: str) -> None:
    cargo = Cargo([Picture("gateway", [layer("small", MIB)])])
    with serving(proxy := Proxy(registry.address.host, [Fault("PUT", "/uploads/", kind, 2)])):
        load(cargo, through(proxy))
    assert missing_blobs(registry.client(), cargo.release) == set()


def test_waits_as_long_as_the_registry_asks(registry: Distribution) -> None:
    with serving(proxy := Proxy(registry.address.host, [Fault("GET", "/v2/", "429", 1, {"Retry-After": "1"})])):
        started = time.monotonic()
        through(proxy).ping()
    assert 0.9 < time.monotonic() - started < HANGS


def test_does_not_wait_for_ever_however_long_the_registry_asks(registry: Distribution) -> None:
    with serving(proxy := Proxy(registry.address.host, [Fault("GET", "/v2/", "503", 99, {"Retry-After": "86400"})])):
        started = time.monotonic()
        with pytest.raises(SealiftError) as refusal:
            through(proxy).ping()
    assert refusal.value.id == "registry-unreachable"
    assert "503" in refusal.value.message
    assert time.monotonic() - started < HANGS


def test_goes_on_in_the_next_run_after_a_broken_upload(cargo: Cargo, registry: Distribution) -> None:
    with (
        serving(proxy := Proxy(registry.address.host, [Fault("PUT", "/uploads/", "half", 5)])),
        pytest.raises(SealiftError) as refusal,
    ):
        load(cargo, through(proxy))
        assert refusal.value.id == "registry-unreachable"
        assert "goes on where this one stopped" in refusal.value.hint
        assert proxy.url in refusal.value.hint
        proxy.faults.clear()
        load(cargo, through(proxy))
        assert missing_blobs(through(proxy), cargo.release) == set()


def test_copies_where_the_registry_does_not_share(registry: Distribution) -> None:
    cargo = Cargo([Picture("gateway", [BLOB]), Picture("store", [BLOB, layer("more")])])
    client = registry.client()
    with serving(proxy := Proxy(registry.address.host, [])):
        proxy.faults.append(Fault("POST", "mount=", "202", 9, {"Location": f"{proxy.url}/v2/x/blobs/uploads/none"}))
        load(cargo, through(proxy))
    assert missing_blobs(client, cargo.release) == set()
    assert client.has_blob("lan-chat/gateway", NAME, len(BLOB))
    assert client.has_blob("lan-chat/store", NAME, len(BLOB))


def test_says_when_a_stored_blob_is_damaged(registry: Distribution) -> None:
    client = registry.client()
    client.upload_blob("some/image", NAME, len(BLOB), pieces())
    [path] = registry.folder.glob(f"data/docker/registry/v2/blobs/sha256/*/{NAME[7:]}/data")
    path.write_bytes(BLOB[:1000])
    with pytest.raises(SealiftError) as refusal:
        client.has_blob("some/image", NAME, len(BLOB))
    assert refusal.value.id == "registry-refused"
    assert "damaged" in refusal.value.message


def test_repeats_neither_secrets_nor_terminal_escapes_of_an_answer(registry: Distribution) -> None:
    evil = f'{{"errors": [{{"code": "X", "message": "\\u001b[2J {LOGIN.password} {LOGIN.basic}"}}]}}'.encode()
    with (
        serving(proxy := Proxy(registry.address.host, [Fault("GET", "/v2/", "400", 9, {}, evil)])),
        pytest.raises(SealiftError) as refusal,
    ):
        through(proxy, LOGIN).ping()
    said = refusal.value.message + refusal.value.hint
    assert refusal.value.id == "registry-refused"
    assert LOGIN.password not in said
    assert LOGIN.basic not in said
    assert said.isprintable()


def test_sends_no_content_elsewhere_without_tls(registry: Distribution) -> None:
    location = {"Location": "http://storage.example/upload?x=1"}
    with (
        serving(proxy := Proxy(registry.address.host, [Fault("POST", "/uploads/", "202", 9, location)])),
        pytest.raises(SealiftError) as refusal,
    ):
        through(proxy).upload_blob("some/image", NAME, len(BLOB), pieces())
    assert refusal.value.id == "registry-refused"


def test_bounds_an_answer_without_end(registry: Distribution) -> None:
    endless = b'{"errors": [' + b" " * (16 * MIB)
    with (
        serving(proxy := Proxy(registry.address.host, [Fault("GET", "/v2/", "418", 1, {}, endless)])),
        pytest.raises(SealiftError) as refusal,
    ):
        through(proxy).ping()
    assert "418" in refusal.value.message


def test_keeps_the_state_of_an_upload_out_of_messages(registry: Distribution) -> None:
    with (
        serving(proxy := Proxy(registry.address.host, [Fault("PUT", "/uploads/", "half", 9)])),
        pytest.raises(SealiftError) as refusal,
    ):
        through(proxy).upload_blob("some/image", NAME, len(BLOB), pieces())
    assert "_state" not in refusal.value.message + refusal.value.hint
    error: BaseException | None = refusal.value
    while error is not None:
        assert error.__suppress_context__ or error.__context__ is None
        error = error.__cause__
