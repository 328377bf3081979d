"""Run a tutorial as a reader does who pastes its commands, from top to bottom, in a checkout.

Each block marked as `bash` or `python` is run, except after a line `<!-- elsewhere -->`: what needs a scheduler or
data that nobody may ship. Python blocks that follow one another are one session.

    python tests/helpers/tutorials.py docs/tutorials/two-dates.md FOLDER

runs one in FOLDER and prints what it says, to be pasted into the page.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.snippets import ROOT, Block, blocks

TUTORIALS = ROOT / "docs" / "tutorials"
ELSEWHERE = "<!-- elsewhere -->"
"""Before a block, in the source of a page: it is not run."""


def steps(page: Path) -> list[Block]:
    """Return the blocks of a page that are run, in their order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [
        block
        for block in blocks(page)
        if block.language in {"bash", "python"} and (block.line < 2 or lines[block.line - 2].strip() != ELSEWHERE)
    ]


def checkout(folder: Path) -> Path:
    """Make a folder look like a checkout, with `geoseg` and `python` those of these tests, and return it."""
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    for name in ("docs", "examples"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    for name, module in (("geoseg", "-m geoseg"), ("python", "")):
        path = folder / "bin" / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        path.chmod(0o755)
    return folder


def follow(page: Path, folder: Path, shorter: Mapping[str, str] | None = None) -> Iterator[tuple[str, str]]:
    """Run the steps of a page in a folder that looks like a checkout, and yield each with what it said.

    Args:
        page: A tutorial.
        folder: Where its files go.
        shorter: Texts to be replaced, such as a number of steps of a training; each has to occur.

    Raises:
        AssertionError: A step failed, or a text to be replaced is not there.
    """
    checkout(folder)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONSAFEPATH": "1"}
    found = steps(page)
    for old in shorter or {}:
        assert any(old in step.text for step in found), f"{page.name} has no {old!r}"
    for language, group in groupby(found, key=lambda step: step.language):
        together = list(group)
        for text in [step.text for step in together] if language == "bash" else ["\n".join(s.text for s in together)]:
            for old, new in (shorter or {}).items():
                text = text.replace(old, new)
            start = ["bash", "-euo", "pipefail", "-c"] if language == "bash" else [sys.executable, "-c"]
            done = subprocess.run(
                [*start, text], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            assert done.returncode == 0, f"{page.name}: {text}\n{done.stdout}"
            yield text, done.stdout


if __name__ == "__main__":
    for step, said in follow(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()):
        print(f"$ {step}\n{said}", flush=True)
