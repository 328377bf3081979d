"""The documentation names what there is, and what it tells a newcomer to paste is what continuous integration runs."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from helpers.commandline import commands
from helpers.snippets import pages

import geoseg as public
from geoseg.cli.main import geoseg

ROOT = Path(__file__).resolve().parents[1]
KNOWN = commands(geoseg)
COMMANDS = [ROOT / "docs" / "commands.md", *sorted((ROOT / "docs" / "commands").glob("*.md"))]
"""What commands and options mean is written here by hand; their types and defaults the site takes from click."""


def sections() -> dict[str, str]:
    text = "".join(path.read_text() for path in COMMANDS)
    parts = re.split(r"^#+ geoseg ([a-z -]+)$", text, flags=re.MULTILINE)
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


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings on a repository host, which are those of the site too."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        words = re.sub(r"\]\([^)]*\)", "", heading).lower()
        anchor = re.sub(r"[^\w -]", "", words).strip().replace(" ", "-")
        found.append(f"{anchor}-{found.count(anchor)}" if anchor in found else anchor)
    return set(found)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
        there = page.parent / target if target else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name} links to {target}#{anchor}"


def test_the_api_page_has_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text().split("currentmodule:: geoseg.jobs")[0]
    errors = (ROOT / "docs" / "api.md").read_text().split("## Errors")[1]
    named = set(re.findall(r"^\.\. auto\w+:: (\w+)$", page + errors, re.MULTILINE))
    assert named == set(public.__all__) - {"__version__"}


def test_the_citation_names_this_version() -> None:
    for path in (ROOT / "CITATION.cff", ROOT / "docs" / "cite.md"):
        assert re.findall(r"^ *version *[:=] *\{?([\d.]+)", path.read_text(), re.MULTILINE) == [public.__version__]


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
