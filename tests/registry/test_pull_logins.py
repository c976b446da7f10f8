"""Logins that ``docker login`` left, shown to real registries; none of them goes where it does not belong."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from bundler.collect.registry.client import Connection
from bundler.collect.registry.hosts import Endpoint
from bundler.collect.registry.login import Credentials
from installer.errors import SealiftError
from installer.registry.login import Login

from .authority import Authority
from .cargo import MIB
from .conftest import LOGIN, Distribution, Start
from .doubtful import Fault, Proxy, TokenService, serving
from .pulling import QUICK, Pull, Pushed, content, docker_config

pytestmark = pytest.mark.e2e
WRONG = Login("courier", "not the password")


@pytest.fixture
def locked(start_registry: Start, password_config: dict[str, Any], tmp_path: Path) -> tuple[Distribution, Pushed]:
    """A registry that asks for a password, and an image in it."""
    registry = start_registry(password_config)
    pushed = Pushed.make(tmp_path / "layout")
    pushed.push(f"{registry.address.host}/acme/web:1", LOGIN)
    return registry, pushed


@pytest.fixture
def tokens(authority: Authority) -> Iterator[TokenService]:
    """A token service that knows :data:`LOGIN`."""
    certificate = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    service = TokenService(authority.private, certificate, LOGIN.basic)
    with serving(service):
        yield service


@pytest.fixture
def token_registry(
    tokens: TokenService, authority: Authority, start_registry: Start, tmp_path: Path
) -> tuple[Distribution, Pushed]:
    """A registry that wants tokens, and an image in it."""
    settings = {"realm": tokens.realm, "service": "shelf", "issuer": "test"}
    registry = start_registry({"auth": {"token": {**settings, "rootcertbundle": str(authority.certificate)}}})
    pushed = Pushed.make(tmp_path / "layout")
    pushed.push(f"{registry.address.host}/acme/web:1", LOGIN)
    tokens.given.clear()
    return registry, pushed


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes the engine's ``config.json``; empty at first."""

    def write(host: str = "", login: Login | None = None, **more: Any) -> None:
        for name, value in docker_config(tmp_path / "docker", host, login, **more).items():
            monkeypatch.setenv(name, value)

    write()
    return write


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, user: str, secret: str, name: str = "safe") -> None:
    """A credential helper as Docker's protocol has it: the host on standard input, JSON on standard output."""
    folder.mkdir(exist_ok=True)
    answer = json.dumps({"ServerURL": "x", "Username": user, "Secret": secret})
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\ncat > {folder}/asked\ncat <<'END'\n{answer}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def refused(host: str) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        Pull().read(f"{host}/acme/web:1")
    text = f"{caught.value.message} {caught.value.hint} {caught.value.details}"
    for secret in (LOGIN.password, LOGIN.basic, WRONG.password, WRONG.basic):
        assert secret not in text
    return caught.value


def test_password_of_docker_login_opens_the_registry(locked: tuple[Distribution, Pushed], config: Any) -> None:
    registry, pushed = locked
    config(registry.address.host, LOGIN)
    assert Pull().read(f"{registry.address.host}/acme/web:1").image.digest == pushed.digests["amd64"]


@pytest.mark.parametrize("login", [WRONG, None], ids=["wrong", "none"])
def test_wrong_or_missing_password_is_refused_with_the_way_out(
    locked: tuple[Distribution, Pushed], config: Any, login: Login | None
) -> None:
    host = locked[0].address.host
    config(host, login)
    error = refused(host)
    assert (error.id, error.hint) == ("registry-login", f"try: docker login {host}")


