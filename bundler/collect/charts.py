"""Helm charts: out of a folder, packed the same whoever packs; out of a ``.tgz`` or a registry, byte for byte.

Folders are packed as ``helm package`` does (``.helmignore``), but without time, owner and mode, and stored
instead of deflated, so that no library's version shows in the bytes; the bundle compresses them.
"""

from __future__ import annotations

import gzip
import io
import os
import posixpath
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from bundler.collect.content import Bytes, Content, FileContent, digest_of, read_whole
from bundler.collect.documents import link, read_document
from bundler.collect.files import CollectedFile, collect_file
from bundler.collect.helmignore import NAME as IGNORE
from bundler.collect.helmignore import ignored, rules
from bundler.collect.reference import Reference
from bundler.manifest.recipe import Chart
from bundler.manifest.version import Version
from installer.bundle.release import Descriptor
from installer.errors import SealiftError

if TYPE_CHECKING:
    from bundler.collect.registry.store import Registries

MAX_CHART: Final = 20 * 1024 * 1024
_MAX_UNPACKED: Final = 100 * 1024 * 1024
_CONFIG: Final = "application/vnd.cncf.helm.config.v1+json"
_CONTENT: Final = ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/tar+gzip")
_PROVENANCE: Final = "application/vnd.cncf.helm.chart.provenance.v1.prov"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")

Files = Mapping[str, bytes]
"""The files of a chart by their path below its folder."""


@dataclass(frozen=True)
class Identity:
    """Name and version, as ``Chart.yaml`` says."""

    name: str
    version: str

    @property
    def file(self) -> str:
        """The member that the bundle holds it as. A plus, which no path may have, is an underline, as in registries."""
        return f"charts/{self.name}-{self.version.replace('+', '_')}.tgz"


def collect_charts(
    charts: Iterable[Chart], base: Path, registries: Callable[[], Registries]
) -> Iterator[CollectedFile]:
    """Every chart; their locations are filled in already and relative to ``base``.

    Raises ``chart-invalid``, ``input-missing``, ``source-unsupported``, ``image-not-found`` (2), ``too-large`` (3),
    ``digest-mismatch`` (4), ``registry-*`` (9).
    """
    for chart in charts:
        if chart.source is not None:
            yield from _from_registry(chart.source, registries)
        elif (base / str(chart.path)).is_dir():
            yield _from_folder(base / str(chart.path))
        else:
            content = FileContent.of(base / str(chart.path), "chart")
            raw = read_whole(content, MAX_CHART, f"chart {chart.path}")
            yield _file(check_chart(unpack(raw, str(chart.path)), str(chart.path)), Bytes(raw))


def check_chart(files: Files, what: str) -> Identity:
    """Name and version of a chart that is whole. Raises ``chart-invalid`` (2)."""
    found = _identity(_yaml(files, "Chart.yaml", what), what)
    held = {_identity(_yaml(part, "Chart.yaml", what), what).name for part in _subcharts(files, what)}
    listed = [*_dependencies(files, "Chart.yaml", what), *_dependencies(files, "requirements.yaml", what)]
    missing = sorted(set(listed) - held)
    if missing:
        raise SealiftError(
            "chart-invalid",
            f"chart {what} needs {', '.join(missing)}, which its folder charts/ does not hold",
            hint=f"helm dependency build {what}",
        )
    return found


