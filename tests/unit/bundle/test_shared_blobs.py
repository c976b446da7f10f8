"""Blobs that several images share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from installer.bundle.release import Descriptor, Release

OCI = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def test_lists_a_blob_once_though_two_images_type_it_differently() -> None:
    layers = [Descriptor(media_type=kind, digest=f"sha256:{'a' * 64}", size=3) for kind in (OCI, DOCKER)]
    images = [SimpleNamespace(manifests=(), blobs=(layer,)) for layer in layers]
    assert list(Release.blobs(cast(Release, SimpleNamespace(images=images)))) == ["a" * 64]
