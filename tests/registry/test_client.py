"""Logins, certificates and bad days: what a registry's client refuses, survives and never says."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from installer.errors import ExitCode, SealiftError
from installer.registry.address import RegistryAddress
from installer.registry.client import RegistryClient
from installer.registry.load import RegistrySink, missing_blobs
from installer.registry.login import Login, docker_config, read_login

from .cargo import MIB, Cargo, Picture, digest, layer
from .conftest import LOGIN, QUICK, Authority, Distribution, Start
from .doubtful import Fault, Proxy, TokenService, serving

pytestmark = pytest.mark.e2e

BLOB = layer("a blob", 5 * MIB)
NAME = digest(BLOB)
WRONG = Login("courier", "not the password")


def pieces(content: bytes = BLOB) -> Iterator[bytes]:
    for start in range(0, len(content), MIB):
        yield content[start : start + MIB]


def refusal_of(client: RegistryClient) -> SealiftError:
    """The same refusal, whatever is asked."""
    with pytest.raises(SealiftError) as pinged:
        client.ping()
    for attempt in (
        lambda: client.has_blob("some/image", NAME, len(BLOB)),
        lambda: client.upload_blob("some/image", NAME, len(BLOB), pieces()),
        lambda: client.manifest_digest("some/image", "latest"),
    ):
        with pytest.raises(SealiftError) as refusal:
            attempt()
        assert refusal.value.id == pinged.value.id
    return pinged.value


# Logins


def test_logs_in_with_a_password(start_registry: Start, password_config: dict[str, Any]) -> None:
    client = start_registry(password_config).client(LOGIN)
    client.ping()
    client.upload_blob("some/image", NAME, len(BLOB), pieces())
    assert client.has_blob("some/image", NAME, len(BLOB))


@pytest.mark.parametrize("login", [WRONG, None], ids=["wrong", "none"])
def test_refuses_a_wrong_or_missing_password(
    start_registry: Start, password_config: dict[str, Any], login: Login | None
) -> None:
    error = refusal_of(start_registry(password_config).client(login))
    assert (error.id, error.exit_code) == ("registry-login", ExitCode.SERVICE)
    assert "registry.credentials" in error.hint
    assert WRONG.password not in f"{error.message}{error.hint}{error.details}"


@pytest.fixture
def tokens(authority: Authority) -> Iterator[TokenService]:
    """A token service that knows :data:`LOGIN`."""
    certificate = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    service = TokenService(authority.private, certificate, LOGIN.basic)
    with serving(service):
        yield service


@pytest.fixture
def token_registry(tokens: TokenService, authority: Authority, start_registry: Start) -> Distribution:
    """A registry that wants tokens."""
    settings = {"realm": tokens.realm, "service": "shelf", "issuer": "test"}
    return start_registry({"auth": {"token": {**settings, "rootcertbundle": str(authority.certificate)}}})


def test_logs_in_with_tokens_one_for_each_scope(token_registry: Distribution, tokens: TokenService) -> None:
    cargo = Cargo([Picture("gateway", [BLOB, layer("one")]), Picture("store", [BLOB, layer("two")])])
    client = token_registry.client(LOGIN)
    sink = RegistrySink(client, cargo.release)
    cargo.stream(sink)
    sink.close()
    sink.finish_manifests()

    assert missing_blobs(client, cargo.release) == set()
    assert len([line for line in token_registry.requests("POST", "mount=") if " 201 " in line]) == 1
    assert any("gateway:pull" in scope and "store:pull,push" in scope for scope in tokens.given)
    assert len(tokens.given) < 12, "a token for each request"


def test_refuses_a_wrong_password_at_the_token_service(token_registry: Distribution) -> None:
    assert refusal_of(token_registry.client(WRONG)).id == "registry-login"


def test_fetches_a_new_token_when_one_has_run_out(token_registry: Distribution, tokens: TokenService) -> None:
    client = token_registry.client(LOGIN)
    tokens.life = -120  # the registry allows a clock that is a minute off
    with pytest.raises(SealiftError) as refusal:
        client.has_blob("some/image", NAME, len(BLOB))
    assert refusal.value.id == "registry-login"

    tokens.life = 300
    assert not client.has_blob("some/image", NAME, len(BLOB)), "the expired token was sent again"


def test_says_that_the_login_may_not_push(token_registry: Distribution, tokens: TokenService) -> None:
    tokens.actions = lambda _: ["pull"]
    client = token_registry.client(LOGIN)
    assert not client.has_blob("some/image", NAME, len(BLOB))
    with pytest.raises(SealiftError) as refusal:
        client.upload_blob("some/image", NAME, len(BLOB), pieces())
    assert refusal.value.id == "registry-login"


def test_sends_no_password_to_a_token_service_without_tls() -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="http://tokens.example/token",service="shelf"'}
    proxy = Proxy("127.0.0.1:1", [Fault("GET", "/v2/", "401", 9, challenge)])
    with serving(proxy), pytest.raises(SealiftError) as refusal:
        RegistryClient.at(RegistryAddress.parse(proxy.url), LOGIN, patience=QUICK).ping()
    assert refusal.value.id == "registry-refused"
    assert all("Authorization" not in headers for _, _, headers in proxy.seen)


def test_reads_a_login_from_one_line(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("courier:with:colons\n")
    assert read_login(file) == Login("courier", "with:colons")
    assert "with:colons" not in repr(read_login(file))
    assert b"courier" not in docker_config({"shelf:443": read_login(file)})


@pytest.mark.parametrize("text", ["", "courier", "courier:", ":x", "a:b\nc:d\n"])
def test_refuses_credentials_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "credentials").write_text(text)
    with pytest.raises(SealiftError) as refusal:
        read_login(tmp_path / "credentials")
    assert refusal.value.id == "secret-missing"
    with pytest.raises(SealiftError):
        read_login(tmp_path / "not there")


# Transport


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
    started = time.monotonic()
    error = refusal_of(RegistryClient.at(address, LOGIN, patience=QUICK))
    assert error.id == "registry-unreachable"
    assert f"http://127.0.0.1:{port}" in error.hint
    assert time.monotonic() - started < 10


def test_gives_up_on_a_registry_that_accepts_and_says_nothing() -> None:
    patience = type(QUICK)(connect=1, answer=0.3, storing=0.3, retries=1, pause=0.05, longest_pause=1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = RegistryAddress.parse(f"http://127.0.0.1:{mute.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(SealiftError) as refusal:
            RegistryClient.at(address, patience=patience).ping()
    assert refusal.value.id == "registry-unreachable"
    assert time.monotonic() - started < 5


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
    assert 0.9 < time.monotonic() - started < 5


def test_does_not_wait_for_ever_however_long_the_registry_asks(registry: Distribution) -> None:
    with serving(proxy := Proxy(registry.address.host, [Fault("GET", "/v2/", "503", 99, {"Retry-After": "86400"})])):
        started = time.monotonic()
        with pytest.raises(SealiftError) as refusal:
            through(proxy).ping()
    assert refusal.value.id == "registry-unreachable"
    assert "503" in refusal.value.message
    assert time.monotonic() - started < QUICK.retries * QUICK.longest_pause + 3


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
