"""Images out of a Docker engine. What it saves has no digest that is known beforehand, so it is spooled once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException

from bundler.collect.content import CHUNK
from bundler.collect.tarfiles import Spool, Tar
from installer.errors import SealiftError


class Engine:
    """The engine that ``DOCKER_HOST`` names, or the local one. Asked for nothing before the first image."""

    def __init__(self, spool: Spool) -> None:
        """``spool`` takes what the engine saves."""
        self._spool = spool

    def check(self, reference: str) -> None:
        """Refuse an image that the engine has not. Raises ``image-not-found`` (2), ``engine-*`` (7, 9)."""
        with _answering(reference) as client:
            client.images.get(reference)

    def save(self, reference: str) -> Tar:
        """Have the engine save one image: an OCI layout from engine 25 on, before that a Docker archive.

        Raises ``image-not-found``, ``source-unsupported`` (2), ``engine-missing`` (7), ``engine-failed`` (9).
        """
        file = self._spool.file()
        talk = self._spool.talk
        with _answering(reference) as client:
            size = int(client.images.get(reference).attrs.get("Size", 0))
            talk.say(f"spooling {reference}: what an engine saves has no digests that are known beforehand")
            with talk.progress(f"spooling {reference} from the engine", size) as meter:
                for chunk in client.api.get_image(reference, chunk_size=CHUNK):
                    file.write(chunk)
                    meter.advance(len(chunk))
        file.flush()
        return Tar.of(f"docker-daemon:{reference}", file)


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
