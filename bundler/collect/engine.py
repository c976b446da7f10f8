"""Images out of a Docker engine. What it saves has no digest that is known beforehand, so it is spooled once."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException

from bundler.collect.content import CHUNK, Content, Slice
from installer.errors import SealiftError
from installer.talk import Talk

_BLOBS: Final = "blobs/sha256/"


@dataclass(frozen=True)
class TarStore:
    """An OCI layout in a tar: plain members by name, read in place, never extracted."""

    name: str
    members: Mapping[str, Slice]

    def open(self, path: str) -> Content | None:
        return self.members.get(path)

    @classmethod
    def of(cls, name: str, file: BinaryIO) -> TarStore:
        """Index an uncompressed tar. Raises ``source-unsupported`` for what is none."""
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                members = {one.name: Slice(file, one.offset_data, one.size) for one in archive if one.isreg()}
        except tarfile.TarError as error:
            raise SealiftError(
                "source-unsupported", f"what {name} gives is no tar: {error}", hint="try again"
            ) from error
        return cls(name, members)


class Engine:
    """The engine that ``DOCKER_HOST`` names, or the local one. Asked for nothing before the first image."""

    def __init__(self, talk: Talk, spool: Path | None) -> None:
        """``spool`` is the folder whose disk takes what the engine saves; None for the system's temporary folder."""
        self._talk = talk
        self._spool = spool
        self._files: list[BinaryIO] = []

    def has(self, reference: str) -> bool:
        """Whether the engine holds the image. Raises ``engine-missing`` (7) or ``engine-failed`` (9)."""
        with _answering(reference) as client:
            try:
                client.images.get(reference)
            except ImageNotFound:
                return False
            return True

    def save(self, reference: str) -> TarStore:
        """Have the engine save one image. The file is nameless: it goes with this process, even if killed.

        Raises ``image-not-found``, ``source-unsupported`` (2), ``engine-missing`` (7), ``engine-failed`` (9).
        """
        name = f"docker-daemon:{reference}"
        file: BinaryIO = tempfile.TemporaryFile(dir=self._spool, prefix=".sealift-spool-")  # noqa: SIM115 - kept open
        self._files.append(file)
        with _answering(reference) as client:
            size = int(client.images.get(reference).attrs.get("Size", 0))
            self._talk.say(f"spooling {reference}: what an engine saves has no digests that are known beforehand")
            with self._talk.progress(f"spooling {reference} from the engine", size) as meter:
                for chunk in client.api.get_image(reference, chunk_size=CHUNK):
                    file.write(chunk)
                    meter.advance(len(chunk))
        file.flush()
        store = TarStore.of(name, file)
        if store.open("oci-layout") is None:
            raise SealiftError(
                "source-unsupported",
                f"the engine saves {reference} as a docker-archive, not as an OCI layout",
                hint="use an engine from 25 on, or make a layout of it: skopeo copy docker-archive:FILE oci:FOLDER",
            )
        return store

    def close(self) -> None:
        """Let go of what was spooled."""
        for file in self._files:
            file.close()
        self._files.clear()


@contextmanager
def _answering(reference: str) -> Iterator[docker.DockerClient]:
    """A client, and every failure of the engine as an error of ours."""
    try:
        client = docker.from_env(timeout=300)
    except DockerException as error:
        raise SealiftError(
            "engine-missing", f"no Docker engine answers: {error}", hint="start it, or name it with DOCKER_HOST"
        ) from error
    try:
        yield client
    except ImageNotFound as error:
        raise SealiftError(
            "image-not-found", f"the engine has no image {reference}", hint="build or load it; docker images shows all"
        ) from error
    except (APIError, RequestException) as error:
        raise SealiftError("engine-failed", f"the engine failed on {reference}: {error}", hint="see its log") from error
    finally:
        client.close()
