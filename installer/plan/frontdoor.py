"""What the front door must be for a release: pure translation of entry points, bindings and addresses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from installer.bundle.release import Release
from installer.edge.config import Backend, EdgeConfig, Frontend, Server
from installer.errors import SealiftError
from installer.site.names import Colour
from installer.site.site import Preview, Site

PREVIEWS_PER_PRODUCT: Final = 10


def preview_port(preview: Preview, index: int, entry_number: int) -> int:
    """The preview port of a product's n-th entry point. Raises ``port-taken`` (7) when the range is used up."""
    ports = preview.range
    number = index * PREVIEWS_PER_PRODUCT + entry_number
    if entry_number >= PREVIEWS_PER_PRODUCT or number >= len(ports):
        raise SealiftError(
            "port-taken",
            f"the preview ports {preview.ports} are used up",
            hint=f"widen preview.ports in site.yaml: {PREVIEWS_PER_PRODUCT} ports per product",
        )
    return ports[number]


def frontends(release: Release, site: Site, index: int, pems: Mapping[str, str]) -> tuple[Frontend, ...]:
    """One frontend per entry point; ``pems`` names the certificate file of each that has one.

    Raises ``entry-point-unbound`` (7), naming all that the site file lacks.
    """
    unbound = [name for name in release.entry_points if site.binding(release.product, name) is None]
    if unbound:
        raise SealiftError(
            "entry-point-unbound",
            f"site.yaml does not say where these entry points listen: {', '.join(sorted(unbound))}",
            hint="add to site.yaml, below `entry_points:`, "
            + " | ".join(f'{name}: {{bind: "0.0.0.0:…"}}' for name in unbound),
        )
    found = []
    for number, (name, entry) in enumerate(sorted(release.entry_points.items())):
        binding = site.binding(release.product, name)
        assert binding is not None  # noqa: S101 - refused above
        found.append(
            Frontend(
                product=release.product,
                entry=name,
                protocol=entry.protocol,
                bind=binding.bind,
                tls_pem=pems.get(name),
                preview_bind=f"{site.preview.bind}:{preview_port(site.preview, index, number)}",
                preview_colour=None,
            )
        )
    return tuple(found)


def backends(release: Release, colour: Colour, addresses: Mapping[str, Sequence[str]]) -> tuple[Backend, ...]:
    """The replicas behind each entry point in ``colour``; ``addresses`` by service, in the order of the replicas."""
    found = []
    for name, entry in sorted(release.entry_points.items()):
        health = release.services[entry.service].health
        path, port = None, None
        if health is not None and health.http is not None:
            number, slash, rest = health.http[1:].partition("/")
            path, port = slash + rest, int(number)
        elif health is not None and health.tcp is not None:
            port = int(health.tcp[1:])
        servers = tuple(
            Server(name=f"{entry.service}-{replica}", address=address, port=entry.port)
            for replica, address in enumerate(addresses[entry.service], 1)
        )
        found.append(
            Backend(
                product=release.product,
                colour=colour,
                entry=name,
                protocol=entry.protocol,
                servers=servers,
                health_path=path,
                health_port=port if port != entry.port else None,
            )
        )
    return tuple(found)


def with_product(
    config: EdgeConfig | None, site: Site, product: str, fronts: Iterable[Frontend], backs: Iterable[Backend]
) -> EdgeConfig:
    """``config`` in which ``product`` has just these frontends and backends; other products stay as they are."""
    config = config or EdgeConfig()
    others_front = tuple(front for front in config.frontends if front.product != product)
    others_back = tuple(back for back in config.backends if back.product != product)
    return replace(
        config,
        frontends=others_front + tuple(fronts),
        backends=others_back + tuple(backs),
        retries=site.edge.retries,
        drain=site.timing.drain,
    )


def union(
    config: EdgeConfig | None, site: Site, product: str, fronts: Sequence[Frontend], backs: Sequence[Backend]
) -> EdgeConfig:
    """``config`` with the new colour beside the old one: what only the old release has stays until it retires.

    It stays without a preview: the ports are numbered by the entry points of the release to come. Raises ``port-taken``
    (7) where an entry point is to have the address of one that goes: both serve for a while.
    """
    config = config or EdgeConfig()
    colours = {back.colour for back in backs}
    entries = {front.entry for front in fronts}
    gone = [front for front in config.frontends if front.product == product and front.entry not in entries]
    taken = {front.bind: front.entry for front in fronts}
    for front in gone:
        if front.bind in taken:
            raise SealiftError(
                "port-taken",
                f"{front.bind} is the address of {front.entry}, which serves, and site.yaml gives it to "
                f"{taken[front.bind]}: both serve until the old release is taken down",
                hint=f"give {taken[front.bind]} another address in site.yaml; the old one is free after the upgrade",
            )
    kept_fronts = [replace(front, preview_bind=None, preview_colour=None) for front in gone]
    kept_backs = [back for back in config.backends if back.product == product and back.colour not in colours]
    return with_product(config, site, product, [*fronts, *kept_fronts], [*kept_backs, *backs])


def alone(config: EdgeConfig, product: str, colour: Colour, entries: Collection[str]) -> EdgeConfig:
    """``config`` in which ``product`` has only ``colour``, at these entry points, and no preview: nothing is staged."""
    fronts = tuple(front for front in config.frontends if front.product != product or front.entry in entries)
    backs = tuple(back for back in config.backends if back.product != product or back.colour == colour)
    shown = tuple(replace(one, preview_colour=None) if one.product == product else one for one in fronts)
    return replace(config, frontends=shown, backends=backs)


def without_preview(config: EdgeConfig) -> EdgeConfig:
    """``config`` with every preview closed."""
    return replace(config, frontends=tuple(replace(front, preview_colour=None) for front in config.frontends))
