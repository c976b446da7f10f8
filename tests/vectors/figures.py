"""``python -m tests.vectors.figures``: how many vectors, flips and cuts there are, and what the worst vectors cost."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter

from tests.unit.bundle.test_altered import FLIPS, FORGE, truncations
from tests.vectors.catalogue import HOSTILE, VECTORS
from tests.vectors.judge import verdict


def main() -> None:
    """Judge every vector once for its time and once for its memory, and print the counts and the worst."""
    seconds: dict[str, float] = {}
    peaks: dict[str, int] = {}
    wrong: list[str] = []
    for vector in VECTORS:
        bundle, root = vector.bundle, vector.trusted
        began = time.process_time()
        if verdict(bundle, root) != vector.error:
            wrong.append(vector.name)
        seconds[vector.name] = time.process_time() - began
        tracemalloc.start()
        verdict(bundle, root)
        peaks[vector.name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    slowest = max(seconds, key=lambda name: seconds[name])
    largest = max(peaks, key=lambda name: peaks[name])
    codes = Counter(vector.code for vector in HOSTILE)
    print(f"vectors: {len(HOSTILE)} hostile, {len(VECTORS) - len(HOSTILE)} harmless; wrong: {wrong or 'none'}")
    print(f"error ids: {len({vector.error for vector in HOSTILE})}; by exit code: {dict(sorted(codes.items()))}")
    envelope = sum(len(data) for data in (FORGE.statement, *FORGE.signatures.values(), FORGE.packing))
    print(f"flips: {2 * envelope} of the envelope's {envelope} bytes, {FLIPS} random; cuts: {len(truncations())}")
    print(f"slowest: {slowest}, {seconds[slowest] * 1000:.0f} ms of the processor")
    print(f"largest: {largest}, {peaks[largest] / 2**20:.1f} MiB of Python's memory")


if __name__ == "__main__":
    main()
