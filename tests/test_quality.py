"""One command runs everything: lint, format and types are tests too."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "arguments", [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)], ids=["lint", "format", "types"]
)
def test_the_repository_passes(arguments: tuple[str, ...]) -> None:
    if importlib.util.find_spec(arguments[0]) is None:
        pytest.skip(f"{arguments[0]} is not installed; the extra 'test' brings it")
    command = [sys.executable, "-m", *arguments, *(["."] if arguments[0] == "ruff" else [])]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.fail(f"{' '.join(arguments)}\n{found.stdout}{found.stderr}", pytrace=False)
