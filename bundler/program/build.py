"""Builds ``install``, the one file that is the whole site side: a readable header, then a gzip'ed tar.

The tar has two parts. The *base* (Debian's Python, the packages, the libraries) takes seconds to make and is kept in
the cache until one of its sources changes; our own package and the start script follow it and cost milliseconds.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.program import parts, payload, stage
from bundler.program.collect import Closure, Part, package_parts
from installer.durable import write_durably
from installer.errors import SealiftError

PACKAGE: Final = Path(__file__).resolve().parents[2] / "installer"


@dataclass(frozen=True)
class Base:
    """The part of the program that is the same for every version of ours: packed, and its size when unpacked."""

    packed: bytes
    unpacked: int


def build_program(output: Path, *, platform: str = parts.PLATFORM, cache: Path, package: Path = PACKAGE) -> Path:
    """Write the site program to the file ``output`` and return it.

    The same sources give the same bytes. ``cache`` is the folder that outlives a run; ``package`` is our own package.
    Raises ``platform-missing`` for a platform that can't be built for, ``tool-missing`` without Debian 12's Python,
    ``installer-missing`` where a package that goes in is not installed.
    """
    if platform != parts.PLATFORM:
        raise SealiftError(
            "platform-missing", f"no site program for {platform}", hint=f"the one platform today is {parts.PLATFORM}"
        )
    closure = Closure.of(parts.DISTRIBUTIONS)
    version = version_of(package)
    base = base_from(cache / "program", closure)
    with tempfile.TemporaryDirectory() as scratch:
        rest, size = pack_rest(Path(scratch), package, version, closure)
    content = base.packed + rest
    header = render_header(version, content, base.unpacked + size)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_durably(output, header + content, 0o755)
    return output


def version_of(package: Path) -> str:
    """``__version__`` of a package, read without importing it. Raises ``installer-missing``."""
    tree = ast.parse((package / "__init__.py").read_text())
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__version__")], value=ast.Constant(value=str() as version)):
                return version
            case _:
                continue
    raise SealiftError("installer-missing", f"no __version__ in {package}", hint="set it in __init__.py")


def pack_rest(scratch: Path, package: Path, version: str, closure: Closure) -> tuple[bytes, int]:
    """Our own package and, last of all, the start script, packed; and their size when unpacked."""
    stage.place(stage.package_parts(package), scratch)
    members = [payload.member(*file) for file in stage.read(scratch)]
    members.append(payload.member("program.json", stage.description(version, parts.PLATFORM, closure)))
    start = fill(stage.HERE / "start.sh", {"VERSION": version, "LOADER": parts.LOADER})
    members.append(payload.member("start.sh", start.encode(), 0o755))
    return payload.compressed([*members, payload.end_of_tar()]), sum(map(len, members))


def base_from(folder: Path, closure: Closure) -> Base:
    """The base out of the cache, or made anew where a file that went into it has changed."""
    key = base_key(closure)
    slot = folder / f"base-{key[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{slot.name}.lock").open("w") as lock:
        # It takes both cores many seconds: a second build waits for the first rather than doing the same.
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = read_slot(slot)
        if kept is not None:
            return kept
        found = stage.base_parts(closure)
        with tempfile.TemporaryDirectory() as scratch:
            stage.place(found, Path(scratch))
            members = [payload.member(*file) for file in stage.read(Path(scratch))]
        base = Base(payload.compressed(members), sum(map(len, members)))
        write_slot(slot, base, found)
        return base


def base_key(closure: Closure) -> str:
    """What tells one base from another: versions, our own scripts, and the content of every file of the packages.

    Environments may differ in a file although all versions agree (certificates that a distribution replaces), and
    several checkouts share one cache: sizes and times of files say whether one has *changed*, not whose it is.
    """
    own = [path.read_bytes() for path in sorted(stage.HERE.iterdir()) if path.suffix in {".py", ".cfg"}]
    hasher = hashlib.sha256(b"\0".join([json.dumps(closure.versions).encode(), *own]))
    for part in sorted(package_parts(closure)):
        with part.source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        hasher.update(f"\0{part.path}\0{digest}".encode())
    return hasher.hexdigest()


def stamps(sources: Iterable[str]) -> dict[str, list[int]]:
    """Size and time of change of each file; empty for one that is gone."""
    found: dict[str, list[int]] = {}
    for source in sources:
        try:
            status = Path(source).stat()
            found[source] = [status.st_size, status.st_mtime_ns]
        except FileNotFoundError:
            found[source] = []
    return found


def read_slot(slot: Path) -> Base | None:
    """A base that was kept, if it is whole and none of its sources has changed since."""
    try:
        record = json.loads((slot / "record.json").read_text())
        packed = (slot / "base.tar.gz").read_bytes()
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if record["sha256"] != hashlib.sha256(packed).hexdigest() or stamps(record["sources"]) != record["sources"]:
        return None
    return Base(packed, record["unpacked"])


def write_slot(slot: Path, base: Base, found: list[Part]) -> None:
    """Keep a base; the record comes last, so that it only ever speaks of whole files."""
    record = {
        "sha256": hashlib.sha256(base.packed).hexdigest(),
        "unpacked": base.unpacked,
        "sources": stamps(str(part.source) for part in found),
    }
    slot.mkdir(parents=True, exist_ok=True)
    write_durably(slot / "base.tar.gz", base.packed)
    write_durably(slot / "record.json", json.dumps(record).encode())


def fill(template: Path, values: dict[str, str]) -> str:
    """A script with its ``@NAME@`` filled in."""
    text = template.read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def render_header(version: str, content: bytes, unpacked: int) -> bytes:
    """The header for this content. It names its own length, which may change with the digits of that."""
    values = {
        "VERSION": version,
        "PLATFORM": parts.PLATFORM,
        "LOADER": parts.LOADER,
        "DIGEST": hashlib.sha256(content).hexdigest(),
        "MEGABYTES": str(unpacked // 1_000_000 + 1),
    }
    offset = 0
    while True:
        header = fill(stage.HERE / "header.sh", values | {"OFFSET": str(offset)}).encode()
        if len(header) + 1 == offset:
            return header
        offset = len(header) + 1
