"""The stage on which docs/media.md is played: every section on fresh machines, every command as it stands.

A section is a ``## `` heading of the page. Its blocks are ```` ```sh MACHINE ```` (with ``refused ID`` where the one
command in it must end so) and ```` ```text ````: what the block before says, line by line, in this order, ``…`` for
anything. Each section has a test of its own in some ``test_media_page*.py``, which calls
``stage.section("Its heading")``; it may prepare, damage and look between the blocks. The machines are ``vendor``
(``product/`` with the sources, ``keys/``, ``root.json``) and ``host`` (a site whose target is kept in files);
``/media/…`` is a folder that both see, and :attr:`Stage.words` says what else stands for what.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from installer.errors import ERRORS
from tests.contract.editions import Edition, write_product
from tests.contract.program import settle

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PAGE: Final = REPOSITORY / "docs/media.md"
PRODUCT: Final = "lan-chat"
VERSIONS: Final = ("2.0.0", "2.1.0", "2.1.1", "2.2.0")
_BULK: Final = 600_000
"""Bytes of the binary that makes the bundle large enough to be cut into parts."""
_PASSPHRASE: Final = "pass word of the vendor"

_BUNDLE: Final = """\
#!/bin/sh
# The program that goes onto the media is not what this page is about: any file will do.
[ "$1" != build ] || set -- "$@" --installer "$VENDOR_PRODUCT/install"
exec {python} -m bundler "$@"
"""
_SEALIFT: Final = """\
#!/bin/sh
# Where the page reaches the engine, it is one in files.
[ "$1" = install ] || [ "$1" = receipt ] || exec {python} -m installer "$@"
verb=$1
shift
exec {python} -m tests.contract.program "$verb" "$SEALIFT_STATE_DIR" "$@"
"""


@dataclass(frozen=True)
class Block:
    """Commands for one machine; ``refused`` is the id that they must end with; ``says`` what they must say."""

    machine: str
    script: str
    refused: str
    says: str


def sections() -> dict[str, list[Block]]:
    """The blocks of every section that has some, by heading."""
    parts = re.split(r"^## (.+)\n", PAGE.read_text(), flags=re.MULTILINE)
    return {title: _blocks(text) for title, text in zip(parts[1::2], parts[2::2], strict=True) if "```" in text}


def _blocks(text: str) -> list[Block]:
    pattern = r"^```sh ([a-z]+)(?: refused ([a-z-]+))?\n(.*?)^```\n(?:\n?```text\n(.*?)^```)?"
    found = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    fences = sum(4 if says else 2 for *_, says in found)
    assert text.count("```") == fences, "a block that nobody runs or compares"
    return [Block(machine, script, refused, says) for machine, refused, script, says in found]


@dataclass
class Stage:
    """The machines, and the media between them. ``words`` on the page → what they are here."""

    folder: Path
    words: dict[str, str] = field(default_factory=dict)

    @property
    def vendor(self) -> Path:
        """Home of the machine that builds."""
        return self.folder / "vendor"

    @property
    def host(self) -> Path:
        """Home of the site's machine; its state dir is ``state``."""
        return self.folder / "host"

    @property
    def media(self) -> Path:
        """What ``/media`` is."""
        return self.folder / "media"

    def section(self, title: str) -> Iterator[str]:
        """Runs block after block, and gives what each has said (standard output, then standard error)."""
        return map(self.run, sections()[title])

    def run(self, block: Block) -> str:
        """One block, to the end that the page tells of."""
        script = block.script.replace("/media", str(self.media))
        for word, meant in self.words.items():
            script = script.replace(word, meant)
        done = self._shell(block.machine, script)
        shown = f"{block.script}{done.stdout}{done.stderr}"
        assert done.returncode == (ERRORS[block.refused] if block.refused else 0), shown
        self._compare(block.says, done.stdout + done.stderr)
        if block.refused:
            again = self._shell(block.machine, script.rstrip() + " --json")
            assert f'"id": "{block.refused}"' in again.stdout, again.stdout
        return done.stdout + done.stderr

    def _compare(self, says: str, said: str) -> None:
        """Every line of ``says`` stands in ``said``, in this order."""
        lines = iter(said.replace(str(self.media), "/media").splitlines())
        for line in says.splitlines():
            words = (r"\s+".join(map(re.escape, piece.split(" "))) for piece in re.sub(" +", " ", line).split("…"))
            wanted = re.compile(".*".join(words))
            assert any(wanted.fullmatch(found.rstrip()) for found in lines), f"not said: {line}\n{said}"

    def _shell(self, machine: str, script: str) -> subprocess.CompletedProcess[str]:
        home = self.folder / machine
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SEALIFT_")} | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(home),
            "VENDOR_PRODUCT": str(self.vendor / "product/manifests" / PRODUCT),
            "SEALIFT_PASSPHRASE": _PASSPHRASE,
            "SEALIFT_KEY": str(self.vendor / "keys/release.key"),
            "SEALIFT_STATE_DIR": str(self.host / "state"),
            "SOURCE_DATE_EPOCH": "1790000000",
            "COLUMNS": "200",
        }
        return subprocess.run(
            ["bash", "-euc", script], cwd=home, env=environment, capture_output=True, text=True, timeout=120
        )


def furnish(folder: Path) -> Stage:
    """Machines on which nothing has been built yet: keys, root of trust, sources of :data:`VERSIONS`, an empty site."""
    stage = Stage(folder)
    for path in (folder / "bin", stage.media, stage.vendor):
        path.mkdir(parents=True)
    for name, text in (("bundle", _BUNDLE), ("sealift", _SEALIFT)):
        (folder / "bin" / name).write_text(text.format(python=shlex.quote(sys.executable)))
        (folder / "bin" / name).chmod(0o755)
    base = write_product(Edition(VERSIONS[-1], product=PRODUCT), stage.vendor / "product", VERSIONS)
    (base / "chatctl").write_bytes(random.Random(7).randbytes(_BULK))
    recipe = base / "release.yaml"
    recipe.write_text(f"{recipe.read_text()}binaries: [{{name: chatctl, path: chatctl}}]\n")
    settle(stage.host)
    commands = f"""\
bundle keygen --out keys --name root
bundle keygen --out keys --name release
bundle trust init --product {PRODUCT} --root-key keys/root.key --release-key keys/release.pub --out root.json
cp root.json {stage.host}
sealift trust init root.json --fingerprint "sha256:$(sha256sum root.json | cut -c 1-64)"
"""
    stage.run(Block("vendor", commands, "", ""))
    return stage


def copy_of(stage: Stage, folder: Path) -> Stage:
    """The same machines again, elsewhere."""
    shutil.copytree(stage.folder, folder, symlinks=True)
    return Stage(folder)
