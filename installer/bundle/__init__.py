"""The bundle format: reading, verifying, and the values both sides share. ``FORMAT.md`` is the rule book.

This package imports nothing of ours but :mod:`installer.errors`, opens no socket and starts no process.
"""
