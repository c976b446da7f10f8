"""What a site holds already, and what a delta leaves out or patches."""
