"""Upgrade strategies: each reads aloud like the sentence that describes it."""