@pytest.mark.parametrize("kind", ["credsStore", "credHelpers"])
def test_credential_helpers_are_asked(
    locked: tuple[Distribution, Pushed], config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    host = locked[0].address.host
    helper(tmp_path / "bin", monkeypatch, LOGIN.user, LOGIN.password)
    config(**{kind: "safe" if kind == "credsStore" else {host: "safe"}})
    Pull().read(f"{host}/acme/web:1")
    assert (tmp_path / "bin/asked").read_text() == host


def test_missing_helper_is_named_and_not_passed_over(locked: tuple[Distribution, Pushed], config: Any) -> None:
    config(credsStore="nowhere")
    error = refused(locked[0].address.host)
    assert error.id == "registry-login"
    assert "docker-credential-" in error.hint


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"h": {"auth": "###"}}}', '{"auths": {"h": 5}}'])
def test_broken_configuration_is_no_crash(tmp_path: Path, text: str) -> None:
    (tmp_path / "docker/config.json").write_text(text)
    try:
        Credentials.of("h")
    except SealiftError as error:
        assert error.id == "registry-login"


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io"])
def test_login_of_docker_hub_is_found_under_its_old_name(config: Any, key: str) -> None:
    config(key, LOGIN)
    assert Credentials.of("docker.io") == Credentials(basic=LOGIN.basic)
    assert LOGIN.basic not in repr(Credentials.of("docker.io"))


def test_tokens_are_fetched_once_for_a_repository(
    token_registry: tuple[Distribution, Pushed], tokens: TokenService, config: Any
) -> None:
    registry, pushed = token_registry
    config(registry.address.host, LOGIN)
    assert Pull().read(f"{registry.address.host}/acme/web:1").image.digest == pushed.digests["amd64"]
    assert tokens.given == ["repository:acme/web:pull"]


def test_token_is_fetched_without_a_login_where_everybody_may_read(
    token_registry: tuple[Distribution, Pushed], tokens: TokenService
) -> None:
    tokens.basic = ""
    Pull().read(f"{token_registry[0].address.host}/acme/web:1")
    assert tokens.given == ["repository:acme/web:pull"]


def test_token_that_expired_in_the_middle_is_replaced(
    token_registry: tuple[Distribution, Pushed], tokens: TokenService, config: Any
) -> None:
    registry, pushed = token_registry
    config(registry.address.host, LOGIN)
    found = Pull().take(f"{registry.address.host}/acme/web:1")
    store = found.contents[pushed.digests["large"]].store  # type: ignore[attr-defined]
    (client,) = store.clients()
    tokens.life = -120  # the registry allows a clock that is a minute off
    client.auth.token = tokens.token("shelf", ["repository:acme/web:pull"])
    expired, tokens.life = client.auth.token, 300
    assert content(found, pushed.digests["large"]) == pushed.digests["large"]
    assert client.auth.token != expired


def test_registry_that_accepts_no_token_is_not_asked_for_ever(
    token_registry: tuple[Distribution, Pushed], tokens: TokenService, config: Any
) -> None:
    registry, _ = token_registry
    config(registry.address.host, LOGIN)
    tokens.life = -120
    assert refused(registry.address.host).id == "registry-login"
    assert len(tokens.given) < 4


