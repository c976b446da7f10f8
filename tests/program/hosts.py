"""Hosts without Python, without a network: real root filesystems, entered by chroot in namespaces of their own."""

from __future__ import annotations

import fcntl
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from installer.program.carried import names_a_loader

MEDIA = "/media/usb stick"
# Two tables and a home folder are all that a person needs to be somebody.
PASSWD = "root:x:0:0:root:/root:/bin/sh\ncourier:x:1000:1000::/home/courier:/bin/sh\n"


def mirror() -> str:
    """The Debian mirror that this machine uses."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Codename: bookworm"]
    done = subprocess.run([*asked, "Origin: Debian", "Component: main"], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[0]


def debian(suite: str) -> Callable[[Path], None]:
    """Makes the smallest Debian that has apt; it has no Python."""

    def make(folder: Path) -> None:
        subprocess.run(
            ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", suite, str(folder), mirror()],
            check=True,
            capture_output=True,
        )

    return make


def libc_and_busybox(folder: Path) -> None:
    """Nothing but libc and a busybox that is linked to it."""
    only = ["--variant=extract", "--include=libc6,busybox", "bookworm"]
    subprocess.run(
        ["mmdebstrap", "--quiet", "--mode=root", *only, str(folder), mirror()], check=True, capture_output=True
    )
    link_busybox(folder, next(path for path in (folder / "bin/busybox", folder / "usr/bin/busybox") if path.exists()))


def busybox_alone(folder: Path) -> None:
    """One static program and its links: no libc at all."""
    (folder / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", folder / "bin/busybox")
    link_busybox(folder, folder / "bin/busybox")


def link_busybox(folder: Path, busybox: Path) -> None:
    """Every name that this busybox answers to."""
    names = subprocess.run(["chroot", str(folder), f"/{busybox.relative_to(folder)}", "--list"], capture_output=True)
    for name in names.stdout.decode().split():
        link = folder / "bin" / name
        if not link.exists():
            link.symlink_to("busybox")


ROOTS: dict[str, Callable[[Path], None]] = {
    "bookworm": debian("bookworm"),
    "bullseye": debian("bullseye"),
    "libc-and-busybox": libc_and_busybox,
    "busybox-alone": busybox_alone,
}


def root_filesystem(name: str, cache: Path) -> Path:
    """The root filesystem of that name; made once, never written to."""
    folder = cache / "rootfs" / f"program-{name}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"program-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = folder.with_suffix(".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            ROOTS[name](unfinished)
            for place in ("etc", "proc", "dev", "tmp", "root", "media", "home/courier", "usr/local", "var/lib"):
                (unfinished / place).mkdir(parents=True, exist_ok=True)
            (unfinished / "etc/passwd").write_text(PASSWD)
            shutil.chown(unfinished / "home/courier", 1000, 1000)
            (unfinished / "tmp").chmod(0o1777)
            unfinished.rename(folder)
    return folder


def place_client(docker: Path, folder: Path) -> None:
    """Put a ``docker`` into a layer, with its loader and libraries unless it is static, and without any plugin."""
    place, home = folder / "usr/bin/docker", folder / "usr/lib/docker-client"
    place.parent.mkdir(parents=True)
    if not names_a_loader(docker):
        shutil.copy(docker, place)
        return
    home.mkdir(parents=True)
    listing = subprocess.run(["ldd", str(docker)], check=True, capture_output=True, text=True).stdout
    libraries = [Path(path) for path in re.findall(r"(?:=>|^)\s*(/\S+) \(0x", listing, re.MULTILINE)]
    for file in (docker, *libraries):
        shutil.copy(file, home / file.name)
    loader = next(path.name for path in libraries if path.name.startswith("ld-"))
    inside = Path("/", home.relative_to(folder))
    start = f'exec {inside}/{loader} --library-path {inside} {inside}/{docker.name} "$@"'
    place.write_text(f"#!/bin/sh\n{start}\n")
    place.chmod(0o755)


@dataclass
class Host:
    """A machine with a stick in it. What it writes stays from one run to the next, in ``changes``.

    ``stick`` is shown below :data:`MEDIA`, read-only and ``noexec``, each file with mode 0444, owned by root.
    ``mounts`` are shell lines run before; ``$ROOT`` is the root of the host. ``layers`` are folders whose files the
    host has too; ``env`` is set for all that runs there; ``networked`` hosts share the machine's network.
    """

    root: Path
    scratch: Path
    stick: Path
    mounts: list[str] = field(default_factory=list)
    layers: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    networked: bool = False

    @property
    def changes(self) -> Path:
        """What the host has written since it was made."""
        return self.scratch / "upper"

    def sh(
        self, script: str, *, user: int = 0, env: Mapping[str, str] | None = None, killed_at: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script on the host. Nothing that it has started is left when this returns.

        ``killed_at``, such as ``rename:when=2``: the process that makes this system call is killed as it does.
        """
        for folder in ("upper", "work", "root"):
            (self.scratch / folder).mkdir(exist_ok=True)
        variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/home/courier" if user else "/root"}
        variables |= {**self.env, **(env or {})}
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        lower = ":".join(str(layer) for layer in (*self.layers, self.root))
        call, _, when = killed_at.partition(":")
        killed = f"strace -f --seccomp-bpf -qq -o /dev/null -e inject={call}:signal=KILL:{when}" if killed_at else ""
        lines = [
            "set -e",
            f"ROOT={shlex.quote(str(self.scratch / 'root'))}",
            f"layers={shlex.quote(f'lowerdir={lower},upperdir={self.scratch}/upper,workdir={self.scratch}/work')}",
            'mount -t overlay -o "$layers" host "$ROOT"',
            'mount -t proc proc "$ROOT/proc"; mount --bind /dev "$ROOT/dev"',
            f'stick={shlex.quote(str(self.stick))}; find "$stick" -type f -exec chmod 0444 {{}} +',
            f'usb="$ROOT{MEDIA}"; mkdir -p "$usb"; mount --bind "$stick" "$usb"',
            'mount -o remount,bind,ro,noexec,nosuid,nodev "$usb"',
            *self.mounts,
            f'set -- "$(command -v chroot)" --userspec={user}:{user} "$ROOT" /bin/sh -c {shlex.quote(script)}',
            f'exec {killed} env -i {settings} "$@"',
        ]
        alone = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        alone += [] if self.networked else ["--net"]
        return subprocess.run([*alone, "sh", "-c", "\n".join(lines)], capture_output=True, text=True, timeout=300)

    def install(
        self, arguments: str = "", *, user: int = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """What a person types with the stick mounted."""
        return self.sh(f"sh '{MEDIA}/install' {arguments}", user=user, env=env)

    def written(self) -> set[str]:
        """Every file and folder that the host has written, but for the place where the stick is mounted."""
        found = {path.relative_to(self.changes).as_posix() for path in self.changes.rglob("*")}
        return {path for path in found if not path.startswith("media")}
