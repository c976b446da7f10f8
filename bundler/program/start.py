"""The first Python that runs in the program on a host: gives the program its name and runs ``installer``.

Started by ``start.sh`` as ``start.py NAME [ARGUMENT...]``.
"""

import atexit
import os
import runpy
import shutil
import sys

temporary = os.environ.get("SEALIFT_RUNTIME_TEMPORARY")
if temporary:
    # No folder of the host could take the program for good, so it leaves none behind.
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)

sys.argv = sys.argv[1:]
# `sys.executable` cannot be started without the loader; nobody shall try.
sys.executable = ""
runpy.run_module("installer", run_name="__main__")
