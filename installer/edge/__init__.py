"""The site's front door: HAProxy in a container of its own, shared by all products of a state dir."""
