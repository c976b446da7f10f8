"""Releases, sites and placements in memory, as small as a test needs them."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network

from installer.bundle.digest import Digest
from installer.bundle.release import Descriptor, File, Image, Release, Service
from installer.plan.addresses import colour_net, fixed_addresses
from installer.site.names import Colour, Names
from installer.site.secretfiles import SecretFile
from installer.targets.compose_file import Placement, colour_replicas

POOL = IPv4Network("10.213.0.0/16")
EMPTY = str(Digest.of(b""))


def template(path: str) -> File:
    """A template of the closed list."""
    return File(path=f"templates/{path}", role="template", size=0, digest=EMPTY, mode="0644")


def image(name: str) -> Image:
    """An image without layers."""
    manifest = Descriptor(media_type="application/vnd.oci.image.manifest.v1+json", digest=EMPTY, size=0)
    return Image(name=name, reference=f"registry.internal/{name}:1", digest=EMPTY, manifests=(manifest,), blobs=())


def release_of(
    services: Mapping[str, Service] | None = None,
    inputs: Mapping[str, object] | None = None,
    version: str = "1.2.0",
    product: str = "note-board",
) -> Release:
    """A release with these services and the images they name."""
    services = services or {}
    layout = (
        File(path="index.json", role="layout", size=0, digest=EMPTY, mode="0644"),
        File(path="oci-layout", role="layout", size=0, digest=EMPTY, mode="0644"),
    )
    return Release.model_validate(
        {
            "type": "application/vnd.sealift.release.v1+json",
            "product": product,
            "version": version,
            "channel": "stable",
            "platform": "linux/amd64",
            "created": "2026-11-21T00:00:00Z",
            "minimum_root_version": 1,
            "requires": {},
            "strategy": "blue-green",
            "deploy": {"compose": f"{product}/compose.yaml.j2"},
            "edge": {},
            "services": services,
            "entry_points": {},
            "smoke": (),
            "inputs": inputs or {},
            "images": tuple(image(name) for name in sorted({service.image for service in services.values()})),
            "files": (*(layout if services else ()), template(f"{product}/compose.yaml.j2")),
        }
    )


def placement_of(
    release: Release,
    colour: Colour = "blue",
    secrets: Mapping[str, SecretFile] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Placement:
    """Where that release goes on a site with a state dir of its own."""
    return Placement(
        names=Names("-1a2b3c"),
        colour=colour,
        images={one.name: f"127.0.0.1:5000/{release.product}/{one.name}@{one.digest}" for one in release.images},
        addresses=fixed_addresses(colour_net(POOL, 0, colour), colour_replicas(release)),
        secrets=secrets or {},
        files=files or {},
    )
