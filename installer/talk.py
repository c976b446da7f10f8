"""What a person or a script sees: results on stdout, talk on stderr, one JSON object when asked.

House style: lower case, no full stop, what happened, then why. Whatever comes from outside passes :func:`clean`.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from getpass import getpass
from pathlib import Path
from typing import Final, NoReturn, TextIO

import typer

from installer.errors import Interrupted, SealiftError
from installer.meter import BarMeter, Meter, PlainMeter, QuietMeter
from installer.streams import tell
from installer.words import clean, size, span

__all__ = ["Meter", "Table", "Talk", "clean", "run_cli", "size", "span"]

_ERRNO: Final = {
    errno.ENOSPC: ("disk-full", "free some space, or write to another disk"),
    errno.EDQUOT: ("disk-full", "free some space, or write to another disk"),
    errno.EACCES: ("permission", "check owner and mode, or become the right user"),
    errno.EPERM: ("permission", "check owner and mode, or become the right user"),
    errno.EROFS: ("permission", "the file system is read-only: choose another place"),
    errno.ENAMETOOLONG: ("bad-option", "name a shorter path"),
    errno.EIO: ("media-unreadable", "read it from another copy or port"),
}
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Table:
    """Rows to show at the end. The first column is a name, the others its values."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""

    def plain(self) -> str:
        """As text, columns two spaces apart."""
        lines = [[clean(cell) for cell in line] for line in ((self.headers,) if any(self.headers) else ()) + self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headers))] if lines else []
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        return "\n".join([*([clean(self.title)] if self.title else []), *text])


