"""Verbs that :mod:`bundler.cli` takes in: parse, call, print."""
