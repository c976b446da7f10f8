"""Hostile bundles: one for each known way to abuse a format, made from one small good one."""
