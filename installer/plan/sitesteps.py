"""Steps about the site's own services, front door and registry: they belong to no product. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from installer.bundle.release import Release
from installer.ownimages import OwnImage, newer
from installer.plan import actions as act
from installer.plan import frontdoor
from installer.plan.checks import ArchivesHeld, DoorHas, SiteServicesRun
from installer.plan.plan import Step
from installer.site.site import Site
from installer.state.state import EdgeImage, ReleaseRef, SiteState


@dataclass(frozen=True)
class SiteSteps:
    """``edge`` and ``registry`` are images to start, None where the site's own run already; ``carried`` are those on
    the media.
    """

    site: Site
    state: SiteState
    release: Release
    ref: ReleaseRef
    edge: str | None
    registry: str | None
    carried: Mapping[str, OwnImage]
    from_media: bool

    def open_registry(self) -> list[Step]:
        """The site's registry, where it doesn't run yet or the media bring a newer one; from them or our archive."""
        steps = []
        newer = [image.name for image in (self._newer_edge, self._newer_registry) if image is not None]
        missing = [name for name in (self.edge, self.registry) if name is not None and name in self.carried]
        images = tuple(sorted({*newer, *missing}))
        if images and self.from_media:
            steps.append(
                Step(
                    name="unpack",
                    intent=f"copy the site's own images from the media: {', '.join(images)}",
                    prepares=True,
                    actions=(act.Unpack(images=images),),
                    check=(ArchivesHeld(images=images),),
                    undo=(act.DropArchives(),),
                )
            )
        if self.registry is not None:
            steps.append(
                Step(
                    name="registry",
                    intent=f"start the site's registry on {self._listen}",
                    prepares=True,
                    actions=(act.StartRegistry(image=self.registry, version=self._version(self.registry)),),
                    check=(SiteServicesRun(registry=True),),
                    undo=(act.RemoveRegistry(),) if self.state.registry is None else (),
                )
            )
        elif (image := self._newer_registry) is not None and self.state.registry is not None:
            renew = act.RenewRegistry(image=image.name, digest=image.digest, version=image.version)
            steps.append(
                Step(
                    name="registry",
                    intent=f"replace the site's registry {self.state.registry.version} by {image.version}",
                    prepares=True,
                    actions=(renew,),
                    check=(SiteServicesRun(registry=True),),
                    undo=(act.SettleRegistry(),),
                )
            )
        return steps

    def open_front_door(self) -> list[Step]:
        """HAProxy: started where it doesn't run yet (503 until the switch), or replaced where the media bring a newer.

        A newer one stays, whatever becomes of the release: it is the site's.
        """
        if self.edge is not None:
            config = frontdoor.with_product(self.state.edge_config, self.site, self.ref.product, (), ())
            return [
                Step(
                    name="front-door",
                    intent="start HAProxy, the site's front door",
                    prepares=True,
                    actions=(act.StartEdge(image=self.edge, config=config, version=self._version(self.edge)),),
                    check=(SiteServicesRun(edge=True), DoorHas(config=config)),
                    undo=(act.RemoveEdge(),) if self.state.edge is None else (),
                )
            ]
        image, here = self._newer_edge, self.state.edge
        if image is None or here is None:
            return []
        return [
            Step(
                name="front-door",
                intent=f"let HAProxy {image.version} take over from {here.version}, with its sockets",
                prepares=True,
                actions=(act.RenewEdge(image=image.name, digest=image.digest, version=image.version),),
                check=(SiteServicesRun(edge=True),),
                undo=(act.SettleEdge(),),
            )
        ]

    @property
    def renews(self) -> bool:
        """Whether one of them is replaced."""
        return self._newer_edge is not None or self._newer_registry is not None

    @property
    def _newer_edge(self) -> OwnImage | None:
        return self._newer(self.release.edge.haproxy, self.state.edge)

    @property
    def _newer_registry(self) -> OwnImage | None:
        return self._newer(self.release.edge.registry, self.state.registry) if self.site.registry.bundled else None

    def _newer(self, name: str | None, here: EdgeImage | None) -> OwnImage | None:
        image = self.carried.get(name or "")
        return image if image and here and newer(image.version, here.version) else None

    def _version(self, name: str) -> str:
        return self.carried[name].version if name in self.carried else ""

    @property
    def _listen(self) -> str:
        return self.site.registry.bundled.listen if self.site.registry.bundled else ""
