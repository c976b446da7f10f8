"""Make the images and programs of one release of lan-chat.

Images `lan-chat/{base,gateway,directory,store}` appear in the local engine; OCI layouts, programs and tools below
`dist/` beside the manifest. What did not change is not made again. Needs: an engine with buildx, Go, Debian's
golang-github-gorilla-websocket-dev and golang-github-lib-pq-dev, apt-get and dpkg-deb.
"""

import argparse
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import rootfs

IMAGES = Path(__file__).resolve().parent
PRODUCT = IMAGES.parent
SOURCES = PRODUCT / "src"
DIST = PRODUCT / "dist"
CACHE = Path(
    os.environ.get("SEALIFT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sealift"
)
HOME = CACHE / "lan-chat"
GOCODE = "/usr/share/gocode"  # where Debian's -dev packages of Go libraries are
BASE = "lan-chat/base:12-1"
# The store has a version of its own, so that a release of the chat doesn't touch it.
STORE_VERSION = "15-1"
# So has the client: a program that has not changed is the same bytes, and a delta leaves it out.
CLIENT_VERSION = "2.0"
# Each release adds to the ones before; sources say by a build tag since when they are in.
RELEASES = ("2.1.0", "2.1.1", "2.2.0", "2.2.1")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
LABEL = "lan-chat.inputs"
PLUGINS = ("/usr/local/lib/docker", "/usr/local/libexec/docker", "/usr/lib/docker", "/usr/libexec/docker")


def main() -> int:
    """Build what the command line asks for; returns the exit code."""
    description = "make the images and programs of one release of lan-chat"
    parser = argparse.ArgumentParser(prog="build", description=description)
    parser.add_argument("version", help="version of the release, like 2.1.0")
    parser.add_argument("--arch", action="append", choices=sorted(ARCHITECTURES.values()), help="also for this one")
    options = parser.parse_args()
    version = options.version.removeprefix("v")
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", version):
        print(f"build: {version!r} is not a version like 2.1.0", file=sys.stderr)
        return 2
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            build(version, {native(), *(options.arch or [])})
        except subprocess.CalledProcessError as error:
            print(f"build: {' '.join(map(str, error.cmd[:4]))} … ended with {error.returncode}", file=sys.stderr)
            return 1
    return 0


def build(version: str, architectures: set[str]) -> None:
    """Make everything of a release that is not there yet."""
    made = [
        image(BASE, IMAGES / "base", base_inputs(), {}),
        image(f"lan-chat/store:{STORE_VERSION}", IMAGES / "store", store_inputs(), {"store-init": STORE_VERSION}),
    ]
    for name in ("gateway", "directory"):
        made.append(image(f"lan-chat/{name}:{version}", IMAGES / name, service_inputs(name, version), {name: version}))
    for arch in sorted(architectures):
        client(version, arch)
    layout(f"lan-chat/store:{STORE_VERSION}", f"store-{STORE_VERSION}")
    layout(f"lan-chat/directory:{version}", f"directory-{version}")
    tools()
    edge()
    say(f"lan-chat {version}: {'made ' + ', '.join(filter(None, made)) if any(made) else 'nothing to do'}")


def base_inputs() -> str:
    """Digest of all that decides what the base image is."""
    return digest([IMAGES / "base", IMAGES / "rootfs.py"], native())


def store_inputs() -> str:
    """Digest of all that decides what the store image is; the release is not among it."""
    shared = [SOURCES / "lanchat" / package for package in ("jsonlog", "version")]
    return digest([IMAGES / "store", SOURCES / "store-init", *shared], base_inputs(), STORE_VERSION)


def service_inputs(name: str, version: str) -> str:
    """Digest of all that decides what a stateless service's image is."""
    return digest([IMAGES / name, SOURCES / name, SOURCES / "lanchat"], base_inputs(), version, *tags(version))


def tags(version: str) -> list[str]:
    """Build tags of a release: one for each release that it contains."""
    return [f"since_{release.replace('.', '_')}" for release in RELEASES if core(release) <= core(version)]


def core(version: str) -> tuple[int, ...]:
    """Major, minor and patch: a pre-release has what its release will have."""
    return tuple(int(part) for part in version.split("-")[0].split("."))


def digest(paths: Iterable[Path], *values: str) -> str:
    """Digest over the content of files and folders, and over values."""
    sum_ = hashlib.sha256(json.dumps(values).encode())
    for root in paths:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and "__pycache__" not in path.parts:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                sum_.update(f"{path.relative_to(PRODUCT)} {path.stat().st_mode & 0o111} {content}\n".encode())
    return sum_.hexdigest()


def image(reference: str, recipe: Path, inputs: str, programs: dict[str, str]) -> str:
    """Make an image from its Dockerfile, unless the engine has it already; returns the reference if it was made."""
    if inspect(reference, f'{{{{index .Config.Labels "{LABEL}"}}}}') == inputs:
        return ""
    say(f"making {reference}")
    make_image(reference, recipe, inputs, programs)
    return reference


def make_image(reference: str, recipe: Path, inputs: str, programs: dict[str, str], *options: str) -> None:
    """Make an image: packages and programs into a folder, then the Dockerfile, with the given options of buildx."""
    with tempfile.TemporaryDirectory(prefix="lan-chat-") as folder:
        context = Path(folder)
        if (recipe / "packages").exists():
            shutil.copyfile(layer(recipe), context / "rootfs.tar")
        for program, version in programs.items():
            compile_go(program, version, native(), context / program)
            os.utime(context / program, (rootfs.EPOCH, rootfs.EPOCH))
        command = ["docker", "buildx", "build", "--quiet", "--tag", reference, "--file", str(recipe / "Dockerfile")]
        command += ["--label", f"{LABEL}={inputs}", "--build-arg", f"SOURCE_DATE_EPOCH={rootfs.EPOCH}", folder]
        subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)


