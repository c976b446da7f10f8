"""The program as it is shipped judges an identity's signatures on the barest host: no libc, no Python, no network."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bundler.build import Request, build
from bundler.signing.keyless import Asked
from bundler.trust.trust import RootPlan, make_root
from installer.bundle.digest import Digest
from installer.bundle.signers import Identity, PublicKey
from tests.keyless.instance import IDENTITY, Instance
from tests.keyless.services import serving
from tests.program.hosts import MEDIA, Host, root_filesystem
from tests.unit.bundler.layouts import make_product
from tests.unit.trust.keys import EXPIRES, key
from tests.unit.trust.media import QUIET

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stick(real_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release by the pipeline; ``root.json`` trusts it, ``other.json`` somebody of the same issuer."""
    folder = tmp_path_factory.mktemp("keyless")
    manifest = make_product(folder)
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    with serving(Instance(start)) as services:
        (folder / "config.json").write_text(json.dumps(services.trust_config()))
        asked = Asked(services.token(), config=folder / "config.json")
        request = Request("v2.1.0", folder, manifest, installer=real_program, output=folder / "out", keyless=asked)
        kit = build(request, lambda _: "", QUIET).kit
    trusted_root = services.instance.trusted_root()
    permit = [PublicKey(key("permit").spki, "permit")]
    for name, identity in (("root", IDENTITY), ("other", "colleague@vendor.example")):
        plan = RootPlan([Identity(identity, services.issuer, "pipeline")], permit=permit, keyless=trusted_root)
        (kit / f"{name}.json").write_bytes(make_root(plan, [key("root")], EXPIRES))
    return kit


@pytest.fixture
def host(wide_cache: Path, scratch: Path, stick: Path) -> Host:
    return Host(root_filesystem("busybox-alone", wide_cache), scratch, stick)


@pytest.mark.parametrize(("name", "code"), [("root", 0), ("other", 5)])
def test_judges_an_identity_without_libc_python_or_network(host: Host, name: str, code: int) -> None:
    fingerprint = Digest.of((host.stick / f"{name}.json").read_bytes())
    made = host.install(f"trust init '{MEDIA}/{name}.json' --fingerprint {fingerprint}")
    assert made.returncode == 0, made.stderr
    done = host.install(f"verify '{MEDIA}' --json")
    value = json.loads(done.stdout)
    assert done.returncode == code, done.stderr
    if code:
        assert value["error"]["id"] == "keyless-wrong-identity" and "colleague@vendor.example" not in done.stderr[:80]
    else:
        assert [signer["identity"] for signer in value["signers"]] == [IDENTITY]


def test_refuses_a_certificate_of_the_same_name_by_another_instance(host: Host, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    shutil.copytree(host.stick, stick)
    plan = RootPlan(
        [Identity(IDENTITY, "https://login.vendor.example", "pipeline")],
        permit=[PublicKey(key("permit").spki, "permit")],
        keyless=Instance().trusted_root(),
    )
    root = make_root(plan, [key("root")], EXPIRES)
    (stick / "root.json").write_bytes(root)
    host.stick = stick
    assert host.install(f"trust init '{MEDIA}/root.json' --fingerprint {Digest.of(root)}").returncode == 0
    done = host.install(f"verify '{MEDIA}' --json")
    assert (done.returncode, json.loads(done.stdout)["error"]["id"]) == (5, "keyless-wrong-issuer")
