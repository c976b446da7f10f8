"""The program is built from one table, the same bytes each time, and carries what the site side imports, no more."""

from __future__ import annotations

import ast
import gzip
import io
import sys
import tarfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import NoReturn

import pytest

from bundler.program import build as building
from bundler.program import build_program, stage
from bundler.program.build import Base, base_key, read_slot, write_slot
from bundler.program.collect import Closure, Part
from bundler.program.parts import DISTRIBUTIONS, normalised, required_name, wants_package_file, wants_standard_file
from installer.errors import SealiftError


@pytest.fixture(scope="module")
def contents(real_program: Path) -> dict[str, tarfile.TarInfo]:
    """What the tar behind the header holds."""
    program = real_program.read_bytes()
    plain = gzip.decompress(program[program.index(b"\x1f\x8b\x08") :])
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        return {member.name: member for member in tar}


def imported_by_the_site_side(repository: Path) -> Iterator[str]:
    """The first name of everything that `installer` imports."""
    for path in (repository / "installer").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def test_the_table_names_what_the_site_side_imports(repository: Path) -> None:
    owners = metadata.packages_distributions()
    standard = {*sys.stdlib_module_names, "compression"}  # the latter since Python 3.14, which the site side asks for
    foreign = set(imported_by_the_site_side(repository)) - standard - {"installer"}
    assert {normalised(owners[name][0]) for name in foreign} <= set(DISTRIBUTIONS)


@pytest.mark.parametrize("name", ["pytest", "oras", "mypy", "pycparser", "dnspython"])
def test_leaves_out_what_a_site_has_no_use_for(name: str) -> None:
    assert name not in Closure.of(DISTRIBUTIONS).versions


def test_refuses_to_build_without_a_package_that_it_needs() -> None:
    with pytest.raises(SealiftError) as refused:
        Closure.of(["a-distribution-nobody-has"])
    assert refused.value.id == "installer-missing"


def test_refuses_a_platform_that_it_cannot_build_for(tmp_path: Path) -> None:
    with pytest.raises(SealiftError) as refused:
        build_program(tmp_path / "install", platform="linux/arm64", cache=tmp_path)
    assert refused.value.id == "platform-missing"
    assert not (tmp_path / "install").exists()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("requests>=2.26.0", "requests"),
        ("MarkupSafe>=2.0", "markupsafe"),
        ("typing_extensions ; python_version < '3.11'", "typing-extensions"),
        ("paramiko; extra == 'ssh'", None),
        ('brotli>=1.2; (platform_python_implementation == "CPython") and extra == "brotli"', None),
    ],
)
def test_follows_requirements_but_no_extras(line: str, name: str | None) -> None:
    assert required_name(line) == name


@pytest.mark.parametrize("path", ["test/support.py", "lib-dynload/_tkinter.so", "encodings/gb18030.py", "x.pyc"])
def test_leaves_out_standard_files_without_use(path: str) -> None:
    assert not wants_standard_file(PurePosixPath(path))


@pytest.mark.parametrize("path", ["os.py", "encodings/utf_8.py", "lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so"])
def test_keeps_standard_files_of_use(path: str) -> None:
    assert wants_standard_file(PurePosixPath(path))


@pytest.mark.parametrize("path", ["../../bin/pygmentize", "x-1.dist-info/RECORD", "x/tests/t.py", "x/__init__.pyi"])
def test_leaves_out_package_files_without_use(path: str) -> None:
    assert not wants_package_file(PurePosixPath(path))


@pytest.mark.parametrize("path", ["x/__init__.py", "x-1.dist-info/METADATA", "x-1.dist-info/licenses/LICENSE"])
def test_keeps_package_files_of_use(path: str) -> None:
    assert wants_package_file(PurePosixPath(path))


@pytest.mark.e2e
def test_holds_plain_files_of_nobody_and_no_time(contents: dict[str, tarfile.TarInfo]) -> None:
    assert list(contents)[-1] == "start.sh"
    for member in contents.values():
        assert member.isfile() and (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
        assert member.mtime == 1_577_836_800 and member.mode in {0o644, 0o755}
        assert not PurePosixPath(member.name).is_absolute() and ".." not in PurePosixPath(member.name).parts


@pytest.mark.e2e
def test_carries_our_site_side_and_never_the_build_side(contents: dict[str, tarfile.TarInfo]) -> None:
    home = "lib/python3/dist-packages"
    assert f"{home}/installer/program/hostprogram.py" in contents
    assert f"{home}/installer/program/__pycache__/hostprogram.cpython-311.pyc" in contents
    assert not [path for path in contents if "bundler" in path or "/pytest" in path or path.endswith("RECORD")]


@pytest.mark.e2e
def test_carries_the_licences_of_what_it_carries(contents: dict[str, tarfile.TarInfo]) -> None:
    assert {f"share/doc/{name}/copyright" for name in ("libc6", "libssl3", "zlib1g", "python3.11-minimal")} <= set(
        contents
    )


@pytest.mark.e2e
def test_names_no_folder_of_the_build_machine(real_program: Path, repository: Path) -> None:
    program = real_program.read_bytes()
    plain = gzip.decompress(program[program.index(b"\x1f\x8b\x08") :])
    assert str(repository).encode() not in plain


@pytest.mark.e2e
def test_is_built_again_to_the_same_bytes(standin: Path, tmp_path: Path) -> None:
    package = standin.parent.parent / "installer"
    again = build_program(tmp_path / "install", cache=tmp_path / "empty cache", package=package)
    assert again.read_bytes() == standin.read_bytes()
    assert again.stat().st_mode & 0o777 == 0o755


@pytest.mark.e2e
def test_strips_and_compiles_nothing_anew_where_the_cache_has_it(
    standin: Path, tmp_path: Path, wide_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anew(*_: object) -> NoReturn:
        raise AssertionError("the base was made anew")

    package = standin.parent.parent / "installer"
    build_program(tmp_path / "first", cache=wide_cache, package=package)
    monkeypatch.setattr(stage, "base_parts", anew)
    build_program(tmp_path / "second", cache=wide_cache, package=package)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_takes_from_the_cache_only_what_is_whole_and_of_today(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("one")
    write_slot(tmp_path, Base(b"packed", 7), [Part("lib/source", source)])
    assert read_slot(tmp_path) == Base(b"packed", 7)
    source.write_text("another")
    assert read_slot(tmp_path) is None
    write_slot(tmp_path, Base(b"packed", 7), [Part("lib/source", source)])
    (tmp_path / "base.tar.gz").write_bytes(b"packe")
    assert read_slot(tmp_path) is None


def test_keeps_bases_apart_whose_packages_differ_in_content_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two checkouts with the same versions, one of which has other certificates, share the wide cache."""
    closure = Closure({"certifi": "1"})
    keys = set()
    for text in ("one authority", "other authority"):
        (tmp_path / "cacert.pem").write_text(text)
        monkeypatch.setattr(building, "package_parts", lambda _: [Part("cacert.pem", tmp_path / "cacert.pem")])
        keys.add(base_key(closure))
        assert base_key(closure) in keys
    assert len(keys) == 2