def layer(recipe: Path) -> Path:
    """The tar of a recipe's packages, from the cache if it is there."""
    packages = rootfs.read_list(recipe / "packages")
    path = HOME / "rootfs" / f"{recipe.name}-{digest([recipe / 'packages', IMAGES / 'rootfs.py'], native())[:16]}.tar"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        made = rootfs.base_layer(packages) if recipe.name == "base" else rootfs.store_layer(packages)
        made.write(path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)
    return path


def compile_go(program: str, version: str, arch: str, target: Path) -> None:
    """Compile one program without the network: sources are here, libraries are Debian's."""
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": f"{PRODUCT}:{GOCODE}",
        "GOCACHE": str(CACHE / "go-build"),
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOOS": "linux",
        "GOARCH": arch,
    }
    flags = f"-s -w -buildid= -X lanchat/version.Version={version}"
    given = [] if program in ("store-init", "chatctl") else ["-tags", ",".join(tags(version))]
    subprocess.run(
        [go(), "build", "-trimpath", "-buildvcs=false", *given, "-ldflags", flags, "-o", target, program],
        check=True,
        env=environment,
    )


def go() -> str:
    """The Go compiler: the one in PATH, else where Debian's golang-go or its own archive puts it."""
    return shutil.which("go") or shutil.which("go", path="/usr/lib/go/bin:/usr/local/go/bin") or "go"


def client(version: str, arch: str) -> None:
    """Put the command-line client, chatctl, into `dist/<version>/linux-<arch>/`."""
    target = DIST / version / f"linux-{arch}" / "chatctl"
    stamp = target.with_name(".chatctl.inputs")
    inputs = digest([SOURCES / "chatctl", SOURCES / "lanchat" / "version"], CLIENT_VERSION, arch)
    if target.exists() and stamp.exists() and stamp.read_text() == inputs:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    compile_go("chatctl", CLIENT_VERSION, arch, target)
    stamp.write_text(inputs)


def layout(reference: str, name: str) -> None:
    """Write an image as an OCI layout into the cache, and link it as `dist/layouts/<name>`."""
    identity = inspect(reference, "{{.Id}}")
    folder = HOME / "layouts" / f"{name}-{identity.removeprefix('sha256:')[:16]}"
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            unfinished = Path(work) / "layout"
            save(reference, unfinished)
            unfinished.rename(folder)
    link_to(DIST / "layouts" / name, folder)


def save(reference: str, folder: Path) -> None:
    """Unpack `docker save`, which is an OCI layout since engine 25, without what is only in it for older engines."""
    with subprocess.Popen(["docker", "save", reference], stdout=subprocess.PIPE) as saving:
        folder.mkdir()
        subprocess.run(["tar", "--extract", "--directory", folder], stdin=saving.stdout, check=True)
        if saving.wait():
            raise subprocess.CalledProcessError(saving.returncode, ["docker", "save", reference])
    for legacy in ("manifest.json", "repositories"):
        (folder / legacy).unlink(missing_ok=True)
    if not (folder / "oci-layout").exists():
        raise SystemExit("build: this engine's `docker save` is no OCI layout; it has to be 25 or newer")


def tools() -> None:
    """Copy the compose plugin of this machine to `dist/tools/`: a site may have none."""
    config = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    for folder in (config, *map(Path, PLUGINS)):
        plugin = folder / "cli-plugins" / "docker-compose"
        if plugin.exists():
            target = DIST / "tools" / "docker-compose"
            if not target.exists() or target.stat().st_size != plugin.stat().st_size:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(plugin, target)
            return
    print("build: compose plugin not found; the bundle needs one", file=sys.stderr)
    raise SystemExit(1)


def edge() -> None:
    """Have the images of the site's own services made, and link their OCI layouts as `dist/edge/<name>`."""
    made = subprocess.run([PRODUCT.parent / "edge" / "build"], check=True, stdout=subprocess.PIPE, text=True).stdout
    for name, path in re.findall(r"sealift/(\w+):.*oci:(\S+)", made):
        link_to(DIST / "edge" / name, Path(path))


def link_to(link: Path, target: Path) -> None:
    """Make a symbolic link, or change it."""
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() or link.readlink() != target:
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def inspect(reference: str, template: str) -> str:
    """What the engine says of an image; empty when it has none."""
    asked = subprocess.run(
        ["docker", "image", "inspect", "--format", template, reference], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() if asked.returncode == 0 else ""


def native() -> str:
    """The architecture of this machine, as Go and images call it."""
    return ARCHITECTURES[platform.machine()]


def say(line: str) -> None:
    """Talk, to standard error."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
