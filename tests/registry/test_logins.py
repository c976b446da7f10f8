"""Logins to a registry: by password, by token, never told to anybody else."""

from __future__ import annotations

import re
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

from .asking import BLOB, NAME, pieces, refusal_of
from .authority import Authority
from .cargo import Cargo, Picture, layer
from .conftest import LOGIN, QUICK, Distribution, Start
from .doubtful import Fault, Proxy, TokenService, serving

pytestmark = pytest.mark.e2e

WRONG = Login("courier", "not the password")


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
    both = re.compile("store:(pull,push|push,pull)")  # the registry asks in either order
    assert any("gateway:pull" in scope and both.search(scope) for scope in tokens.given)
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
