"""What a site decides by itself, and what becomes of it: values, secrets, rendered configuration."""
