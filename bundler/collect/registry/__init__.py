"""Images and charts out of registries, by the OCI distribution protocol."""
