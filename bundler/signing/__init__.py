"""Who signs, and how: key files, identities, countersignatures. The only holder of private keys."""