@dataclass
class Talk:
    """One command's conversation. Made by :func:`run_cli`; a verb finds it as ``context.obj``."""

    json: bool = False
    quiet: bool = False
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    _object: dict[str, object] | None = None
    _unwritten: OSError | None = None

    @property
    def colourful(self) -> bool:
        """Whether stderr is a terminal that wants more than plain text."""
        return self.err.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def say(self, line: str) -> None:
        """One line of talk, unless ``--quiet``."""
        if not self.quiet:
            tell(self.err, clean(line))

    def warn(self, line: str) -> None:
        """Something that is not right but does not stop us, unless ``--quiet``."""
        self.say(f"warning: {line}")

    def result(self, text: str | Table, value: dict[str, object]) -> None:
        """The result: ``text`` to stdout at once, or ``value`` as the one JSON object at the end. Call it once."""
        self._object = value
        if self.json:
            return
        if isinstance(text, str):
            self._write("\n".join(clean(line) for line in text.splitlines()))
        else:
            self._show(text)

    def fail(self, error: SealiftError) -> None:
        """The failure: ``error:`` and ``hint:`` on stderr, even with ``--quiet``; its details before the hint."""
        lines = [f"error: {clean(error.message)}", *(f"  {clean(line)}" for line in error.details)]
        tell(self.err, "\n".join([*lines, *([f"hint: {clean(error.hint)}"] if error.hint else [])]))
        self._object = (self._object or {}) | {"error": error.as_json()}

    def close(self) -> OSError | None:
        """Write the one JSON object, if that is what was asked for. Returns what kept the result from being written.

        A reader that left is none: there is nobody to miss it.
        """
        if self.json:
            self._write(json.dumps(self._object or {}))
        return self._unwritten

    @contextmanager
    def progress(self, label: str, total_bytes: int | None) -> Iterator[Meter]:
        """Shows bytes, rate and time left while the block calls ``advance(n)`` (from any thread)."""
        label = clean(label)
        meter: Meter
        if self.quiet:
            meter = QuietMeter()
        elif self.colourful:
            meter = BarMeter(label, total_bytes, self.err)
        else:
            meter = PlainMeter(label, total_bytes, self.err)
        try:
            yield meter
        except BaseException:
            meter.close(complete=False)
            raise
        meter.close(complete=True)

    def confirm(self, question: str, option: str) -> bool:
        """Ask yes or no on the terminal. Raises ``answer-needed`` (2), naming ``option``, where there is none."""
        if self.json or not (sys.stdin.isatty() and self.err.isatty()):
            raise SealiftError("answer-needed", f"no terminal to ask on: {question}", hint=f"answer with {option}")
        print(f"{clean(question)} [y/N] ", end="", file=self.err, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def ask_for_disc(self, name: str) -> bool:
        """Ask for the disc that holds the file ``name``; False when it is not to be had, or nobody can be asked."""
        if self.json or not (sys.stdin.isatty() and self.err.isatty()):
            return False
        print(
            f"insert the disc with {clean(name)} and press Enter, or q to give up: ", end="", file=self.err, flush=True
        )
        return sys.stdin.readline().strip(" ") == "\n"

    def ask_secret(self, question: str, option: str) -> str:
        """Ask for a secret without echo. Raises ``answer-needed`` (2), naming ``option``, without a terminal."""
        if not (sys.stdin.isatty() and self.err.isatty()):
            raise SealiftError("answer-needed", f"no terminal to ask on: {question}", hint=f"answer with {option}")
        return getpass(f"{clean(question)}: ", stream=self.err)

    def _show(self, table: Table) -> None:
        if not (self.out.isatty() and self.colourful):
            self._write(table.plain())
            return
        # Imported here: it costs a tenth of a second, and only terminals need it.
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = RichTable(title=clean(table.title) or None, show_header=any(table.headers), title_justify="left")
        for header in table.headers:
            shown.add_column(header, overflow="fold")  # a digest that is cut is none
        for row in table.rows:
            shown.add_row(*(Text(clean(cell)) for cell in row))
        console = Console(file=self.out)
        with console.capture() as drawn:
            console.print(shown)
        self._write(drawn.get().removesuffix("\n"))

    def _write(self, text: str) -> None:
        """To standard output."""
        error = tell(self.out, text)
        if error is not None and not isinstance(error, BrokenPipeError):
            self._unwritten = error


def run_cli(
    app: Callable[..., object],
    argv: Sequence[str] | None = None,
    *,
    program: str,
    anywhere: Collection[str] = (),
    last: bool = False,
) -> int:
    """Run a ``typer`` application and return its exit code; the one place where exceptions become codes.

    ``--json`` and ``--quiet`` are understood before and after the verb and become :class:`Talk`. ``anywhere`` names
    further options with a value (such as ``--site``) that the application declares before its verbs and that may
    also stand behind them. SIGTERM, and SIGHUP where nobody has it ignored, count as an interrupt.
    ``last``: the process ends with it, and no second signal may change the exit code any more.
    """
    switches, arguments = _hoist(list(sys.argv[1:] if argv is None else argv), anywhere)
    talk = Talk(json="--json" in switches, quiet="--quiet" in switches)
    with _terminable(last):
        return _closed(talk, _guarded(app, arguments, program, talk))


def _closed(talk: Talk, code: int) -> int:
    """The exit code, once the result is written."""
    unwritten = talk.close()
    if unwritten is None or code:
        return code
    what = "what was asked for is done, but its result could not be written"
    return _failed(talk, SealiftError("disk-full", f"{what}: {_reason(unwritten)}", hint="write it to another place"))


def _hoist(argv: list[str], anywhere: Collection[str]) -> tuple[set[str], list[str]]:
    """The switches found anywhere before ``--``, and the arguments with the ``anywhere`` options moved to the front."""
    switches: set[str] = set()
    front: list[str] = []
    rest: list[str] = []
    end = argv.index("--") if "--" in argv else len(argv)
    words = iter(argv[:end])
    for word in words:
        if word in ("--json", "--quiet"):
            switches.add(word)
        elif word in anywhere:
            front += [word, *itertools.islice(words, 1)]
        elif word.partition("=")[0] in anywhere:
            front.append(word)
        else:
            rest.append(word)
    return switches, front + rest + argv[end:]


def _guarded(app: Callable[..., object], arguments: list[str], program: str, talk: Talk) -> int:
    try:
        code = app(args=arguments, prog_name=program, standalone_mode=False, obj=talk)
    except SealiftError as error:
        return _failed(talk, error)
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help text, empty where rich showed it
            print(error.format_message(), file=talk.err)
            return _failed(
                talk, SealiftError("bad-option", "no verb was given", hint=f"see above, or {program} --help")
            )
        hint = f"{program} --help lists what there is"
        return _failed(talk, SealiftError("bad-option", _first_small(error.format_message()), hint=hint))
    except Interrupted as error:
        _be_deaf()
        hint = "run it again: it goes on, or takes back what was begun; sealift status shows where it is"
        return _failed(talk, SealiftError("interrupted", str(error), hint=hint))
    except (KeyboardInterrupt, typer.Abort):
        _be_deaf()
        code = 130
    except SystemExit as leaving:
        code = leaving.code
    except OSError as error:
        return _failed(talk, _from_os(error))
    except Exception as error:
        return _failed(talk, _bug(error))
    if code == 130:
        hint = "run it again: it goes on, or starts over"
        return _failed(talk, SealiftError("interrupted", "stopped by a signal", hint=hint))
    return code if isinstance(code, int) else 0


def _failed(talk: Talk, error: SealiftError) -> int:
    talk.fail(error)
    return int(error.exit_code)


def _from_os(error: OSError) -> SealiftError:
    """What the system refused, where a person can mend it; a bug otherwise."""
    known = _ERRNO.get(error.errno or 0)
    if known is None:
        return _bug(error)
    where = f": {error.filename}" if error.filename else ""
    return SealiftError(known[0], f"{_noted(error)}{_reason(error)}{where}", hint=known[1])


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _noted(error: BaseException) -> str:
    """What was noted about an error on its way, such as what serves meanwhile."""
    return "".join(f"{note}: " for note in getattr(error, "__notes__", ()))


def _bug(error: Exception) -> SealiftError:
    """The traceback goes to a file of the user's own; only its name goes to the screen."""
    try:
        handle, path = tempfile.mkstemp(prefix="sealift-traceback-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError as full:
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{_noted(error)}a bug: {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
        hint = f"its traceback cannot be written ({full.strerror}): run it again with TMPDIR in a folder with space"
        return SealiftError("internal", what, hint=hint)
    what = f"{_noted(error)}a bug: {type(error).__name__}, its traceback is in {path}"
    return SealiftError(
        "internal", what, hint="please report it with that file; read it first, it may name files of yours"
    )


def _first_small(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".")


@contextmanager
def _terminable(last: bool) -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal that went away, end the block like Ctrl-C does; not under ``nohup``."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if number != signal.SIGINT and handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if last else handler)


def _be_deaf() -> None:
    """Who presses Ctrl-C again and again is told once what serves, and never sees a traceback."""
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
