"""Every command of docs/trust/ceremonies, in the order of its README, each on the machine that it is written for.

Keys, roots, signatures and media are real; `sealift install` is the site's planner and trust on a target in files.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from installer.bundle.digest import Digest
from tests.contract.door import FileDoor
from tests.contract.driver import world_of
from tests.contract.editions import Edition, write_product
from tests.contract.program import settle

pytestmark = pytest.mark.e2e
REPOSITORY: Final = Path(__file__).resolve().parents[2]
PAGES: Final = REPOSITORY / "docs/trust/ceremonies"
ORDER: Final = re.findall(r"^\| \[([a-z-]+\.md)\]", (PAGES / "README.md").read_text(), re.MULTILINE)
HOSTS: Final = ("host", "other", "spare", "late")
SERVES: Final = {
    "two-signers.md": "1.0.0",
    "new-colleague.md": "1.1.0",
    "stolen-laptop.md": "1.2.0",
    "customer.md": "1.3.0",
}
"""What the host serves after a page."""
VERSIONS: Final = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.3.1", "1.4.0")

BUNDLE: Final = """\
#!/bin/sh
# The program that goes onto the media is not what these pages are about: any file will do.
[ "$1" != build ] || set -- "$@" --installer manifests/board/install
exec {python} -m bundler "$@"
"""
SEALIFT: Final = """\
#!/bin/sh
# Where a page installs, the engine is one in files.
[ "$1" = install ] || exec {python} -m installer "$@"
shift
exec {python} -m tests.contract.program install "$SEALIFT_STATE_DIR" "$@"
"""


@dataclass(frozen=True)
class Block:
    """Commands for one machine; ``refused`` is the id that they must end with, empty where all goes well."""

    machine: str
    script: str
    refused: str


def blocks(page: str) -> list[Block]:
    """The shell blocks of a page."""
    text = (PAGES / page).read_text()
    found = re.findall(r"^```sh ([a-z]+)(?: refused ([a-z-]+))?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert text.count("```") == 2 * len(found), "a block that nobody runs"
    return [Block(machine, script, refused) for machine, refused, script in found]


@dataclass(frozen=True)
class House:
    """The machines of everybody, and the stick between them."""

    folder: Path

    def run(self, block: Block) -> None:
        """Run a block as it stands; the stick is ours, and the fingerprint is what the paper says."""
        machine = self.folder / block.machine
        machine.mkdir(exist_ok=True)
        if block.machine in HOSTS and not (machine / "state").exists():
            settle(machine)
        stick = self.folder / "usb"
        script = block.script.replace("/media/usb", str(stick))
        if "sha256:FINGERPRINT" in script:
            script = script.replace("sha256:FINGERPRINT", str(Digest.of((stick / "1.root.json").read_bytes())))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SEALIFT_")} | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(machine),
            "SEALIFT_PASSPHRASE": f"pass word of {block.machine}",
            "SEALIFT_STATE_DIR": str(machine / "state"),
            "SOURCE_DATE_EPOCH": "1790000000",
        }
        done = subprocess.run(
            ["sh", "-euc", script], cwd=machine, env=environment, capture_output=True, text=True, timeout=120
        )
        shown = f"{block.script}{done.stdout}{done.stderr}"
        if not block.refused:
            assert done.returncode == 0, shown
            return
        assert done.returncode in (5, 6), shown
        again = subprocess.run(
            ["sh", "-euc", script.rstrip() + " --json"],
            cwd=machine,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert f'"id": "{block.refused}"' in again.stdout, again.stdout

    def door(self, host: str) -> set[str]:
        """The versions that people get at a host."""
        return FileDoor(world_of(self.folder / host / "state")).versions("board")

    def root_version(self, host: str) -> str:
        """What ``sealift trust show`` says there."""
        environment = os.environ | {"SEALIFT_STATE_DIR": str(self.folder / host / "state")}
        command = [sys.executable, "-m", "installer", "trust", "show", "--json"]
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
        found = re.search(r'"version": (\d+)', done.stdout)
        assert found is not None, done.stdout
        return found[1]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("house")
    for name in ("bin", "usb", "rita"):
        (folder / name).mkdir()
    for name, text in (("bundle", BUNDLE), ("sealift", SEALIFT)):
        (folder / "bin" / name).write_text(text.format(python=shlex.quote(sys.executable)))
        (folder / "bin" / name).chmod(0o755)
    write_product(Edition(VERSIONS[-1]), folder / "rita/product", VERSIONS)
    return House(folder)


def test_readme_tells_of_every_page_in_the_order_of_the_story() -> None:
    assert sorted(ORDER) == sorted(path.name for path in PAGES.glob("*.md") if path.name != "README.md")


@pytest.mark.parametrize("page", ORDER)
def test_commands_of_the_page_work_as_they_stand(page: str, house: House) -> None:
    """The pages are one story: where one fails, those after it do."""
    for block in blocks(page):
        house.run(block)
    expected = {
        "two-signers.md": "1.0.0",
        "new-colleague.md": "1.1.0",
        "stolen-laptop.md": "1.2.0",
        "customer.md": "1.3.0",
    }
    if page in expected:
        assert house.door("host") == {expected[page]}
    if page == "lost-key.md":
        assert house.root_version("host") == "5"
    if page == "hotfix-line.md":
        assert (house.door("host"), house.door("other")) == ({"1.3.1"}, {"1.4.0"})
    if page == "drawer.md":
        assert house.door("spare") == {"1.4.0"}
        assert [house.root_version(name) for name in ("spare", "other", "late")] == ["6", "6", "6"]
