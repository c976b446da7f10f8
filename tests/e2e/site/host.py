"""A site: state dir, ports and addresses of its own on the real engine; its program run from the sources.

``Snapshot`` is everything that a refusal must leave alone: files, containers, networks, volumes, what the door answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import docker
import yaml

from installer.errors import ERRORS
from installer.site.names import Names
from installer.state.state import load_state
from installer.targets import labels
from tests.e2e.site.vendor import REPOSITORY, Vendor

ABSENT: Final = "nobody answers"
_PASSING: Final = ("lock", "journal", "audit", "state.a", "state.b")
"""What a refused run may write; the state itself is compared by what it says."""


_STAGING: Final = "registry/data/"
"""Blobs that no manifest names are nothing to anybody; manifests and tags are compared."""


_SENTENCE: Final = re.compile(r"[A-Z][a-z]* ")
"""How a sentence would begin; a message can begin with a file's name."""


@dataclass(frozen=True)
class Answer:
    """How a run of the program ended: its exit code, its one JSON object, its talk, and how long it took."""

    code: int
    value: dict[str, Any]
    talk: str
    seconds: float

    def refused(self, code: int, error: str) -> str:
        """It must be this refusal, in the form that scripts and people rely on; returns message and hint."""
        said = self.value.get("error", {})
        assert (self.code, said.get("id")) == (code, error), f"{self.code} {self.value}\n{self.talk}"
        assert (said["code"], said["name"]) == (code, ERRORS[error].label)
        message, hint = said["message"], said["hint"]
        assert message and not _SENTENCE.match(message) and not message.endswith("."), message
        assert hint and not hint[0].isupper(), f"{error} lacks a hint: {hint!r}"
        assert f"error: {message}" in self.talk and f"hint: {hint}" in self.talk
        return f"{message}\n{hint}"


@dataclass(frozen=True)
class Snapshot:
    """A site at one moment."""

    files: dict[str, str]
    state: object
    containers: dict[str, str]
    networks: frozenset[str]
    volumes: frozenset[str]
    images: frozenset[str]
    door: str

    def changes(self, before: Snapshot) -> list[str]:
        """What is not as it was."""
        found = [
            f"{path}: {before.files.get(path, 'not there')} -> {self.files.get(path, 'gone')}"
            for path in sorted(set(self.files) | set(before.files))
            if self.files.get(path) != before.files.get(path)
        ]
        for part in ("state", "containers", "networks", "volumes", "images", "door"):
            then, now = getattr(before, part), getattr(self, part)
            found += [] if then == now else [f"{part}: {then} -> {now}"]
        return found


