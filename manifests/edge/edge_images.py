"""Makes the images of the site's own services, HAProxy and a registry, from the Debian packages installed here.

Rules:
- An image holds one program, exactly its shared libraries, the few files they read, and no shell.
- The same package versions give the same image id and manifest digest, on every machine: no clock, no build host.
- Each image is loaded into the engine under its Debian version, and stands as an OCI layout in the cache.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker

USER = 10001
CAP_NET_BIND_SERVICE = 10
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

PASSWD = f"root:x:0:0:root:/:/nonexistent\nsealift:x:{USER}:{USER}:sealift:/:/nonexistent\n"
GROUP = f"root:x:0:\nsealift:x:{USER}:\n"
NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"

# Works as it is for a look; a site mounts its own over it.
REGISTRY_CONFIG = """\
version: 0.1
storage:
  filesystem: {rootdirectory: /var/lib/registry}
  delete: {enabled: false}
http: {addr: "127.0.0.1:5000"}
"""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What one image consists of, beside what every image has."""

    name: str
    package: str
    program: str
    command: tuple[str, ...]
    title: str
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)  # path in the image -> its text
    authorities: bool = False  # Debian's certificate authorities, where programs look for them
    folders: tuple[str, ...] = ()  # empty ones, owned by USER: where a site mounts its own
    capabilities: tuple[int, ...] = ()


RECIPES = (
    Recipe(
        name="haproxy",
        package="haproxy",
        program="/usr/sbin/haproxy",
        command=("-W", "-db", "-f", "/edge/haproxy.cfg"),
        title="HAProxy, the front door of a site",
        folders=("/edge",),
        capabilities=(CAP_NET_BIND_SERVICE,),
    ),
    Recipe(
        name="registry",
        package="docker-registry",
        program="/usr/bin/docker-registry",
        command=("serve", "/etc/docker/registry/config.yml"),
        title="CNCF Distribution, the registry of a site",
        files={"/etc/docker/registry/config.yml": REGISTRY_CONFIG},
        authorities=True,
        folders=("/var/lib/registry",),
    ),
)


@dataclasses.dataclass(frozen=True)
class Package:
    """An installed Debian package, and its paragraph as dpkg prints it."""

    name: str
    version: str
    paragraph: str


@dataclasses.dataclass(frozen=True)
class Image:
    """A finished image: its blobs by digest, and which of them is what."""

    reference: str
    manifest: str
    config: str
    layer: str
    blobs: Mapping[str, bytes]


