"""One blob and the questions that every client can be asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from installer.errors import SealiftError
from installer.registry.client import RegistryClient

from .cargo import MIB, digest, layer

BLOB = layer("a blob", 5 * MIB)
NAME = digest(BLOB)


def pieces(content: bytes = BLOB) -> Iterator[bytes]:
    for start in range(0, len(content), MIB):
        yield content[start : start + MIB]


def refusal_of(client: RegistryClient) -> SealiftError:
    """The same refusal, whatever is asked."""
    with pytest.raises(SealiftError) as pinged:
        client.ping()
    for attempt in (
        lambda: client.has_blob("some/image", NAME, len(BLOB)),
        lambda: client.upload_blob("some/image", NAME, len(BLOB), pieces()),
        lambda: client.manifest_digest("some/image", "latest"),
    ):
        with pytest.raises(SealiftError) as refusal:
            attempt()
        assert refusal.value.id == pinged.value.id
    return pinged.value
