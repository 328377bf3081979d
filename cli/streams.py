"""Standard output and standard error, whose readers may go away, and which may be full or missing.

Standard error tells about the work and never ends it: once it cannot be written, nothing more is told. Standard output
carries results. If its reader has seen enough (a pipe into head), the rest is dropped and the status stays what it is;
if it cannot be written for another reason, such as a full disk, the command fails with `WriteError` at its end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from geoseg.errors import WriteError

from .escapes import printable

log = logging.getLogger(__name__)


class StandardError:
    """sys.stderr for the progress bar; what cannot be written is dropped."""

    @property
    def encoding(self) -> str:
        return sys.stderr.encoding

    def write(self, text: str) -> int:
        with telling():
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with telling():
            sys.stderr.flush()


STANDARD_ERROR = StandardError()

_losses: list[OSError] = []
"""Why standard output could not be written; at most one entry."""


def open_missing() -> None:
    """Lead standard streams that are closed or missing (`2>&-`, daemons, pythonw) nowhere.

    Otherwise the next file to be opened would get the number of standard error, and messages of C libraries would end
    up in it.
    """
    _losses.clear()
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                _lead_nowhere(number)
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 (open until the process ends)
        elif mode == "w":
            _escape_the_unknown(getattr(sys, name))


@contextmanager
def telling() -> Iterator[None]:
    """Drop what cannot be written to standard error in this context, and everything after it."""
    try:
        yield
    except OSError:
        _silence(sys.stderr)


def tell(line: str) -> None:
    """Print a line on standard error, if that is possible."""
    with telling():
        click.echo(line, err=True)


def show(text: str) -> None:
    """Print a result on standard output; see the top of this module for what happens where that fails."""
    try:
        click.echo(text)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            _losses.append(error)
        _silence(sys.stdout)


def announce(path: object) -> None:
    """Print the path of an output that is in place: the work is done, whether or not this can be printed.

    A program that reads standard output gets the path as it is; a terminal gets control characters as escapes.
    """
    show(printable(str(path)) if sys.stdout.isatty() else str(path))
    if _losses:
        log.warning("standard output: %s; the output is %s", _losses.pop().strerror, path)


def raise_if_lost() -> None:
    """Raise WriteError where a result could not be written to standard output, except to a reader that went away."""
    if _losses:
        raise WriteError(f"standard output: cannot be written ({_losses.pop().strerror}); send it elsewhere")


def reader_left() -> bool:
    """Return whether standard output is a pipe that nobody reads any more; what remains to be written is dropped."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        left = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):
        return False
    if left:
        _silence(sys.stdout)
    return left


def flush() -> None:
    """Flush both streams, so that Python has nothing left to fail with when it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _silence(stream)


def _escape_the_unknown(stream: Any) -> None:
    r"""Write characters that the stream's encoding lacks as \u escapes, instead of failing at them.

    On Windows, pipes and files have the encoding of the system's language, and names of classes may be in any.
    """
    if getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")


def _silence(stream: Any) -> None:
    """Lead a stream nowhere. What is still in its buffer would make Python fail when it exits."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        _lead_nowhere(stream.fileno())


def _lead_nowhere(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
