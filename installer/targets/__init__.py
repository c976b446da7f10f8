"""Where a product runs: steps become commands here, and nothing is run."""
