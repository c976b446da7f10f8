"""Which module may know which: low layers never know high ones, and few may touch the outside.

Rules:
- `installer` stands alone: it never imports `bundler`.
- `installer.bundle` is the format and its verifier: of ours it knows `installer.errors` and nothing else.
- Programs are started by `installer/system.py` and `bundler/system.py` only.
- Modules that decide do no input or output, and do not know those that act.
- Nobody imports a command line, but `__main__`.

Modules are read, not imported, and found by walking the tree: a new one is held to the rules without being named here.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("bundler", "installer")

MAY_START_PROGRAMS = {"bundler.system", "installer.system"}
STARTS_PROGRAMS = {"subprocess", "pty", "multiprocessing", "concurrent.futures.process", "asyncio.subprocess"}
STARTS_PROGRAMS_BY_CALL = re.compile(
    r"os\.(system|popen|exec\w+|spawn\w+|posix_spawnp?|fork|forkpty)|asyncio\.create_subprocess_\w+"
)

DECIDES = re.compile(
    r"installer\.(plan|strategy|targets)(\..+)?|installer\.trust\.(marks|admission|clock|view)"
    r"|installer\.bundle\.(trust|signers|rootfile|roots)|bundler\.(writing\.assemble|trust\.ceremony|media\.way)"
)
OUTSIDE = {"asyncio", "docker", "http", "os", "oras", "requests", "shutil", "socket", "ssl", "tempfile", "urllib"}
OUTSIDE |= {"urllib3", *STARTS_PROGRAMS}
ACTS = {"bundler.system", "installer.execute", "installer.system"}
TOUCHES_FILES = {"iterdir", "mkdir", "read_bytes", "read_text", "rglob", "rmdir", "touch", "unlink", "write_bytes"}
TOUCHES_FILES |= {"write_text"}


@dataclasses.dataclass(frozen=True)
class Module:
    """A module as it is written."""

    name: str
    source: str
    is_package: bool = False

    def resolve(self, node: ast.ImportFrom) -> str:
        """The absolute name of what `from … import` names."""
        if not node.level:
            return node.module or ""
        parents = self.name.split(".")
        kept = parents[: len(parents) - node.level + self.is_package]
        return ".".join([*kept, *([node.module] if node.module else [])])

    def imports(self) -> Iterator[str]:
        """Everything that it may import, wherever the import stands: `a.b` and, for `from a import b`, both."""
        for node in ast.walk(ast.parse(self.source)):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self.resolve(node)
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Call) and called(node) in {
                "importlib.import_module",
                "import_module",
                "__import__",
            }:
                yield first_text(node)

    def calls(self) -> Iterator[str]:
        """Every name that it uses with a dot or calls plainly: `os.system`, `open`."""
        for node in ast.walk(ast.parse(self.source)):
            if isinstance(node, ast.Call):
                yield called(node)
            elif isinstance(node, ast.Attribute):
                yield ast.unparse(node)


def called(node: ast.Call) -> str:
    """The spelling of what is called."""
    return ast.unparse(node.func)


def first_text(node: ast.Call) -> str:
    """The first argument of a call where it is a plain string; what a rule can't know counts as the worst."""
    match node.args:
        case [ast.Constant(value=str() as text), *_]:
            return text
        case _:
            return "bundler.unknown"


def within(name: str, package: str) -> bool:
    """Whether a name is a package or stands in it."""
    return name == package or name.startswith(package + ".")


def within_any(name: str, packages: set[str]) -> bool:
    """Whether a name stands in one of several packages."""
    return any(within(name, package) for package in packages)


def violations(module: Module) -> list[str]:
    """What a module does against the rules, as sentences."""
    return [f"{module.name} {deed}" for rule in RULES for deed in rule(module)]


def stands_alone(module: Module) -> Iterator[str]:
    """The site's side never needs the build side."""
    if within(module.name, "installer"):
        yield from (f"imports {name}" for name in module.imports() if within(name, "bundler"))


def format_knows_only_errors(module: Module) -> Iterator[str]:
    """The format can be lifted out with its table of errors."""
    if not within(module.name, "installer.bundle"):
        return
    for name in module.imports():
        ours = within_any(name, set(PACKAGES))
        if ours and name != "installer" and not within_any(name, {"installer.bundle", "installer.errors"}):
            yield f"imports {name}, but the format knows installer.errors only"


