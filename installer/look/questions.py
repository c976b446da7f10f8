"""Smoke questions: plain HTTP to the front door or its preview, with a time limit and a small bound on the answer."""

from __future__ import annotations

import http.client
import ssl
from typing import Final
from urllib.parse import urlsplit

from installer.bundle.release import Release
from installer.edge.config import Frontend, split_bind
from installer.errors import SealiftError
from installer.plan.actions import Question

_MAX_ANSWER: Final = 1024 * 1024
_TIMEOUT: Final = 10.0


def questions(release: Release, fronts: tuple[Frontend, ...], *, preview: bool) -> tuple[Question, ...]:
    """The release's smoke questions, addressed to the preview or to the front door itself. Pure."""
    by_entry = {front.entry: front for front in fronts}
    found = []
    for smoke in release.smoke:
        front = by_entry[smoke.entry]
        scheme = "https" if front.tls_pem and not preview else "http"
        address, port = split_bind(front.preview_bind if preview and front.preview_bind else front.bind)
        address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - where to ask, not bind
        host = f"[{address}]" if ":" in address else address
        found.append(
            Question(
                service=release.entry_points[smoke.entry].service,
                url=f"{scheme}://{host}:{port}{smoke.http}",
                expect=smoke.expect,
                contains=smoke.contains,
            )
        )
    return tuple(found)


def ask(question: Question) -> None:
    """Ask once. Raises ``edge-failed`` (9) when the answer is not the one that counts."""
    parts = urlsplit(question.url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        # The question is whether the door serves, asked over loopback; its name is not ours to judge.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"User-Agent": "sealift-smoke", "Connection": "close"})
        answer = connection.getresponse()
        body = answer.read(_MAX_ANSWER).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise _wrong(question, f"no answer: {error}") from error
    finally:
        connection.close()
    if answer.status != question.expect:
        raise _wrong(question, f"it answered {answer.status}: {' '.join(body.split())[:200]}")
    if question.contains is not None and question.contains not in body:
        raise _wrong(question, f"the answer lacks {question.contains!r}")


def _wrong(question: Question, why: str) -> SealiftError:
    return SealiftError(
        "edge-failed",
        f"smoke test {question.url} wanted {question.expect}: {why}",
        hint="the log lines of the service say more; the release needs a fix",
    )
