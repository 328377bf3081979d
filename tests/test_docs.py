"""The documentation names what there is, and what it tells a newcomer to paste is what continuous integration runs."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from helpers.commandline import commands

from geoseg.cli.main import geoseg

ROOT = Path(__file__).resolve().parents[1]
KNOWN = commands(geoseg)
COMMANDS = (ROOT / "docs" / "commands.md").read_text()


def sections() -> dict[str, str]:
    parts = re.split(r"^##+ geoseg ([a-z -]+)$", COMMANDS, flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_is_documented_and_every_documented_command_exists() -> None:
    groups = {name for name, command in geoseg.commands.items() if isinstance(command, click.Group)}
    assert set(sections()) - {""} - groups == set(KNOWN)
    assert set(sections()) >= groups


@pytest.mark.parametrize("name", ["", *sorted(KNOWN)])
def test_every_option_is_documented_and_every_documented_option_exists(name: str) -> None:
    command: click.Command = KNOWN[name] if name else geoseg
    options = {flag for p in command.params if isinstance(p, click.Option) for flag in (*p.opts, *p.secondary_opts)}
    documented = set(re.findall(r"`(--?[a-z-]+)`", "".join(re.findall(r"^\|.*$", sections()[name], re.MULTILINE))))
    known = options | {"--help", "-h"}
    assert options <= set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", sections()[name])), "an option without a word"
    assert documented <= known | {"-vv"}, "a word about an option that is not there"


def test_relative_links_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "tests").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_where_things_are() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    section = page.split("## Where things are")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| `((?:geoseg|cli)/[\w/]+\.py)`(?:, `([\w.]+)`)?[^|]* \|$", section, re.MULTILINE)
    assert len(rows) >= 10
    for question, path, name in rows:
        text = (ROOT / path).read_text()
        for part in name.split(".") if name else ():
            assert re.search(rf"^ *(def|class) {part}\b", text, re.M), f"{question}: {path} has no {part}"
    packages = re.findall(r"^\| `(\w+)/` \|", section, re.MULTILINE)
    assert set(packages) == {path.parent.name for path in (ROOT / "geoseg").glob("*/__init__.py")} | {"cli"}


def test_the_readme_has_one_line_to_try_and_one_to_test() -> None:
    readme = (ROOT / "README.md").read_text()
    for mark in ("try", "test"):
        lines = re.findall(rf"^<!-- {mark} -->\n    (\S.*)$", readme, re.MULTILINE)
        assert len(lines) == 1
        assert lines[0].startswith("python3 -m venv .venv && ")
    assert "<!-- test -->" in (ROOT / ".ci" / "run").read_text()


def test_the_table_of_laws_and_the_names_of_tests_agree() -> None:
    """Every law has tests of its number, in the files that its row names, and every such test has a law."""
    found: dict[int, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for number in re.findall(r"^def test_law_(\d+)_", path.read_text(), re.MULTILINE):
            found.setdefault(int(number), set()).add(path.relative_to(ROOT).as_posix())
    section = re.split(r"^## ", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    rows = re.findall(r"^\| (\d+) \|(.*)$", next(text for text in section if text.startswith("The laws")), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 10))
    assert set(found) == set(range(1, 10)), "tests of a law that is not in the table, or a law without a test"
    for number, row in rows:
        named = set(re.findall(r"tests/[\w/]+\.py", row))
        assert "tests/test_laws.py" in found[int(number)], f"law {number} has no test in tests/test_laws.py"
        assert named == found[int(number)] - {"tests/test_laws.py", "tests/test_soak.py"}, (
            f"files named for law {number}"
        )


def test_every_benchmark_is_in_the_list_of_benchmarks() -> None:
    listed = (ROOT / "docs" / "performance.md").read_text().split("\n## The benchmarks\n")[1]
    named = re.findall(r"^\| `([\w/.]+)", listed, re.MULTILINE)
    folder = ROOT / "benchmarks"
    programs = {path for path in folder.rglob("*.py") if '__name__ == "__main__"' in path.read_text()}
    children = {folder / "peers" / name for name in ("tool.py", "compare.py")}
    found = {
        str((path.parent if path.name == "__main__.py" else path).relative_to(folder)) for path in programs - children
    }
    assert set(named) == found
