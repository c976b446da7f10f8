"""The site side of sealift: verifies a release bundle and brings it into service."""

import os

# No plugin of another package has a say in what validates hostile bytes; to look for them takes 40 ms at every start.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"

__version__ = "0.1.0"
