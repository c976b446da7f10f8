"""The media folder and its other packings: parts, encrypted, the whole way to a release."""
