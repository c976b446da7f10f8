"""Finds what goes into a release, wherever it lies, and knows its digests before anything is written."""
