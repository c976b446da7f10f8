"""Releases in registries: ``bundle push`` and ``bundle pull``. FORMAT.md, "In a registry", says what lies there."""
