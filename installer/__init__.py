"""The site side of sealift: verifies a release bundle and brings it into service."""

__version__ = "0.1.0"
