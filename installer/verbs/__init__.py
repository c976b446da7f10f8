"""Verbs of the command line that :mod:`installer.cli` takes in: parse, call, show."""
