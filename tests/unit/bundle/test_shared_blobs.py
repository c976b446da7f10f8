"""Blobs that several images share."""

from __future__ import annotations

from installer.bundle.release import Descriptor, Image, Release

OCI = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def test_lists_a_blob_once_though_two_images_type_it_differently() -> None:
    layers = [Descriptor(media_type=kind, digest=f"sha256:{'a' * 64}", size=3) for kind in (OCI, DOCKER)]
    images = tuple(Image.model_construct(manifests=(), blobs=(layer,)) for layer in layers)
    assert list(Release.model_construct(images=images).blobs()) == ["a" * 64]
