"""A layer of an image from Debian packages: chosen files, one reproducible tar."""

import io
import posixpath
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

EPOCH = 1767225600  # 2026-01-01: the time of every file in a layer

_MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_UNWANTED = (
    "usr/lib/postgresql/15/lib/bitcode",
    "usr/lib/postgresql/15/lib/llvmjit",
    "usr/share/bug",
    "usr/share/doc-base",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/postgresql/15/man",
    "usr/share/zoneinfo/posix",
    "usr/share/zoneinfo/right",
)
_NO_PROGRAMS = {"libc-bin", "tzdata", "ca-certificates", "base-files"}
_USERS = (
    "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    "lan-chat:x:10001:10001:lan-chat:/nonexistent:/usr/sbin/nologin\n"
    "postgres:x:10005:10005:postgres:/var/lib/postgresql:/usr/sbin/nologin\n"
)
_GROUPS = "root:x:0:\nlan-chat:x:10001:\npostgres:x:10005:\n"


class Layer:
    """Files of one layer by path; the last one put at a path wins."""

    def __init__(self) -> None:
        self.members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Put a regular file of root."""
        info = tarfile.TarInfo(path)
        info.size, info.mode = len(content), mode
        self.members[path] = (info, content)

    def folder(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        """Put a folder; `owner` is the number of both its user and its group."""
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, owner, owner
        self.members[path] = (info, b"")

    def link(self, path: str, target: str) -> None:
        """Put a symbolic link."""
        info = tarfile.TarInfo(path)
        info.type, info.linkname = tarfile.SYMTYPE, target
        self.members[path] = (info, b"")

    def write(self, path: Path) -> None:
        """Write the layer as a tar that depends on nothing but its content.

        Every folder on the way is named: whoever unpacks would make the others with today's date.
        """
        for name in [*self.members]:
            for parent in map(str, PurePosixPath(name).parents):
                if parent != "." and parent not in self.members:
                    self.folder(parent)
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
            for name in sorted(self.members):
                info, content = self.members[name]
                info.name, info.mtime, info.uname, info.gname = name, EPOCH, "", ""
                archive.addfile(info, io.BytesIO(content))


def read_list(path: Path) -> list[str]:
    """Names of packages in a list with comments."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def base_layer(packages: Iterable[str]) -> Layer:
    """The layer that all images share: the C library, certificates, time zones, names of users."""
    layer = Layer()
    for name in _MERGED:
        if name in {"bin", "lib", "lib64", "sbin"}:
            layer.folder(f"usr/{name}")
            layer.link(name, f"usr/{name}")
    unpack(layer, packages)
    layer.file("etc/passwd", _USERS.encode())
    layer.file("etc/group", _GROUPS.encode())
    layer.file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\nservices: files\n")
    certificates = [
        content if content.endswith(b"\n") else content + b"\n"
        for path, (_, content) in sorted(layer.members.items())
        if path.startswith("usr/share/ca-certificates/") and path.endswith(".crt")
    ]
    layer.file("etc/ssl/certs/ca-certificates.crt", b"".join(certificates))
    layer.folder("tmp", 0o1777)
    return layer


def store_layer(packages: Iterable[str]) -> Layer:
    """PostgreSQL and what it needs on top of the base."""
    layer = Layer()
    unpack(layer, packages)
    layer.link("usr/bin/sh", "dash")
    layer.folder("var/lib/postgresql", 0o755, 10005)
    layer.folder("var/lib/postgresql/data", 0o700, 10005)
    return layer


def unpack(layer: Layer, packages: Iterable[str]) -> None:
    """Download packages with the machine's own apt and put what is wanted of them into the layer."""
    wanted = sorted(packages)
    with tempfile.TemporaryDirectory(prefix="lan-chat-") as folder:
        subprocess.run(
            ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *wanted],
            cwd=folder,
            check=True,
        )
        for package in sorted(Path(folder).glob("*.deb")):
            _unpack_one(layer, package)


def _unpack_one(layer: Layer, package: Path) -> None:
    control = subprocess.run(["dpkg-deb", "-f", package], check=True, capture_output=True).stdout
    name = package.name.split("_")[0]
    # Where scanners look for the packages of images that have no package manager.
    layer.file(f"var/lib/dpkg/status.d/{name}", control)
    content = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for path, member in _wanted(archive, name):
            source = archive.extractfile(member) if member.isreg() or member.islnk() else None
            data = source.read() if source else b""
            kept = tarfile.TarInfo(path)
            kept.type = tarfile.REGTYPE if member.islnk() else member.type
            kept.mode, kept.uid, kept.gid = member.mode & 0o1777, member.uid, member.gid
            kept.size, kept.linkname = len(data), member.linkname if member.issym() else ""
            layer.members[path] = (kept, data)


def _wanted(archive: tarfile.TarFile, package: str) -> Iterator[tuple[str, tarfile.TarInfo]]:
    for member in archive:
        path = posixpath.normpath(member.name).lstrip("/")
        top, _, rest = path.partition("/")
        if top in _MERGED:
            if not rest:
                continue
            path = f"usr/{path}"
        if path != "." and not _unwanted(path, package):
            yield path, member


def _unwanted(path: str, package: str) -> bool:
    if path.startswith("usr/share/doc/"):
        return "/" in path[14:] and not path.endswith("/copyright")
    if package in _NO_PROGRAMS and path.startswith(("usr/bin/", "usr/sbin/")):
        return True
    if package == "base-files" and path.startswith(("var/run", "var/lock", "tmp")):
        return True
    return "/gconv" in path or any(path == no or path.startswith((f"{no}/", f"{no}.")) for no in _UNWANTED)
