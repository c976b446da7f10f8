"""Roots of trust and permits, as people make them."""
