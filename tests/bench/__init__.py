"""The benchmark behind docs/performance.md: `make bench`."""
