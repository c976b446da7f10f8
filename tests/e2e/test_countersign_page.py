"""Every command of docs/trust/countersign.md, in its order, on a real stick."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundler.signing.sign import generate
from tests.unit.trust.keys import PAYLOAD, key, policy, refusal, signed
from tests.unit.trust.media import make_kit, write_key

pytestmark = pytest.mark.e2e
PAGE = Path(__file__).resolve().parents[2] / "docs/trust/countersign.md"
WORD = "pass word"


def commands() -> list[str]:
    """The shell blocks of the page."""
    return re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Desk:
    """A folder where the page's commands run, with the programs that it names."""

    folder: Path
    stick: Path

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """``script`` as the page has it: its stick is ours, its fingerprint that of the root at hand."""
        script = script.replace("/media/usb", str(self.stick))
        script = script.replace("sha256:…", '"sha256:$(sha256sum root.json | cut -c1-64)"')
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SEALIFT_")} | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(PAGE.parents[2]),
            "HOME": str(self.folder),
            "COSIGN_PASSWORD": WORD,
            "SEALIFT_PASSPHRASE": WORD,
            "SEALIFT_STATE_DIR": str(self.folder / "state"),
        }
        return subprocess.run(
            ["sh", "-euc", script], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    kit = make_kit(tmp_path / "product", "release")
    made = Desk(tmp_path / "desk", kit)
    programs = made.folder / "bin"
    programs.mkdir(parents=True)
    for name, module in (("bundle", "bundler"), ("sealift", "installer")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (programs / name).chmod(0o755)
    generate(made.folder / "keys", "colleague", WORD)
    write_key(made.folder / "keys", "root")
    (made.folder / "keys/release.pub").write_bytes(key("release").public_pem)
    done = made.run("cosign generate-key-pair --output-key-prefix customer")
    assert done.returncode == 0, done.stderr
    return made


def test_commands_of_the_page_work_as_they_stand(desk: Desk) -> None:
    shown = ""
    for script in commands():
        done = desk.run(script)
        assert done.returncode == 0, f"{script}{done.stdout}{done.stderr}"
        shown += done.stdout + done.stderr
    for name in ("signatures/colleague.sigstore.json", "install.colleague.sigstore.json"):
        assert (desk.stick / name).is_file() and name in shown
    assert "signed by    customer" in shown and "Verified OK" in shown
    again = desk.run("bundle sign /media/usb --key customer.key")
    assert (again.returncode, again.stdout) == (0, "nothing to do: customer has signed this already\n")


def test_page_names_what_a_host_says_when_the_customer_has_not_signed(desk: Desk) -> None:
    sign, _, _, demand, host = commands()
    assert desk.run(sign).returncode == 0
    refused = desk.run(demand)
    assert refused.returncode == 5 and "not yet signed by customer" in refused.stderr
    refused = desk.run(host)
    assert refused.returncode == 5 and "not yet signed by customer" in refused.stderr
    # the colleague is a stranger to that root
    assert "no-valid-signature" in refused.stderr and "no-valid-signature" in PAGE.read_text()


def test_page_says_two_of_the_vendor_are_enough_in_two_of_three() -> None:
    rule = policy("ann", "ben", "customer", threshold=2)
    assert len(rule.judge("release", PAYLOAD, signed("ann", "ben"))) == 2
    assert refusal(policy("ann", "ben", "customer", threshold=3), signed("ann", "ben")).id == "threshold-not-met"
