"""``python -m bundler`` is ``bundle``."""

import sys

from bundler.cli import main

sys.exit(main())
