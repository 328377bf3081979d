"""What the documentation tells a reader to type: its commands and its Python."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "examples", "tests", "qgis")
RUN = "<!-- run -->"
"""Before a block of commands, in the source of a page: the tests run it."""

_FENCE = re.compile(r"^ *(`{3,}|:{3,})(.*)$")
_OPERATORS = {"&&", "||", "|", ";", "&", "(", ")", "<", ">", ">>", "2>", ";;"}
_OTHERS = {"aws", "pip", "uv", "conda", "mamba", "docker"}
"""Commands to which `geoseg` is the name of something else."""

_NO_SHELL = {"python", "json", "text", "toctree", "eval-rst", "command-options", "bibtex"}


@dataclass(frozen=True)
class Block:
    """A block of text to type.

    Attributes:
        page: Path below the root of the repository.
        line: Line of the page, counted from 1, on which it begins.
        language: Language of a fenced block, empty for an indented one.
        text: Its lines, without their indent.
        runs: Whether it is marked to be run.
    """

    page: str
    line: int
    language: str
    text: str
    runs: bool = False


def pages() -> list[Path]:
    """All Markdown files that a user may read."""
    found = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))]
    return sorted(found)


def blocks(path: Path) -> Iterator[Block]:
    """Yield the fenced and the indented blocks of a page."""
    page = path.relative_to(ROOT).as_posix()
    lines = path.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        begin = number
        if fence:
            number += 1
            while number < len(lines) and not lines[number].strip().startswith(fence[1]):
                number += 1
            text = lines[begin + 1 : number]
            number += 1
            language = fence[2].strip().strip("{}").split(" ")[0].strip("{}")
        elif lines[number].startswith("    ") and _may_begin(lines, number):
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number].strip()):
                number += 1
            text, language = lines[begin:number], ""
        else:
            number += 1
            continue
        indent = min((len(line) - len(line.lstrip()) for line in text if line.strip()), default=0)
        body = "\n".join(line[indent:] for line in text).rstrip()
        yield Block(page, begin + 1, language, body, runs=_mark(lines, begin) == RUN)


def _may_begin(lines: list[str], number: int) -> bool:
    """Whether an indented block may begin here: after an empty line, or after a comment."""
    before = _mark(lines, number)
    return not before or before.startswith("<!--")


def _mark(lines: list[str], number: int) -> str:
    return lines[number - 1].strip() if number else ""


def calls(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of geoseg in lines of a shell, whatever starts it."""
    for line in text.replace("\\\n", " ").splitlines():
        if "geoseg" not in line:
            continue
        for words in _simple_commands(line):
            for position, word in enumerate(words):
                before = words[:position]
                if Path(word).name == "geoseg" and not any(w in _OTHERS or w.endswith(".sh") for w in before):
                    arguments = [argument for argument in words[position + 1 :] if argument != "..."]
                    if arguments:
                        yield arguments
                    break


def _simple_commands(line: str) -> Iterator[list[str]]:
    """Yield the words of each command of a line; what follows `#`, and the targets of redirections, are left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    skip = False
    for word in lexer:
        if word in _OPERATORS or set(word) <= set("();<>|&"):
            skip = word in {">", ">>", "<"}
            if not skip:
                yield words
                words = []
        elif skip:
            skip = False
        else:
            words.append(word)
    yield words


def is_shell(block: Block) -> bool:
    """Whether the lines of a block are for a shell."""
    return block.language not in _NO_SHELL


def inline_calls(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each piece of code in the prose of a page that begins with `geoseg` and has options."""
    text = re.sub(r"^ *```.*?^ *```", lambda m: "\n" * m[0].count("\n"), path.read_text(), flags=re.M | re.S)
    for found in re.finditer(r"`((?:python -m )?geoseg [^`]*--[^`]*)`", text):
        yield text.count("\n", 0, found.start()) + 1, " ".join(found[1].split())
