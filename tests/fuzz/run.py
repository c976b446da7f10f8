"""One target under libFuzzer, which ends the process: ``python -m tests.fuzz.run TARGET [libFuzzer's arguments]``."""

from __future__ import annotations

import sys

# Only `make fuzz` installs it, and it ships no types.
import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]


def main() -> None:
    """Instrument the installer while it is imported, then fuzz."""
    with atheris.instrument_imports(include=["installer"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