@dataclass
class Site:
    """``ports``: the door, the registry, then the previews. ``settings`` become site.yaml. ``clock``: a false time."""

    engine: docker.DockerClient
    folder: Path
    state: Path
    ports: range
    settings: dict[str, Any]
    clock: str | None = None
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    @classmethod
    def make(cls, engine: docker.DockerClient, folder: Path, ports: range, subnet: str) -> Self:
        """An empty site that nobody has told yet whom to trust."""
        state = folder / "state"
        state.mkdir(mode=0o700, parents=True)
        site = cls(engine, folder, state, ports, {})
        site.configure(
            site="hall",
            registry={"bundled": {"listen": site.registry}},
            entry_points={"web": {"bind": f"127.0.0.1:{ports[0]}"}},
            preview={"bind": "127.0.0.1", "ports": f"{ports[2]}-{ports[-1]}"},
            network={"subnet": subnet},
            timing={"health": "30s", "settle": "500ms", "bake": "500ms", "drain": "500ms"},
        )
        return site

    @property
    def names(self) -> Names:
        return Names.of(self.state)

    @property
    def registry(self) -> str:
        return f"127.0.0.1:{self.ports[1]}"

    @property
    def site_file(self) -> Path:
        return self.folder / "site.yaml"

    def configure(self, **changes: Any) -> None:
        """Write site.yaml with these sections changed; one that is None is left out."""
        self.settings = {name: value for name, value in (self.settings | changes).items() if value is not None}
        self.write_site(yaml.safe_dump(self.settings))

    def write_site(self, text: str) -> None:
        self.site_file.write_text(text)

    @contextmanager
    def nothing_changes(self, but: tuple[str, ...] = ()) -> Iterator[None]:
        """Whatever happens in the block, the site must be as it was; ``but`` are beginnings of what may change."""
        before = self.snapshot()
        yield
        changes = [change for change in self.snapshot().changes(before) if not change.startswith(but)]
        assert not changes, "\n".join(changes)

    @contextmanager
    def configured(self, **changes: Any) -> Iterator[None]:
        """site.yaml with these sections changed, while the block runs."""
        kept = self.settings
        self.configure(**changes)
        yield
        self.settings = kept
        self.configure()

    # The program

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start ``sealift WORDS`` in a process group of its own."""
        process = subprocess.Popen(
            [*(("faketime", self.clock) if self.clock else ()), sys.executable, "-m", "installer", *words],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def raw(self, *words: str) -> tuple[int, str, str]:
        """Run ``sealift WORDS`` to its end: exit code, standard output and error."""
        process = self.start(*words)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def sealift(self, *words: str) -> Answer:
        """Run ``sealift --json WORDS``. Its output is one JSON object, and no traceback is shown to anybody."""
        began = time.monotonic()
        code, out, err = self.raw("--json", *words)
        seconds = time.monotonic() - began
        assert out.count("\n") == 1, f"not one line: {out!r}\n{err}"
        value = json.loads(out)
        assert isinstance(value, dict)
        assert "Traceback" not in out + err, err
        assert (code == 0) == ("error" not in value), f"{code} {value}"
        return Answer(code, value, err, seconds)

    def done(self, *words: str) -> dict[str, Any]:
        """The same, where it must go well."""
        answer = self.sealift(*words)
        assert answer.code == 0, f"sealift {' '.join(words)}: {answer.value}\n{answer.talk}"
        return answer.value

    def trust(self, vendor: Vendor, root: str = "ours") -> None:
        """Tell the site whom to trust."""
        path, fingerprint = vendor.trust(root)
        self.done("trust", "init", str(path), "--fingerprint", fingerprint)

    def install(self, media: Path, *options: str) -> Answer:
        """Install what lies there."""
        return self.sealift("install", str(media), *options)

    def installed(self, media: Path) -> dict[str, Any]:
        """Install what must go well."""
        return self.done("install", str(media))

    # What people and the engine see

    def door(self, port: int | None = None) -> str:
        """What the front door answers: the version, an HTTP status, or :data:`ABSENT`."""
        url = f"http://127.0.0.1:{port or self.ports[0]}/status"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(json.load(answer)["version"])
        except urllib.error.HTTPError as error:
            return str(error.code)
        except (OSError, ValueError):
            return ABSENT

    def containers(self) -> list[Any]:
        """Everything of this site on the engine, stopped ones too, as the engine describes it."""
        own = {"label": f"{labels.OWNER}={labels.owner(self.names)}"}
        found = {item["Id"]: item for item in self.engine.api.containers(all=True, filters=own)}
        for name in (self.names.edge, self.names.registry):
            for item in self.engine.api.containers(all=True, filters={"name": f"^/?{name}$"}):
                found[item["Id"]] = item
        return list(found.values())

    def parts(self) -> set[str]:
        """Colours (and base) that have containers."""
        return {item["Labels"][labels.PART] for item in self.containers() if labels.PART in item["Labels"]}

    def snapshot(self) -> Snapshot:
        """The site as it is now."""
        own = {"label": f"{labels.OWNER}={labels.owner(self.names)}"}
        api = self.engine.api
        return Snapshot(
            files=_files(self.state),
            state=load_state(self.state).model_dump(exclude={"sequence"}),
            containers={
                item["Names"][0]: f"{item['Id']} {item['State']} {item['Image']}" for item in self.containers()
            },
            networks=frozenset(net["Id"] for net in api.networks(filters=own)),
            volumes=frozenset(volume["Name"] for volume in api.volumes(filters=own)["Volumes"] or ()),
            images=frozenset(self.image_references()),
            door=self.door(),
        )

    def image_references(self) -> list[str]:
        """What the engine has pulled from this site's registry."""
        found = (name for image in self.engine.api.images() for name in image["RepoDigests"] or ())
        return sorted(name for name in found if name.startswith(f"{self.registry}/"))

    # Its end

    def leave(self) -> str:
        """Take everything off the engine again, however far the tests came; says what `remove` left there."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.communicate()
        if self.site_file.exists() and self.settings:
            self.configure()
        said = [
            self.sealift("remove", "--product", product, "--yes", "--volumes").value
            for product in load_state(self.state).products
        ]
        left = [item["Names"][0] for item in self.containers()]
        networks = self.engine.api.networks(filters={"label": f"{labels.OWNER}={labels.owner(self.names)}"})
        for name in left:
            self.engine.api.remove_container(name, force=True, v=True)
        for network in networks:
            self.engine.api.remove_network(network["Id"])
        for reference in self.image_references():
            self.engine.images.remove(reference, force=True)
        return f"{said} left {left} {[net['Name'] for net in networks]}" if left or networks else ""

    def environment(self) -> dict[str, str]:
        """What the program is started with: this site is its whole world."""
        own = {
            "PYTHONPATH": str(REPOSITORY),
            "SEALIFT_STATE_DIR": str(self.state),
            "SEALIFT_SITE": str(self.site_file),
            "SEALIFT_PREFIX": str(self.folder / "usr"),
        }
        return {name: text for name, text in os.environ.items() if not name.startswith("SEALIFT_")} | own


class Visitor:
    """Asks the front door again and again until the end of its block. ``seen`` are the answers as they changed."""

    def __init__(self, ask: Callable[[], str]) -> None:
        self.seen: list[str] = []
        self.asked = 0
        self._ask = ask
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go)

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _go(self) -> None:
        while not self._over.wait(0.03):
            answer = self._ask()
            self.asked += 1
            if self.seen[-1:] != [answer]:
                self.seen.append(answer)


def altered(kit: Path, folder: Path, change: Callable[[bytearray], None]) -> Path:
    """A copy of a bundle with its bytes changed."""
    (bundle,) = kit.glob("*.bundle.tar.zst")
    folder.mkdir(parents=True, exist_ok=True)
    content = bytearray(bundle.read_bytes())
    change(content)
    copy = folder / bundle.name
    copy.write_bytes(content)
    return copy


def _files(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.split("/")[0] in _PASSING or (name.startswith(_STAGING) and "/_manifests/" not in name):
            continue
        info = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(info.st_mode) else ""
        found[name] = f"{info.st_mode:o} {info.st_uid} {content}"
    return found
