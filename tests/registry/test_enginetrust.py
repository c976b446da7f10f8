"""An engine that would not believe the site's registry is found out before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.errors import SealiftError
from installer.registry.address import RegistryAddress
from installer.registry.enginetrust import certificate_folder, refuse_distrusted

from .authority import Authority
from .conftest import Distribution, Start

pytestmark = pytest.mark.e2e


@pytest.fixture
def secure(start_registry: Start, authority: Authority) -> Distribution:
    """A registry with a certificate of a private authority."""
    config = {"http": {"tls": {"certificate": str(authority.server), "key": str(authority.key)}}}
    return start_registry(config, ca=authority.certificate)


def given(folder: Path, registry: Distribution, content: bytes) -> Path:
    """The engine's folder of authorities for ``registry``, with one in it."""
    (folder / registry.address.host).mkdir(parents=True)
    (folder / registry.address.host / "site.crt").write_bytes(content)
    return folder


def test_accepts_an_authority_that_the_engine_was_given(
    secure: Distribution, authority: Authority, tmp_path: Path
) -> None:
    folder = given(tmp_path / "certs.d", secure, authority.certificate.read_bytes())
    refuse_distrusted(secure.address, folder, (), None)


def test_refuses_an_authority_that_only_the_site_file_names(
    secure: Distribution, authority: Authority, tmp_path: Path
) -> None:
    with pytest.raises(SealiftError) as refusal:
        refuse_distrusted(secure.address, tmp_path, (), authority.certificate)
    assert (refusal.value.id, refusal.value.exit_code) == ("engine-distrusts-registry", 7)
    assert f"cp {authority.certificate} {tmp_path}/{secure.address.host}/ca.crt" in refusal.value.hint


def test_refuses_an_authority_file_that_is_none(secure: Distribution, tmp_path: Path) -> None:
    folder = given(tmp_path / "certs.d", secure, b"nonsense")
    with pytest.raises(SealiftError) as refusal:
        refuse_distrusted(secure.address, folder, (), None)
    assert refusal.value.id == "engine-distrusts-registry"


def test_asks_nothing_of_registries_that_the_engine_believes_unchecked(secure: Distribution, tmp_path: Path) -> None:
    refuse_distrusted(secure.address, tmp_path, ("127.0.0.0/8", "::1/128"), None)
    refuse_distrusted(secure.address, tmp_path, (secure.address.host,), None)
    with pytest.raises(SealiftError):
        refuse_distrusted(secure.address, tmp_path, ("10.0.0.0/8", "other:5000"), None)


def test_leaves_silence_and_plain_http_to_others(tmp_path: Path) -> None:
    refuse_distrusted(RegistryAddress.parse("https://127.0.0.1:9"), tmp_path, (), None)
    refuse_distrusted(RegistryAddress.parse("http://127.0.0.1:9"), tmp_path, (), None)


def test_rootless_engines_have_a_folder_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ops")
    assert certificate_folder(True) == Path("/home/ops/.config/docker/certs.d")
    assert certificate_folder(False) == Path("/etc/docker/certs.d")
