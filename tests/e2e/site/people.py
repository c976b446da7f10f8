"""Somebody else on the same host: a user without any right, who runs what he likes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

NOBODY: Final = 65534
PYTHON: Final = "/usr/bin/python3"
_AS_NOBODY: Final = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")

TRY_EVERYTHING: Final = """
import json, os, socket, sys
done = []
def attempt(what, path, act):
    try:
        act()
    except OSError:
        return
    done.append(f"{what} {path}")
def connect(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(path)
for path in json.load(sys.stdin):
    attempt("read", path, lambda: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK)))
    attempt("write", path, lambda: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)))
    attempt("plant a link in", path, lambda: os.symlink("/etc/passwd", path + "/planted"))
    attempt("hard-link", path, lambda: os.link(path, "/tmp/sealift-planted"))
    attempt("remove", path, lambda: os.rename(path, path + ".gone"))
    attempt("connect to", path, lambda: connect(path))
print(json.dumps(done))
"""

READ_PROCESSES: Final = """
import json, os
seen = []
for number in filter(str.isdigit, os.listdir("/proc")):
    for name in ("cmdline", "environ"):
        try:
            with open(f"/proc/{number}/{name}", "rb") as file:
                seen.append(file.read().decode(errors="replace"))
        except OSError:
            pass
print(json.dumps(seen))
"""

LISTEN: Final = """
import json, socket, sys
got = []
for port in json.load(sys.stdin):
    for address in ("127.0.0.1", "0.0.0.0", "::"):
        for option in (None, socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as one:
                if option is not None:
                    one.setsockopt(socket.SOL_SOCKET, option, 1)
                try:
                    one.bind((address, port))
                    one.listen()
                    got.append(f"{address}:{port}")
                except OSError:
                    pass
print(json.dumps(got))
"""

SQUAT: Final = """
import http.server, json, sys, threading
class Fake(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"version": "yes", "product": "board"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        print(self.path, dict(self.headers), file=sys.stderr, flush=True)
    do_CONNECT = do_POST = do_PUT = do_HEAD = do_GET
servers = [http.server.ThreadingHTTPServer(("127.0.0.1", port), Fake) for port in json.loads(sys.argv[1])]
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("here", flush=True)
servers[0].serve_forever()
"""


def as_nobody(script: str, value: object = None) -> Any:
    """Run Python as somebody else, with a JSON value on its input; what it printed, read as JSON."""
    done = subprocess.run(
        [*_AS_NOBODY, PYTHON, "-I", "-c", script], input=json.dumps(value), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@contextmanager
def squatter(*ports: int) -> Iterator[list[str]]:
    """Somebody else's web server, which says that all is well; at the end, what it was asked."""
    asked: list[str] = []
    command = [*_AS_NOBODY, PYTHON, "-I", "-c", SQUAT, json.dumps(ports)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "here\n"
        try:
            yield asked
        finally:
            process.kill()
            asked += process.stderr.read().splitlines()
