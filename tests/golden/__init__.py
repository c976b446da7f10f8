"""One small bundle of each release of sealift, kept for ever: see README.md."""
