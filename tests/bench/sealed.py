"""``python -m tests.bench.sealed``: encrypted media beside the real `age`, decrypting and encrypting, in pairs.

One file of random bytes (``MB``, 512 where nothing is said) in a folder that goes away; ratios are ours to age's.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from bundler.media.encrypt import Encrypting
from installer.bundle.age import MediaKey
from installer.bundle.encrypted import decrypted

_PIECE = 1024 * 1024
_RUNS = 5


def main(megabytes: int) -> None:
    """Print medians of wall and CPU seconds, and of the paired ratios."""
    key = MediaKey.generate()
    with TemporaryDirectory(prefix="sealed-") as name:
        plain, sealed, other = (Path(name) / each for each in ("plain", "sealed", "other"))
        (Path(name) / "key").write_text(key.spelled() + "\n")
        with plain.open("wb") as file:
            for _ in range(megabytes):
                file.write(os.urandom(_PIECE))

        def encrypt() -> None:
            with plain.open("rb") as source, sealed.open("wb") as out, Encrypting(out, [key.recipient]) as sink:
                while piece := source.read(_PIECE):
                    sink.write(piece)

        def decrypt() -> None:
            with decrypted(sealed.open("rb"), "sealed", lambda: [key])[0] as file:
                while file.read(_PIECE):
                    pass

        compare("encrypt", encrypt, ["age", "-r", key.recipient, "-o", str(other), str(plain)])
        compare("decrypt", decrypt, ["age", "-d", "-i", f"{name}/key", "-o", "/dev/null", str(sealed)])


def compare(what: str, ours: Callable[[], None], theirs: list[str]) -> None:
    """Run both by turns."""
    pairs = [(cost(ours), cost(lambda: subprocess.run(theirs, check=True))) for _ in range(_RUNS)]
    for place, kind in enumerate(("wall", "CPU")):
        mine, age = (statistics.median(pair[side][place] for pair in pairs) for side in (0, 1))
        ratio = statistics.median(one[place] / two[place] for one, two in pairs)
        print(f"{what}: {kind} {mine:.2f} s, age {age:.2f} s, ratio {ratio:.2f}")


def cost(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds, children's too."""
    before, began = cpu(), time.monotonic()
    run()
    return time.monotonic() - began, cpu() - before


def cpu() -> float:
    """CPU seconds of this process and the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 512)
