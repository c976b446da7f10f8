"""Changes the verifier in small ways, one at a time, and asks whether a test notices. See docs/mutation.md."""