def output(*command: str, partly: bool = False) -> str:
    """What a command prints. `partly`: a failure is fine, as long as something was printed."""
    done = subprocess.run(command, check=not partly, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    return done.stdout


def libraries(program: str) -> list[str]:
    """The shared libraries and the loader that a program is started with, as absolute paths."""
    return sorted(set(re.findall(r"(/\S+) \(0x", output("ldd", program))))


def owners(paths: Iterable[str]) -> list[Package]:
    """The packages that files come from. Since /lib became a link into /usr, dpkg knows a file by either name."""
    names = {os.path.realpath(path) for path in paths}
    asked = [spelling for name in names for spelling in (name, name.removeprefix("/usr"))]
    found = dict(line.split(": ", 1)[::-1] for line in output("dpkg-query", "-S", *asked, partly=True).splitlines())
    for name in names:
        if name not in found and name.removeprefix("/usr") not in found:
            raise SystemExit(f"error: {name} comes from no Debian package\n hint: install it from Debian's archive")
    return [package(name) for name in sorted(set(found.values()))]


def package(name: str) -> Package:
    """An installed package by its name."""
    paragraph = output("dpkg-query", "-s", name)
    version = re.search(r"^Version: (.+)$", paragraph, re.M)
    assert version, f"dpkg names no version of {name}"  # noqa: S101 - dpkg's own format
    return Package(name, version[1], paragraph)


def file_capability(numbers: Iterable[int]) -> str:
    """The extended attribute that grants capabilities to a program file (revision 2, effective)."""
    mask = sum(1 << number for number in numbers)
    value = struct.pack("<5I", 0x02000001, mask & 0xFFFFFFFF, 0, mask >> 32, 0)
    return value.decode("ascii")


class Layer:
    """A layer under construction: everything sorted, owned by root, of one age."""

    def __init__(self, age: int) -> None:
        self.age = age
        self.members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def _add(self, path: str, kind: bytes, mode: int, content: bytes = b"", target: str = "", user: int = 0) -> None:
        name = path.strip("/")
        parent = name.rpartition("/")[0]
        if parent and parent not in self.members:
            self._add(parent, tarfile.DIRTYPE, 0o755)
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.linkname, member.mtime = kind, mode, target, self.age
        member.uid = member.gid = user
        member.size = len(content)
        self.members[name] = (member, content)

    def folder(self, path: str, mode: int = 0o755, user: int = 0) -> None:
        """An empty folder."""
        self._add(path, tarfile.DIRTYPE, mode, user=user)

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self._add(path, tarfile.SYMTYPE, 0o777, target=target)

    def file(self, path: str, content: bytes, executable: bool = False, capabilities: Iterable[int] = ()) -> None:
        """A file; /lib and /lib64 are links into /usr, as on Debian."""
        if path.startswith(("/lib/", "/lib64/")):
            path = "/usr" + path
        self._add(path, tarfile.REGTYPE, 0o755 if executable else 0o644, content)
        if granted := tuple(capabilities):
            attribute = {"SCHILY.xattr.security.capability": file_capability(granted)}
            self.members[path.strip("/")][0].pax_headers = attribute

    def tar(self) -> bytes:
        """The finished layer."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name in sorted(self.members):
                member, content = self.members[name]
                archive.addfile(member, io.BytesIO(content))
        return buffer.getvalue()


def authorities() -> list[Path]:
    """The certificates of the package ca-certificates; no others that this machine may trust."""
    return sorted(Path("/usr/share/ca-certificates/mozilla").glob("*.crt"))


def age_of(recipe: Recipe) -> int:
    """When Debian built the program, in seconds since 1970: the only time that stands in an image."""
    return int(Path(recipe.program).stat().st_mtime)


def make_layer(recipe: Recipe, packages: Iterable[Package]) -> bytes:
    """The root filesystem of an image, with the package list where scanners look for it."""
    layer = Layer(age=age_of(recipe))
    layer.folder("/tmp", 0o1777)  # noqa: S108 - a path in the image
    layer.link("/lib", "usr/lib")
    layer.link("/lib64", "usr/lib64")
    for path in recipe.folders:
        layer.folder(path, user=USER)
    texts = {"/etc/passwd": PASSWD, "/etc/group": GROUP, "/etc/nsswitch.conf": NSSWITCH, **recipe.files}
    for path, text in texts.items():
        layer.file(path, text.encode())
    if recipe.authorities:
        layer.file("/etc/ssl/certs/ca-certificates.crt", b"".join(path.read_bytes() for path in authorities()))
    for path in libraries(recipe.program):
        layer.file(path, Path(path).read_bytes(), executable=True)
    layer.file(recipe.program, Path(recipe.program).read_bytes(), executable=True, capabilities=recipe.capabilities)
    for part in packages:
        name = part.name.partition(":")[0]
        layer.file(f"/var/lib/dpkg/status.d/{name}", part.paragraph.encode())
        terms = Path(f"/usr/share/doc/{name}/copyright")
        if terms.is_file():
            layer.file(str(terms), terms.read_bytes())
    return layer.tar()


def digest(content: bytes) -> str:
    """The name of a blob."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def canonical(value: Any) -> bytes:
    """One spelling for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def make_image(recipe: Recipe) -> Image:
    """The image of a recipe, from what is installed on this machine."""
    main = package(recipe.package)
    sources = [recipe.program, *libraries(recipe.program)]
    if recipe.authorities:
        sources += map(str, authorities())
    layer = make_layer(recipe, owners(sources))
    config = canonical(
        {
            "architecture": output("dpkg", "--print-architecture").strip(),
            "config": {
                "Cmd": list(recipe.command),
                "Entrypoint": [recipe.program],
                "Env": ["PATH=/usr/sbin:/usr/bin"],
                "Labels": {
                    "org.opencontainers.image.title": recipe.title,
                    "org.opencontainers.image.version": main.version,
                },
                "User": f"{USER}:{USER}",
                "WorkingDir": "/",
            },
            "created": datetime.fromtimestamp(age_of(recipe), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "os": "linux",
            "rootfs": {"diff_ids": [digest(layer)], "type": "layers"},
        }
    )
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
            "layers": [{"mediaType": LAYER, "digest": digest(layer), "size": len(layer)}],
        }
    )
    tag = re.sub(r"[^A-Za-z0-9_.-]", "-", main.version)  # a tag can't hold the + and ~ of Debian's versions
    blobs = {digest(content): content for content in (layer, config, manifest)}
    return Image(f"sealift/{recipe.name}:{tag}", digest(manifest), digest(config), digest(layer), blobs)


def blob_path(name: str) -> str:
    """Where an OCI layout keeps a blob."""
    return "blobs/" + name.replace(":", "/")


def layout_files(image: Image) -> dict[str, bytes]:
    """The files of the image's OCI layout."""
    entry = {
        "mediaType": MANIFEST,
        "digest": image.manifest,
        "size": len(image.blobs[image.manifest]),
        "annotations": {
            "io.containerd.image.name": f"docker.io/{image.reference}",
            "org.opencontainers.image.ref.name": image.reference.partition(":")[2],
        },
    }
    return {
        "oci-layout": canonical({"imageLayoutVersion": "1.0.0"}),
        "index.json": canonical({"schemaVersion": 2, "manifests": [entry]}),
        **{blob_path(name): content for name, content in image.blobs.items()},
    }


def write_layout(image: Image, folder: Path) -> None:
    """Writes the OCI layout, or leaves the one that is there and the same. A half-written one never stands there."""
    files = layout_files(image)
    present = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if present == files:
        return
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for name, content in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def load(image: Image, engine: docker.DockerClient) -> bool:
    """Gives the image to the engine, under its reference. Returns False where it was there already."""
    try:
        if engine.images.get(image.reference).id == image.config:
            return False
    except docker.errors.ImageNotFound:
        pass
    listing = [
        {"Config": blob_path(image.config), "RepoTags": [image.reference], "Layers": [blob_path(image.layer)]},
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in {**layout_files(image), "manifest.json": canonical(listing)}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    engine.images.load(buffer.getvalue())
    return True


def cache_folder() -> Path:
    """The wide cache of this project."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("SEALIFT_CACHE") or f"{home}/sealift")


def main() -> None:
    """Makes both images and says where they are."""
    engine = docker.from_env()
    home = cache_folder() / "edge"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        for recipe in RECIPES:
            image = make_image(recipe)
            write_layout(image, home / f"{recipe.name}-layout")
            verb = "made" if load(image, engine) else "have"
            size = len(image.blobs[image.layer]) / 1e6
            sys.stdout.write(f"{verb}  {image.reference}  {size:.1f} MB  oci:{home / recipe.name}-layout\n")


if __name__ == "__main__":
    main()