@pytest.mark.parametrize("kind", ["identitytoken", "helper"])
def test_identity_token_is_exchanged(
    token_registry: tuple[Distribution, Pushed],
    tokens: TokenService,
    config: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    host = token_registry[0].address.host
    if kind == "helper":
        helper(tmp_path / "bin", monkeypatch, "<token>", tokens.identity)
        config(credsStore="safe")
    else:
        entry = {"auth": base64.b64encode(b"00000000:").decode(), "identitytoken": tokens.identity}
        config(auths={host: entry})
    Pull().read(f"{host}/acme/web:1")
    assert tokens.given == ["repository:acme/web:pull"]


def test_wrong_identity_token_is_refused(
    token_registry: tuple[Distribution, Pushed], tokens: TokenService, config: Any
) -> None:
    host = token_registry[0].address.host
    config(auths={host: {"identitytoken": "another"}})
    assert refused(host).id == "registry-login"


def test_blob_store_that_a_registry_redirects_to_sees_no_login(
    locked: tuple[Distribution, Pushed], start_registry: Start, config: Any
) -> None:
    registry, pushed = locked
    large = pushed.digests["large"]
    same_storage = {"storage": {"filesystem": {"rootdirectory": str(registry.folder / "data")}}}
    elsewhere = Proxy(start_registry(same_storage).address.host, [Fault("GET", large, "cut", 1)])
    with serving(elsewhere):
        away = {"Location": f"{elsewhere.url}/v2/acme/web/blobs/{large}", "Content-Length": "0"}
        before = Proxy(registry.address.host, [Fault("GET", large, "307", 9, away)])
        with serving(before):
            host = before.url.removeprefix("http://")
            config(host, LOGIN)
            Pull().read(f"{host}/acme/web:1")
    assert any("Authorization" in headers for _, path, headers in before.seen if large in path)
    assert len(elsewhere.seen) == 2  # it broke off there, and the registry was asked again
    assert all("Authorization" not in headers for _, _, headers in elsewhere.seen)


def test_blob_store_cannot_ask_for_the_login(locked: tuple[Distribution, Pushed], config: Any) -> None:
    registry, pushed = locked
    large = pushed.digests["large"]
    with serving(thief := Proxy("127.0.0.1:1", [])):
        thief.faults.append(Fault("GET", large, "401", 9, {"WWW-Authenticate": f'Bearer realm="{thief.url}/token"'}))
        before = Proxy(registry.address.host, [Fault("GET", large, "307", 9, {"Location": f"{thief.url}/{large}"})])
        with serving(before):
            host = before.url.removeprefix("http://")
            config(host, LOGIN)
            assert refused(host).id == "registry-login"
    assert all("Authorization" not in headers for _, _, headers in thief.seen)
    assert all("/token" not in path for _, path, _ in thief.seen)


def test_no_password_goes_to_a_token_service_without_tls(config: Any) -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="http://tokens.example/token",service="shelf"'}
    proxy = Proxy("127.0.0.1:1", [Fault("GET", "/v2/", "401", 9, challenge)])
    with serving(proxy):
        host = proxy.url.removeprefix("http://")
        config(host, LOGIN)
        assert refused(host).id == "registry-refused"


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\nb"}', b'{"token": null, "access_token": ""}', b" " * 5 * MIB],
    ids=lambda one: str(len(one)),
)
def test_token_service_that_gives_no_token_is_refused(config: Any, answer: bytes) -> None:
    with serving(proxy := Proxy("127.0.0.1:1", [])):
        host = proxy.url.removeprefix("http://")
        config(host, LOGIN)
        challenge = {"WWW-Authenticate": f'Bearer realm="{proxy.url}/token",service="shelf",scope="x"'}
        length = {"Content-Length": str(len(answer))}
        proxy.faults += [Fault("GET", "/v2/", "401", 9, challenge), Fault("GET", "/token", "200", 9, length, answer)]
        assert refused(host).id == "registry-login"


def test_token_service_that_is_away_is_named(config: Any) -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="https://127.0.0.1:1/token",service="shelf"'}
    with serving(proxy := Proxy("127.0.0.1:1", [Fault("GET", "/v2/", "401", 9, challenge)])):
        host = proxy.url.removeprefix("http://")
        error = refused(host)
    assert error.id == "registry-unreachable"
    assert "token service" in error.message
    assert "127.0.0.1:1 " in error.hint


def test_plain_http_is_spoken_only_where_it_is_asked_for() -> None:
    for host, plain, scheme in (("r.example:5000", False, "https"), ("r.example:5000", True, "http")):
        connection = Connection.to(Endpoint(host, plain_http=plain), QUICK)
        assert connection.url == f"{scheme}://{host}"
    assert Connection.to(Endpoint("docker.io"), QUICK).url == "https://registry-1.docker.io"


def test_netrc_plays_no_part(
    locked: tuple[Distribution, Pushed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login courier password x\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving(proxy := Proxy(locked[0].address.host, [])):
        assert refused(proxy.url.removeprefix("http://")).id == "registry-login"
    assert proxy.seen
    assert all("Authorization" not in headers for _, _, headers in proxy.seen)
