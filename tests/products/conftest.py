"""The second product, made once for the tests of this folder."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.products.wallboard.product import VERSIONS, Wallboard, make_images, make_product, remove_images


@pytest.fixture(scope="session")
def wallboard(
    engine: docker.DockerClient, edge_images: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Wallboard]:
    """Wallboard with manifest, keys and images; the images of the site's own services are in the cache by then."""
    assert set(edge_images) == {"haproxy", "registry"}
    repository = f"sealift-test-{uuid.uuid4().hex[:10]}/wallboard"
    make_images(engine, repository)
    yield make_product(tmp_path_factory.mktemp("wallboard"), repository)
    remove_images(engine, repository)


@pytest.fixture(scope="session")
def kits(wallboard: Wallboard) -> dict[str, Path]:
    """Media folders by version. Their program does nothing: these tests run ours from its sources."""
    program = wallboard.root / "install"
    program.write_text("#!/bin/sh\nexit 0\n")
    return {version: wallboard.build(version, "--installer", str(program)) for version in VERSIONS}
