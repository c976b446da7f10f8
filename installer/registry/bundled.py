"""The registry that comes with the bundle: bringing its image and container up, and taking them away.

Rules:
- The image is run by its id, which must be one that the signed release names.
- Before the password is sent anywhere, what answers must be our container: it carries a mark, and where this program
  sees the host's processes, the listening socket must be that container's.
"""

from __future__ import annotations

import hmac
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import urllib3

from installer.errors import SealiftError
from installer.registry import container
from installer.registry.address import RegistryAddress
from installer.registry.archive import EdgeImage
from installer.registry.client import RegistryClient
from installer.registry.container import ENGINE
from installer.registry.files import unusable
from installer.registry.login import Login
from installer.registry.settings import (
    MARK_HEADER,
    RegistryFolder,
    config_text,
    derived,
    read_settings,
    write_settings,
)
from installer.registry.sockets import holds_port
from installer.site.names import Names
from installer.system import run

_POLL: Final = 0.05  # seconds
_TAKEN: Final = "address already in use"


@dataclass(frozen=True)
class _Seen:
    """The container as the engine describes it."""

    id: str
    status: str
    restarts: int
    pid: int
    content: str


@dataclass(frozen=True)
class BundledService:
    """The bundled registry of one state dir on one engine. ``listen`` is a loopback ``host:port``."""

    names: Names
    folder: RegistryFolder
    address: RegistryAddress
    engine: str = ENGINE

    @classmethod
    def of(cls, state_dir: Path, listen: str, engine: str = ENGINE) -> Self:
        """Nothing is touched yet. Raises ``site-file-invalid`` (2) where ``listen`` is not a loopback address."""
        address = RegistryAddress.bundled(listen)
        return cls(Names.of(state_dir), RegistryFolder.of(state_dir), address, engine)

    def start(self, image: EdgeImage, timeout: float = 20.0) -> RegistryClient:
        """Have the registry running from ``image`` and answering within ``timeout`` seconds.

        Nothing is done where it is so already.

        Raises ``port-taken``, ``state-dir-unusable`` (7), ``engine-failed``, ``registry-unreachable`` (9); then no
        container that was started here is left.
        """
        login = write_settings(self.folder, self.address)
        text = config_text(self.address, login.password)
        image_id = load_image(image, self.engine)
        seen = self._seen()
        if seen is None or seen.status != "running" or seen.content != container.content(image_id, text):
            if seen is not None:
                run(container.remove_registry(self.names, engine=self.engine))
            refuse_taken(self.address)
            run(container.run_registry(self.names, image_id, self.folder, text, engine=self.engine))
            try:
                self.wait_ready(login, timeout, fresh=True)
            except SealiftError:
                self.remove_container()
                raise
        else:
            self.wait_ready(login, timeout)
        return self._client(login)

    def is_running(self) -> bool:
        """Whether the engine runs our container."""
        seen = self._seen()
        return seen is not None and seen.status == "running"

    def client(self) -> RegistryClient:
        """A client of the running registry, which is asked who it is first. Raises ``registry-unreachable`` (9)."""
        login = read_settings(self.folder)
        if login is None or not self.is_running():
            message = f"the site's registry on {self.address.host} does not run"
            raise SealiftError("registry-unreachable", message, hint=f"try: docker start {self.names.registry}")
        self.wait_ready(login, 20.0)
        return self._client(login)

    def remove_container(self) -> None:
        """Stop and remove the container; the data stay. Nothing happens where there is none."""
        if self._seen() is not None:
            run(container.remove_registry(self.names, engine=self.engine))

    def remove(self) -> None:
        """Take the registry off the host with all its data. Only for one that the same run created."""
        self.remove_container()
        try:
            shutil.rmtree(self.folder.root)
        except FileNotFoundError:
            return
        except OSError as error:
            raise unusable(self.folder.root, error) from error

    def wait_ready(self, login: Login, timeout: float, *, fresh: bool = False) -> None:
        """Return when *our* registry answers and takes the login. Raises as :meth:`start` does.

        One that the engine had to start again some day is as good as any; one that ends while we wait is not.
        """
        deadline = time.monotonic() + timeout
        before = 0 if fresh else None
        while True:
            seen = self._seen()
            if before is None and seen is not None:
                before = seen.restarts
            if seen is None or seen.status not in ("running", "created") or seen.restarts != before:
                raise self._broken("the site's registry does not stay up")
            if self._answers_as_ours(seen, login):
                break
            if time.monotonic() > deadline:
                raise self._broken(f"the site's registry does not answer after {timeout:.0f} s")
            time.sleep(_POLL)
        self._client(login).ping()

    def _answers_as_ours(self, seen: _Seen, login: Login) -> bool:
        mark = derived(login.password, "mark")
        try:
            answer = urllib3.PoolManager().request(
                "GET", f"{self.address.url}/v2/", retries=False, timeout=5.0, redirect=False, preload_content=False
            )
            answer.close()
        except urllib3.exceptions.HTTPError:
            return False
        marked = hmac.compare_digest(answer.headers.get(MARK_HEADER, "").encode(), mark.encode())
        port = int(self.address.host.rpartition(":")[2])
        if answer.status != 401 or not marked or holds_port(seen.pid, seen.id, port) is False:
            raise _taken(self.address, "something that is not the site's registry answers there")
        return True

    def _broken(self, what: str) -> SealiftError:
        said = run(container.registry_words(self.names, engine=self.engine), check=False)
        lines = tuple((said.out + said.err).strip().splitlines()[-8:])
        if any(_TAKEN in line for line in lines):
            return _taken(self.address, _TAKEN)
        hint = f"see its log with: docker logs {self.names.registry}"
        return SealiftError("registry-unreachable", what, hint=hint, details=lines)

    def _seen(self) -> _Seen | None:
        found = run(container.inspect_registry(self.names, engine=self.engine), check=False)
        fields = found.out.split()
        if found.code != 0 or len(fields) < 4:
            return None
        return _Seen(fields[0], fields[1], int(fields[2]), int(fields[3]), fields[4] if len(fields) > 4 else "")

    def _client(self, login: Login) -> RegistryClient:
        return RegistryClient.at(self.address, login)


def load_image(image: EdgeImage, engine: str = ENGINE) -> str:
    """Have an edge image in the engine, from its archive where it is missing; returns its id there.

    Raises ``engine-failed`` (9) where the engine then holds another image than the signed one.
    """
    found = _image_id(image, engine)
    if found is None:
        run(container.load_archive(image.path, engine=engine))
        found = _image_id(image, engine)
    if found is None:
        message = f"{image.path} does not hold the image {image.config}"
        hint = "install from the media again: that writes the archive anew"
        raise SealiftError("engine-failed", message, hint=hint)
    return found


def refuse_taken(address: RegistryAddress) -> None:
    """Raise ``port-taken`` (7) where something listens on the address already."""
    host, _, port = address.host.rpartition(":")
    kind = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
            probe.listen(1)
        except OSError as error:
            raise _taken(address, error.strerror or "it cannot be used") from error


def _image_id(image: EdgeImage, engine: str) -> str | None:
    for image_id in image.ids:
        found = run(container.image_in_engine(image_id, engine=engine), check=False)
        if found.code == 0 and found.out.strip() == image_id:
            return image_id
    return None


def _taken(address: RegistryAddress, reason: str) -> SealiftError:
    port = address.host.rpartition(":")[2]
    hint = f"see who holds it with: ss -ltnp 'sport = :{port}', or choose another registry.bundled.listen"
    return SealiftError("port-taken", f"the site's registry cannot have {address.host}: {reason.lower()}", hint=hint)
