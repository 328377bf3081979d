"""Text for a terminal: names and messages from files may hold characters that would command it."""

from __future__ import annotations

import logging
import re

from .streams import show, tell

# Control characters, marks that change the direction of text, and bytes of file names that are not UTF-8.
_COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return text on one line, with characters that a terminal would obey as escapes, such as \x1b or \n."""
    return _COMMANDS.sub(lambda found: _escape(found[0]), text)


def echo(text: object, err: bool = False) -> None:
    """Print one line; to standard error with `err`."""
    (tell if err else show)(printable(str(text)))


class LineFormatter(logging.Formatter):
    """Formats a log record as one line, followed by its traceback if it has one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        message, *trace = super().format(record).partition("\nTraceback ")
        return printable(message) + "".join(trace)


def _escape(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
