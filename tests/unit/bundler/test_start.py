"""``bundle --help`` answers at once: what only some verbs need is imported by them."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("pydantic", "cryptography", "tuf", "sigstore", "docker", "requests", "urllib3", "jinja2", "zstandard")


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from bundler.cli import main; code = main(['--help']);"
        f"print('heavy:', *[name for name in {HEAVY} if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy:"
    assert "trust" in done.stdout and "build" in done.stdout


def test_no_plugin_of_another_package_has_a_say_in_validation() -> None:
    program = "import installer; from pydantic.plugin._loader import get_plugins; print(list(get_plugins()))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
