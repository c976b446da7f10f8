"""What this host remembers: state in two copies, the journal, kept releases, and the lock around them."""
