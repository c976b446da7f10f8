"""Where the images of the site's own services are found on this machine, for the manifest that ``init`` writes."""

from __future__ import annotations

from bundler.cache import wide_cache

SERVICES = ("haproxy", "registry")


def edge_sources() -> tuple[dict[str, str], tuple[str, ...]]:
    """Sources of the edge images by service, and what a person should know when some are missing.

    They name the cache by its placeholder, so that a manifest names no machine's folder.
    """
    found = {
        name: f"oci:{{{{ cache }}}}/edge/{name}-layout"
        for name in SERVICES
        if (wide_cache() / "edge" / f"{name}-layout" / "oci-layout").is_file()
    }
    missing = [name for name in SERVICES if name not in found]
    if not missing:
        return found, ()
    what = " and ".join(missing)
    where = "make them with manifests/edge/build, then name them below `edge:`"
    return found, (f"no image of the site's own {what} is in the cache: {where}",)
