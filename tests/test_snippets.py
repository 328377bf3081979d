"""What the documentation tells a reader to type can be typed: commands have these options, Python these names."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from helpers.commandline import commands
from helpers.snippets import ROOT, blocks, calls, inline_calls, is_shell, pages

import geoseg
from geoseg.cli.main import geoseg as group

KNOWN = commands(group)
PAGES = [path.relative_to(ROOT).as_posix() for path in pages()]


def parse(arguments: list[str]) -> None:
    """Parse arguments as `geoseg ARGUMENTS` does, and run nothing.

    Raises:
        click.ClickException: There is no such command or option, an argument is missing, or a value cannot be.
    """
    command: click.Command = group
    context: click.Context | None = None
    name = "geoseg"
    rest = list(arguments)
    while True:
        context = command.make_context(name, rest, parent=context)
        if not isinstance(command, click.Group):
            break
        rest = [*context._protected_args, *context.args]
        resolved, command_, rest = command.resolve_command(context, rest)
        assert command_ is not None
        name, command = str(resolved), command_
    if name == "plan":
        given = list(context.params["arguments"])
        planned = given.pop(0) if given[0] in {"predict", "superpixels", "polygonize"} else "predict"
        KNOWN[planned].make_context(planned, given, parent=context)


def check(arguments: list[str], where: str) -> None:
    """Fail with the place in the documentation if the arguments cannot be parsed."""
    try:
        parse([re.sub(r"\{\}|\$\{?\w+\}?", "1", argument) for argument in arguments])  # what a loop puts in
    except click.exceptions.Exit:
        pass  # --help and --version
    except click.ClickException as error:
        pytest.fail(f"{where}: geoseg {' '.join(arguments)}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_understood(page: str) -> None:
    for block in blocks(ROOT / page):
        if is_shell(block):
            for arguments in calls(block.text):
                check(arguments, f"{page}:{block.line}")


def test_commands_are_found_wherever_they_stand() -> None:
    """The check above looks at what it should: many commands, in all of these forms."""
    text = (
        "A=1 .venv/bin/geoseg predict a.tif --out b.tif && geoseg info b.tif  # geoseg nothing\n"
        "seq 2 | xargs -I{} geoseg work r --shard {}/2 > log; torchrun -m geoseg train \\\n  --data x\n"
        "pip install geoseg\n"
    )
    assert [found[0] for found in calls(text)] == ["predict", "info", "work", "train"]
    assert [found[-1] for found in calls(text)] == ["b.tif", "b.tif", "{}/2", "x"]
    found = [found for page in pages() for block in blocks(page) if is_shell(block) for found in calls(block.text)]
    assert len(found) > 80
    with pytest.raises(click.NoSuchOption):
        parse(["predict", "a.tif", "--outt", "b.tif"])
    with pytest.raises(click.ClickException, match="bfloat8"):
        parse(["predict", "a.tif", "--out", "b.tif", "--precision", "bfloat8"])


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_sentences_have_these_options(page: str) -> None:
    for line, text in inline_calls(ROOT / page):
        words = text.removeprefix("python -m ").split()[1:]
        names = [name for name in KNOWN if words[: len(name.split())] == name.split()]
        whole = KNOWN[max(names, key=len)] if names else group
        planned = KNOWN[
            "superpixels" if "superpixels" in words else "polygonize" if "polygonize" in words else "predict"
        ]
        flags = {
            flag
            for command in (group, whole, *([planned] if words[0] == "plan" else []))
            for parameter in command.params
            if isinstance(parameter, click.Option)
            for flag in (*parameter.opts, *parameter.secondary_opts)
        } | {"--help", "-h"}
        used = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text.replace("python -m ", "")))
        assert used <= flags, f"{page}:{line}: `{text}` has no {used - flags}"


@pytest.mark.parametrize("page", PAGES)
def test_python_compiles_and_its_names_exist(page: str) -> None:
    for block in blocks(ROOT / page):
        if block.language == "python":
            tree = ast.parse(block.text, f"{page}:{block.line}")
            for node in ast.walk(tree):
                check_names(node, f"{page}:{block.line}")


def check_names(node: ast.AST, where: str) -> None:
    """Fail if a name of geoseg, a function's parameter or an imported name does not exist."""
    if isinstance(node, ast.ImportFrom) and str(node.module).startswith("geoseg"):
        module = importlib.import_module(str(node.module))
        assert all(hasattr(module, name.name) for name in node.names), f"{where}: {ast.unparse(node)}"
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "geoseg":
        assert hasattr(geoseg, node.attr) or importlib.util.find_spec(f"geoseg.{node.attr}"), f"{where}: {node.attr}"
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("geoseg."):
        function = getattr(geoseg, ast.unparse(node.func).split(".")[1])
        known = inspect.signature(function).parameters
        variable = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
        unknown = {keyword.arg for keyword in node.keywords if keyword.arg} - set(known)
        assert variable or not unknown, f"{where}: {ast.unparse(node.func)} has no {unknown}"


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", sorted({b.page for path in pages() for b in blocks(path) if b.runs}))
def test_marked_blocks_run_in_their_order(page: str, tmp_path: Path) -> None:
    """Blocks after `<!-- run -->`, of a shell or of Python, are one session in a checkout, in which nothing fails."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    shell = f'geoseg() {{ "{sys.executable}" -m geoseg "$@"; }}\n'
    for block in blocks(ROOT / page):
        if block.runs and block.language == "python":
            shell += f"\"{sys.executable}\" - <<'END'\n{block.text}\nEND\n"
        elif block.runs:
            shell += f"{block.text}\n"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.rglob("*.geoseg.json"))