def pack(name: str, files: Files) -> bytes:
    """A chart archive: the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(files, key=lambda path: (path != "Chart.yaml", path)):
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size = len(files[path])
            archive.addfile(info, io.BytesIO(files[path]))
    return _gzip_stored(buffer.getvalue())


def unpack(raw: bytes, what: str) -> dict[str, bytes]:
    """The files of a chart archive. Raises ``chart-invalid`` (2), ``too-large`` (3)."""
    files: dict[str, bytes] = {}
    try:
        plain = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(_MAX_UNPACKED + 1)
        if len(plain) > _MAX_UNPACKED:
            raise SealiftError(
                "too-large", f"chart {what} unpacks to more than {_MAX_UNPACKED} bytes, which Helm refuses"
            )
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            for one in archive:
                if one.isdir():
                    continue
                _, _, path = posixpath.normpath(one.name).partition("/")
                content = archive.extractfile(one) if one.isreg() and not one.issparse() else None
                if (
                    content is None
                    or not path
                    or ".." in one.name.split("/")
                    or one.name.startswith("/")
                    or path in files
                ):
                    raise ValueError(f"its member {one.name[:200]!r} is no plain file below the chart's folder")
                files[path] = content.read()
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        raise _invalid(what, f"{error}"[:300]) from error
    return files


def _from_folder(folder: Path) -> CollectedFile:
    by = rules((folder / IGNORE).read_text("utf-8") if (folder / IGNORE).is_file() else "", str(folder))
    files: dict[str, bytes] = {}
    for top, names, leaves in os.walk(folder):
        here = Path(top).relative_to(folder)
        for path in sorted([*(here / name for name in names), *(here / name for name in leaves)]):
            left_out = ignored(path.as_posix(), (folder / path).is_dir(), by)
            if left_out and path.name in names:
                names.remove(path.name)
            if left_out:
                continue
            if (folder / path).is_symlink():
                raise _invalid(str(folder), f"{path} is a link", "put the file itself there")
            if path.name in leaves:
                size = sum(map(len, files.values()))
                content = FileContent.of(folder / path, "chart")
                files[path.as_posix()] = read_whole(content, max(0, MAX_CHART - size), f"chart {folder}")
    found = check_chart(files, str(folder))
    return _file(found, Bytes(pack(found.name, files)))


def _from_registry(source: str, registries: Callable[[], Registries]) -> Iterator[CollectedFile]:
    """The archive, and its provenance where it has one."""
    if not source.startswith("oci://"):
        raise SealiftError(
            "source-unsupported", f"cannot take a chart from {source[:200]}", hint="write oci://HOST/NAME:VERSION"
        )
    store = registries().repository(Reference.parse(source.removeprefix("oci://").replace("+", "_")))
    entry = store.entry()
    try:
        fetched = store.manifest(entry.part)
        document = read_document(entry.part, b"".join(fetched.chunks()) if fetched else b"", store.name)
        config, parts = (
            link(document.value["config"], store.name),
            [link(one, store.name) for one in document.value["layers"]],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _invalid(store.name, "it is no chart in a registry") from error
    charts = [one for one in parts if one.part.media_type in _CONTENT]
    if config.part.media_type != _CONFIG or len(charts) != 1:
        raise _invalid(store.name, f"it is no chart but {config.part.media_type}", "images go under `images:`")
    raw = _whole(store.blob(charts[0].part), charts[0].part, store.name)
    found = check_chart(unpack(raw, store.name), store.name)
    yield _file(found, Bytes(raw))
    for one in parts:
        if one.part.media_type == _PROVENANCE:
            signed = Bytes(_whole(store.blob(one.part), one.part, store.name))
            yield collect_file(f"{found.file}.prov", "chart", signed, executable=False)


def _whole(content: Content | None, part: Descriptor, name: str) -> bytes:
    """A blob of a chart, which must be that of its digest."""
    raw = read_whole(content, MAX_CHART, f"chart {name}") if content else b""
    if str(digest_of(Bytes(raw))) != part.digest:
        raise SealiftError("digest-mismatch", f"{part.digest[:19]} of {name} is not what its digest says")
    return raw


def _file(found: Identity, content: Content) -> CollectedFile:
    return collect_file(found.file, "chart", content, executable=False)


def _identity(value: dict[str, Any], what: str) -> Identity:
    name, version = value.get("name"), value.get("version")
    if value.get("apiVersion") not in ("v1", "v2") or not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _invalid(what, "Chart.yaml needs apiVersion (v1 or v2), and a name of letters, digits, dots and dashes")
    core, _, build = str(version).partition("+")
    try:
        Version.parse(core)
    except SealiftError as error:
        raise _invalid(what, f"the version {str(version)[:80]!r} of {name} is not SemVer") from error
    if not re.fullmatch(r"[0-9A-Za-z.-]*", build):
        raise _invalid(what, f"the version {str(version)[:80]!r} of {name} is not SemVer")
    return Identity(name, str(version))


def _dependencies(files: Files, path: str, what: str) -> list[str]:
    if path not in files:
        return []
    listed = _yaml(files, path, what).get("dependencies") or []
    try:
        return [str(one["name"]) for one in listed]
    except (KeyError, TypeError) as error:
        raise _invalid(what, f"the dependencies in {path} are no list of names") from error


def _subcharts(files: Files, what: str) -> Iterator[Files]:
    """What stands in ``charts/``, packed or not; names that begin with a dot or an underline don't count."""
    folders: dict[str, dict[str, bytes]] = {}
    for path, content in files.items():
        parts = path.split("/")
        if parts[0] != "charts" or len(parts) < 2 or parts[1].startswith((".", "_")):
            continue
        if len(parts) > 2:
            folders.setdefault(parts[1], {})["/".join(parts[2:])] = content
        elif parts[1].endswith(".tgz"):
            yield unpack(content, f"{what}/{path}")
    yield from folders.values()


def _yaml(files: Files, path: str, what: str) -> dict[str, Any]:
    if path not in files:
        raise _invalid(what, f"it has no {path}", "name the folder that holds Chart.yaml")
    try:
        value = yaml.safe_load(files[path].decode("utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(what, f"{path} is not YAML: {error}"[:300]) from error
    if not isinstance(value, dict):
        raise _invalid(what, f"{path} is no mapping")
    return value


def _gzip_stored(data: bytes) -> bytes:
    """RFC 1952 with stored blocks (RFC 1951, 3.2.4), no time and no system."""
    blocks = [data[start : start + 0xFFFF] for start in range(0, len(data), 0xFFFF)] or [b""]
    stored = b"".join(
        struct.pack("<BHH", number == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for number, block in enumerate(blocks)
    )
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + stored + struct.pack("<II", zlib.crc32(data), len(data))


def _invalid(what: str, why: str, hint: str = "helm lint says more") -> SealiftError:
    return SealiftError("chart-invalid", f"{what} is no chart that can be carried: {why}", hint=hint)