def starts_no_program(module: Module) -> Iterator[str]:
    """One door to other programs on either side."""
    if module.name in MAY_START_PROGRAMS:
        return
    for name in module.imports():
        if within_any(name, STARTS_PROGRAMS) or STARTS_PROGRAMS_BY_CALL.fullmatch(name):
            yield f"imports {name}, but only system.py starts programs"
    for name in module.calls():
        if STARTS_PROGRAMS_BY_CALL.fullmatch(name):
            yield f"uses {name}, but only system.py starts programs"


def decides_without_acting(module: Module) -> Iterator[str]:
    """Plans, strategies and trust are values made from values."""
    if not DECIDES.fullmatch(module.name):
        return
    for name in module.imports():
        if within_any(name, OUTSIDE | ACTS):
            yield f"imports {name}, but it only decides"
    for name in module.calls():
        if name == "open" or name.rpartition(".")[2] in TOUCHES_FILES:
            yield f"uses {name}, but it only decides"


def knows_no_command_line(module: Module) -> Iterator[str]:
    """The command line calls the others, never the other way round."""
    if module.name.endswith(".__main__") or re.match(r"\w+\.(cli|verbs)(\.|$)", module.name):
        return
    for name in module.imports():
        if re.match(r"(bundler|installer)\.(cli|verbs)(\.|$)", name):
            yield f"imports the command line {name}"


RULES = (stands_alone, format_knows_only_errors, starts_no_program, decides_without_acting, knows_no_command_line)


def modules() -> list[Module]:
    """Every module of both packages."""
    found = []
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            found.append(Module(".".join(parts[:-1] if is_package else parts), path.read_text(), is_package))
    return found


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_keeps_the_direction_of_imports(module: Module) -> None:
    assert violations(module) == []


def test_no_further_package_stands_at_the_top() -> None:
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")} - {"tests"}
    assert packages == set(PACKAGES)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("installer.plan.plan", "from bundler import recipe"),
        ("installer.site.site", "if TYPE_CHECKING:\n    import bundler.manifest.recipe"),
        ("installer.site.site", "def late():\n    importlib.import_module('bundler.manifest.recipe')"),
        ("installer.site.site", "importlib.import_module(name)"),
        ("installer.bundle.archive", "from installer import site"),
        ("installer.bundle.archive", "from ..plan.plan import Step"),
        ("installer.bundle.archive", "from .. import journal"),
        ("installer.execute", "import subprocess"),
        ("bundler.collect.images", "from subprocess import run"),
        ("installer.execute", "import os\nos.execv('/bin/sh', [])"),
        ("installer.execute", "from os import system"),
        ("installer.execute", "import pty"),
        ("installer.execute", "from bundler.cli import main"),
        ("installer.strategy.bluegreen", "import docker"),
        ("installer.targets.compose", "from installer.system import run"),
        ("installer.bundle.trust", "from pathlib import Path\nPath('x').read_bytes()"),
        ("bundler.writing.assemble", "open('x')"),
        ("installer.plan.plan", "import os.path"),
        ("installer.report", "from installer.cli import app"),
        ("bundler.media.kit", "from .. import cli"),
    ],
)
def test_refuses_what_breaks_a_rule(name: str, source: str) -> None:
    assert violations(Module(name, source))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("bundler.writing.write", "from installer.bundle import archive\nfrom installer.errors import SealiftError"),
        ("installer.bundle.archive", "from installer.errors import SealiftError\nfrom . import digest"),
        ("installer.bundle.archive", "from installer import errors"),
        ("installer.system", "import subprocess\nimport os\nos.execv('/bin/true', [])"),
        ("installer.strategy.bluegreen", "from installer.plan.plan import Step\nfrom pathlib import PurePosixPath"),
        ("installer.__main__", "from installer.cli import main"),
        ("installer.cli.status", "from installer.cli import options"),
        ("installer.site.site", "import os\nos.environ"),
    ],
)
def test_lets_pass_what_the_rules_allow(name: str, source: str) -> None:
    assert violations(Module(name, source)) == []
