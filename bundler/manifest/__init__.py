"""The release manifest and what it must agree with: changelog, version, git, a stranger's compose file."""
