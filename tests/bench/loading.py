"""Loads a bundle into a registry as the installer does, in a process of its own: ``loading.py BUNDLE PUB URL``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from installer.bundle.archive import BundleReader
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import check_content, verify_release
from installer.registry.address import RegistryAddress
from installer.registry.client import RegistryClient
from installer.registry.fill import fill_registry
from installer.registry.load import RegistrySink, missing_blobs


def main(bundle: Path, public: Path, url: str) -> None:
    """Ask what is missing; where something is, verify and load all of it. Prints seconds in this process as JSON."""
    client = RegistryClient.at(RegistryAddress.parse(url))
    policy = TrustPolicy.from_key(public.read_bytes(), "bench")
    began = time.monotonic()
    with BundleReader(bundle) as reader:
        verified = verify_release(reader, policy)
        missing = missing_blobs(client, verified.release)

        def read(sink: RegistrySink, again: bool) -> None:
            check_content(reader, verified, [sink], quick=again, outrun=sink.outrun)

        if missing:
            fill_registry(client, verified.release, read, print)
    print(json.dumps({"seconds": time.monotonic() - began, "missing": len(missing)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
