"""Rebuilds layers out of older ones and patches, in a process that may do nothing else."""
