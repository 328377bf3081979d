"""Lines for a terminal, without characters that would command it."""

from __future__ import annotations

import logging

from .escapes import printable
from .streams import show, tell


def echo(text: object, err: bool = False) -> None:
    """Print one line; to standard error with `err`."""
    (tell if err else show)(printable(str(text)))


class LineFormatter(logging.Formatter):
    """Formats a log record as one line, followed by its traceback if it has one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        message, *trace = super().format(record).partition("\nTraceback ")
        return printable(message) + "".join(trace)
