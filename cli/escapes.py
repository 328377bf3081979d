"""Escapes for text from files, such as names and messages, whose characters may command a terminal."""

from __future__ import annotations

import re

# Control characters, marks that change the direction of text, and bytes of file names that are not UTF-8.
_COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return text on one line, with characters that a terminal would obey as escapes, such as \x1b or \n."""
    return _COMMANDS.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
