"""Registries: where images of a release wait until an engine pulls them by digest."""
