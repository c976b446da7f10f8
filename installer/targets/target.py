"""What a kind of target must translate for the planner: steps to commands, which others run."""

from __future__ import annotations

from typing import Protocol

from installer.bundle.release import Release
from installer.commands import Command
from installer.site.names import Colour, Part


class Target(Protocol):
    """One release on one target. Each method names a change, and returns the command that makes it."""

    @property
    def release(self) -> Release: ...

    def create_network(self, colour: Colour) -> Command:
        """A colour's own network; it may fail where it exists."""

    def remove_network(self, colour: Colour) -> Command:
        """It may fail where something is on it."""

    def pull(self, part: Part) -> Command:
        """Fetch the images that the target lacks; nothing is started."""

    def up(self, part: Part, *containers: str, alone: bool = True) -> Command:
        """Start a part, or some ``containers`` of it, ``alone`` or with what they need; what is unchanged stays."""

    def remove(self, part: Part, *containers: str) -> Command:
        """Take containers of a part off; fine where they are gone."""

    def down(self, part: Part) -> Command:
        """Take a part off; its named volumes stay. Nothing to take is fine."""

    def remove_image(self, reference: str) -> Command:
        """It may fail where the image is used or missing."""

    def find_volumes(self) -> Command:
        """Prints the names of the product's volumes."""

    def remove_volumes(self) -> Command:
        """Takes volumes, whose names are added at the end."""

    def containers(self, service: str) -> tuple[str, ...]:
        """The names of a service's replicas within their part."""
