"""The build side of sealift: makes one signed release bundle and the media folder around it."""
