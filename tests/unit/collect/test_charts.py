"""Charts packed the same by anybody, whole, and nothing in them that Helm would not take."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.collect.charts import Identity, collect_charts, pack, unpack
from bundler.collect.content import digest_of
from bundler.collect.files import CollectedFile
from bundler.collect.helmignore import ignored, rules
from bundler.manifest.recipe import Chart
from installer.errors import SealiftError

CHART = "apiVersion: v2\nname: web\nversion: 1.2.3\n"


def write(folder: Path, **files: str) -> Path:
    for name, text in {"Chart.yaml": CHART, "values.yaml": "a: 1\n", "templates/a.yaml": "kind: A\n", **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def collected(path: Path) -> CollectedFile:
    def none() -> Any:
        raise AssertionError("no registry is asked")

    (found,) = collect_charts([Chart(path=str(path))], Path("/"), none)
    return found


def refused(path: Path) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        collected(path)
    return caught.value


def names(found: CollectedFile) -> list[str]:
    return sorted(unpack(b"".join(found.content.chunks()), "it"))


def test_same_bytes_for_another_time_umask_order_and_owner(tmp_path: Path) -> None:
    first = collected(write(tmp_path / "one"))
    old = os.umask(0o077)
    try:
        folder = tmp_path / "two"
        folder.mkdir()
        for name in ("values.yaml", "Chart.yaml"):
            (folder / name).write_text((tmp_path / "one" / name).read_text())
        write(folder)
    finally:
        os.umask(old)
    os.utime(folder / "values.yaml", (1, time.time() - 10**8))
    (folder / "values.yaml").chmod(0o755)
    os.chown(folder / "Chart.yaml", 12345, 12345)
    second = collected(folder)
    assert first.file == second.file
    assert (first.file.path, first.file.role) == ("charts/web-1.2.3.tgz", "chart")
    assert not first.packed


def test_archive_is_taken_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "web.tgz"
    path.write_bytes(gzip.compress(gzip.decompress(pack("web", {"Chart.yaml": CHART.encode()})), 9, mtime=7))
    found = collected(path)
    assert b"".join(found.content.chunks()) == path.read_bytes()
    assert found.file.digest == str(digest_of(found.content))


@given(st.dictionaries(st.text("abc.-_", min_size=1, max_size=8).filter(lambda n: n not in (".", "..")), st.binary()))
def test_what_is_packed_is_what_is_unpacked(files: dict[str, bytes]) -> None:
    assert unpack(pack("web", files), "it") == files
    assert pack("web", dict(reversed(files.items()))) == pack("web", files)


@pytest.mark.parametrize("size", [0, 1, 0xFFFF - 512, 0xFFFF, 0x1FFFE, 200_000])
def test_stored_gzip_is_read_by_others(size: int) -> None:
    raw = pack("web", {"a": bytes(size)})
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(raw))) as archive:
        assert [(one.name, one.size, one.mode, one.mtime, one.uid, one.uname) for one in archive] == [
            ("web/a", size, 0o644, 0, 0, "")
        ]


def test_helmignore_is_honoured(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", **{".helmignore": "*.bak\n/only/at/top\nlocal/\n", "a.bak": "", "x/b.bak": ""})
    write(folder, **{"local/secret": "", "sub/only/at/top": "", "only/at/top": "", "templates/.hidden": ""})
    assert names(collected(folder)) == [
        ".helmignore",
        "Chart.yaml",
        "sub/only/at/top",
        "templates/a.yaml",
        "values.yaml",
    ]


@pytest.mark.parametrize(
    ("line", "path", "is_folder", "left_out"),
    [
        ("*.txt", "a.txt", False, True),
        ("*.txt", "deep/a.txt", False, True),
        ("a/*.txt", "a/b.txt", False, True),
        ("a/*.txt", "a/b/c.txt", False, False),
        ("/a.txt", "a.txt", False, True),
        ("/a.txt", "b/a.txt", False, False),
        ("dir/", "dir", True, True),
        ("dir/", "dir", False, False),
        ("[ab]?.x", "a1.x", False, True),
        ("[^ab].x", "a.x", False, False),
        ("[a-c].x", "b.x", False, True),
        (r"\*", "*", False, True),
        (r"\*", "a", False, False),
        ("!keep", "other", False, True),
        ("!keep", "keep", False, False),
        ("# comment", "# comment", False, False),
        ("", "a", False, False),
        ("ignored", "templates/.x", False, True),
    ],
)
def test_ignores_as_helm_does(line: str, path: str, is_folder: bool, left_out: bool) -> None:
    assert ignored(path, is_folder, rules(line, "it")) is left_out


@pytest.mark.parametrize("line", ["**/a", "[", "a[", "\\", "[]"])
def test_refuses_patterns_that_helm_refuses(line: str) -> None:
    with pytest.raises(SealiftError) as caught:
        rules(line, "it")
    assert caught.value.id == "chart-invalid"


def test_refuses_a_range_that_ends_before_it_begins() -> None:
    """Helm takes it, and it matches nothing."""
    with pytest.raises(SealiftError) as caught:
        rules("[?-/]", "it")
    assert caught.value.id == "chart-invalid" and "[?-/]" in caught.value.message


@given(st.text("ab*?[]^-\\/!.#", max_size=12), st.text("ab/.-]^", min_size=1, max_size=8))
def test_any_pattern_is_read_or_refused(line: str, path: str) -> None:
    try:
        by = rules(line, "it")
    except SealiftError as error:
        assert error.id == "chart-invalid"
    else:
        ignored(path, False, by)


NEEDS = CHART + "dependencies: [{name: db, version: 1.0.0, repository: 'oci://x/y'}, {name: cache, version: '>1'}]\n"
DB = "apiVersion: v2\nname: db\nversion: 1.0.0\n"


def test_missing_dependencies_are_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", **{"Chart.yaml": NEEDS, "charts/db/Chart.yaml": DB})
    error = refused(folder)
    assert error.id == "chart-invalid"
    assert "needs cache," in error.message
    assert error.hint == f"helm dependency build {folder}"


def test_dependencies_may_be_folders_or_archives(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", **{"Chart.yaml": NEEDS, "charts/db/Chart.yaml": DB, "charts/_old/Chart.yaml": "-"})
    (folder / "charts/cache-2.tgz").write_bytes(pack("cache", {"Chart.yaml": DB.replace("db", "cache").encode()}))
    assert "charts/cache-2.tgz" in names(collected(folder))


def test_old_requirements_count_too(tmp_path: Path) -> None:
    text = "dependencies: [{name: db, version: 1.0.0}]\n"
    folder = write(tmp_path / "c", **{"Chart.yaml": CHART.replace("v2", "v1"), "requirements.yaml": text})
    assert "needs db," in refused(folder).message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "a: [",
        "name: web\nversion: 1.0.0\n",
        "apiVersion: v3\nname: web\nversion: 1.0.0\n",
        "apiVersion: v2\nname: ../web\nversion: 1.0.0\n",
        "apiVersion: v2\nname: web\nversion: one\n",
        "apiVersion: v2\nname: web\nversion: 1.0\n",
        "apiVersion: v2\nname: web\nversion: 1.0.0+a/b\n",
        CHART + "dependencies: [a]\n",
        CHART + "dependencies: 5\n",
        "\udcff",
    ],
)
def test_refuses_a_chart_yaml_that_is_none(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path / "c")
    (folder / "Chart.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert refused(folder).id == "chart-invalid"


def test_refuses_a_folder_without_chart_yaml_links_and_missing_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "c")
    (folder / "link").symlink_to("/etc/passwd")
    assert refused(folder).id == "chart-invalid"
    (folder / "link").unlink()
    (folder / "Chart.yaml").unlink()
    assert refused(folder).id == "chart-invalid"
    assert refused(tmp_path / "nowhere").id == "input-missing"


def test_version_with_a_plus_gets_a_name_that_a_bundle_can_hold() -> None:
    assert Identity("web", "1.0.0+build.5").file == "charts/web-1.0.0_build.5.tgz"


def archive(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for one in members:
            tar.addfile(one, io.BytesIO(bytes(one.size)))
    return gzip.compress(buffer.getvalue())


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no gzip",
        gzip.compress(b"no tar" * 200),
        pack("web", {"a": b"1"})[:-40],
        archive(member("web/../../x")),
        archive(member("/web/x")),
        archive(member("alone")),
        archive(member("web/a"), member("web/a")),
        archive(member("web/a"), member("web/./a")),
        archive(member("web/a", tarfile.SYMTYPE, "/etc/passwd")),
        archive(member("web/a", tarfile.LNKTYPE, "web/b")),
        archive(member("web/a", tarfile.CHRTYPE)),
        archive(member("web/a", tarfile.FIFOTYPE)),
    ],
    ids=[
        *("empty", "no-gzip", "no-tar", "cut", "climbing", "absolute", "beside", "twice", "spelled-twice"),
        *("symlink", "hardlink", "device", "pipe"),
    ],
)
def test_refuses_hostile_archives(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.tgz").write_bytes(raw)
    assert refused(tmp_path / "a.tgz").id == "chart-invalid"


def test_refuses_what_unpacks_to_too_much(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(gzip.compress(bytes(101 * 1024 * 1024), 1))
    assert refused(tmp_path / "a.tgz").id == "too-large"


def test_refuses_a_folder_that_is_too_large(tmp_path: Path) -> None:
    folder = write(tmp_path / "c")
    for name in "ab":
        (folder / name).write_bytes(bytes(11 * 1024 * 1024))
    assert refused(folder).id == "too-large"
