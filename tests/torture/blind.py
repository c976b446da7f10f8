"""A program that never looks whether its last run was cut off, killed as others are: ``python -m tests.torture.blind``.

What the campaign finds wrong, before it is blinded and after, as JSON: it must be able to fail.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from installer.state.journal import Journal
from tests.torture.campaign import Campaign, Scenario


def main() -> int:
    """A process of its own, as each campaign: what it changes in the modules stays changed."""
    scenario = Scenario("broken", (("install", "1.0.0"),), ("install", "1.1.0"), "1.0.0", "1.1.0")
    with tempfile.TemporaryDirectory() as folder:
        one = Campaign(scenario, Path(folder))
        number = one.names.index("journal step-done switch: after")
        before = one.once(number)
        one.proved.clear()
        setattr(Journal, "unfinished", lambda _: None)  # noqa: B010 - in this process alone
        json.dump({"before": before, "after": one.once(number)}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
