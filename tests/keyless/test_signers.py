"""Who signs: what options, environment and manifest say, and what none of them may leave open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bundler.manifest.recipe import Keyless, Sign
from bundler.signing.keyless import Asked
from bundler.signing.signers import open_signer, open_signers
from tests.keyless.instance import IDENTITY, Instance
from tests.keyless.services import Services, serving
from tests.keyless.test_signing import config, refused, yesterday
from tests.unit.trust.media import write_key


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with serving(Instance(yesterday())) as running:
        yield running


def test_manifest_names_the_instance_and_never_the_token(services: Services, tmp_path: Path) -> None:
    manifest = Sign(keyless=Keyless(config=config(services, tmp_path).name))
    environment = {"SEALIFT_IDENTITY_TOKEN": services.token()}
    found = open_signers((), Asked(), manifest, tmp_path, lambda _: "", environment)
    assert [one.describe() for one in found] == [f"{IDENTITY} (issuer {services.issuer})"]
    assert (
        refused(lambda: open_signers((), Asked(), manifest, tmp_path, lambda _: "", {})).id == "identity-token-missing"
    )
    only = open_signers((write_key(tmp_path, "release"),), Asked(), manifest, tmp_path, lambda _: "", {})
    assert [one.name for one in only] == ["release"]


def test_refuses_to_guess_an_instance(services: Services, tmp_path: Path) -> None:
    """The public one is never meant without being named."""
    token = Asked(services.token())
    assert refused(lambda: open_signers((), token, Sign(), tmp_path, lambda _: "", {})).id == "sigstore-config-invalid"
    assert refused(lambda: open_signer(None, token, lambda _: "", {})).id == "sigstore-config-invalid"


def test_refuses_to_sign_with_nothing_and_with_two_at_once(services: Services, tmp_path: Path) -> None:
    assert refused(lambda: open_signers((), Asked(), Sign(), tmp_path, lambda _: "", {})).id == "no-signing-key"
    assert refused(lambda: open_signer(None, Asked(), lambda _: "", {})).id == "no-signing-key"
    path = write_key(tmp_path, "release")
    assert refused(lambda: open_signer(path, Asked("x"), lambda _: "", {})).id == "bad-option"
    assert open_signer(None, Asked(), lambda _: "", {"SEALIFT_KEY": str(path)}).name == "release"
