"""``python -m installer``: the site program from its sources."""

import sys

from installer.cli import main

sys.exit(main())
