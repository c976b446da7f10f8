"""Every command of docs/trust/keyless.md, in its order, against a running instance; and cosign, both ways."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from installer.bundle.signers import Identity
from installer.bundle.sigstoreroot import SigstoreRoot
from installer.errors import SealiftError
from tests.keyless.instance import IDENTITY, Instance
from tests.keyless.judging import PAYLOAD, judged
from tests.keyless.services import Services, serving
from tests.unit.bundler.layouts import make_product
from tests.unit.trust.keys import key
from tests.unit.trust.media import write_key

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/trust/keyless.md"
COLLEAGUE = "colleague@vendor.example"


def start() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


@dataclass(frozen=True)
class Desk:
    """A folder where commands run, with the programs that the page names and nobody else to talk to."""

    folder: Path
    services: Services

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SEALIFT_")} | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "ISSUER": self.services.issuer,
        }
        return subprocess.run(
            ["sh", "-euc", script], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120
        )

    def do(self, script: str) -> str:
        done = self.run(script)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def token(self, name: str, identity: str) -> None:
        (self.folder / name).write_text(self.services.token(identity))


@pytest.fixture(params=[1, 2])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """With what the page takes for granted: keys, tokens, the instance's configuration, a product called lan-chat."""
    with serving(Instance(start(), request.param)) as services:
        made = Desk(tmp_path, services)
        (tmp_path / "client-trust-config.json").write_text(json.dumps(services.trust_config()))
        made.token("token", IDENTITY)
        made.token("colleague-token", COLLEAGUE)
        (tmp_path / "keys").mkdir()
        write_key(tmp_path / "keys", "root")
        (tmp_path / "keys/permit.pub").write_bytes(key("permit").public_pem)
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin/bundle"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bundler "$@"\n')
        program.chmod(0o755)
        yield made


def product(folder: Path) -> None:
    """``manifests/lan-chat``: the small product of other tests, whose program is not built for minutes."""
    manifest = make_product(folder / "made")
    place = folder / "manifests/lan-chat"
    shutil.copytree(manifest.parent, place)
    text = re.sub(r"^product: .*$", "product: lan-chat", (place / manifest.name).read_text(), flags=re.MULTILINE)
    (place / "release.yaml").write_text(text)


def test_commands_of_the_page_work_as_they_stand(desk: Desk) -> None:
    product(desk.folder)
    shown = ""
    for script in re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if script.startswith("bundle build"):
            script = script.rstrip() + " --installer manifests/lan-chat/install\n"
        shown += desk.do(script)
    assert "Verified OK" in shown and f"{IDENTITY} (issuer {desk.services.issuer})" in shown
    names = {path.name for path in (desk.folder / "dist/lan-chat-v2.1.0/signatures").iterdir()}
    assert names == {
        "release-pipeline-vendor.example.sigstore.json",
        "colleague-vendor.example.sigstore.json",
        "colleague.sigstore.json",
    }
    again = desk.do("bundle verify dist/lan-chat-v2.1.0 --trust root.json 2>&1")
    assert again.count("keyless-wrong-identity") == 3 and "nothing left" in again  # twice the release, once the program


def test_readme_of_the_media_folder_checks_the_program_with_cosign(desk: Desk) -> None:
    product(desk.folder)
    desk.do(
        "bundle build v2.1.0 --installer manifests/lan-chat/install --identity-token-file token "
        "--sigstore-config client-trust-config.json"
    )
    page = (desk.folder / "dist/lan-chat-v2.1.0/README.txt").read_text()
    blocks = [block for block in re.findall(r"(?:^    .*\n)+", page, re.MULTILINE) if "cosign" in block]
    assert len(blocks) == 2
    desk.do("jq .trustedRoot client-trust-config.json > dist/lan-chat-v2.1.0/trusted_root.json")
    for block in blocks:
        assert desk.do(f"cd dist/lan-chat-v2.1.0\n{block}").count("Verified OK") == 1


@pytest.mark.parametrize("timestamps", [True, False])
def test_cosign_and_we_judge_each_others_signatures_alike(timestamps: bool, tmp_path: Path) -> None:
    with serving(Instance(start()), timestamps=timestamps) as services:
        desk = Desk(tmp_path, services)
        root = SigstoreRoot.read(services.instance.trusted_root(), "root.json")
        pipeline = Identity(IDENTITY, services.issuer, "pipeline")
        for name, value in (("signing", services.signing_config()), ("trusted", services.instance.trusted_root())):
            (tmp_path / f"{name}.json").write_text(json.dumps(value))
        (tmp_path / "release.json").write_bytes(PAYLOAD)
        (tmp_path / "ours.json").write_bytes(
            services.instance.sign(PAYLOAD, issuer=services.issuer, at=start() + timedelta(hours=1)).file()
        )
        desk.token("token", IDENTITY)
        desk.do(
            "cosign sign-blob --yes --identity-token token --signing-config signing.json --trusted-root trusted.json "
            "--bundle theirs.json release.json"
        )
        theirs = (tmp_path / "theirs.json").read_bytes()
        assert judged(theirs, root, pipeline) == pipeline
        assert ("signedTimestamp" in theirs.decode()) is timestamps
        for issuer, verdict in ((services.issuer, 0), ("https://login.mallory.example", 1)):
            for file in ("ours", "theirs"):
                check = f"cosign verify-blob --trusted-root trusted.json --bundle {file}.json release.json"
                done = desk.run(f"{check} --certificate-identity {IDENTITY} --certificate-oidc-issuer {issuer}")
                assert (done.returncode != 0) == verdict, done.stderr
                if verdict:
                    with pytest.raises(SealiftError):
                        judged((tmp_path / f"{file}.json").read_bytes(), root, Identity(IDENTITY, issuer, "x"))


def test_auditors_verifier_counts_keys_and_says_what_it_did_not_judge(desk: Desk) -> None:
    product(desk.folder)
    write_key(desk.folder / "keys", "release")
    (desk.folder / "release.pub").write_bytes(key("release").public_pem)
    desk.do(
        "bundle build v2.1.0 --installer manifests/lan-chat/install --identity-token-file token --key keys/release.key "
        "--sigstore-config client-trust-config.json"
    )
    check = f"{sys.executable} {ROOT}/docs/audit/verify_bundle.py --key release.pub dist/lan-chat-v2.1.0/*.zst"
    said = desk.do(check)
    assert ", not judged: 1 by certificates (cosign can)" in said and "GOOD" in said
    alone = desk.run(check.replace("release.pub", "keys/permit.pub"))
    assert alone.returncode == 5
