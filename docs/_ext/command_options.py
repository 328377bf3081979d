"""The directive `command-options`: usage and options of every command, in the groups of its help, from click itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import click
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from geoseg.cli.main import geoseg
from geoseg.cli.usage import FEW, group_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.util.typing import OptionSpec


def commands(group: click.Group, words: str = "geoseg") -> Iterator[tuple[str, click.Command]]:
    """Yield each command with the words that call it, the group itself first."""
    yield words, group
    for name in group.list_commands(click.Context(group)):
        command = group.commands[name]
        if isinstance(command, click.Group):
            yield from commands(command, f"{words} {name}")
        else:
            yield f"{words} {name}", command


class CommandOptions(SphinxDirective):
    """A section for each command: its usage line, and a table of its options for each group of its help."""

    has_content: ClassVar[bool] = False
    option_spec: ClassVar[OptionSpec] = {}

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        return [self._section(words, command) for words, command in commands(geoseg)]

    def _section(self, words: str, command: click.Command) -> nodes.section:
        section = nodes.section(ids=[f"options-{words.replace(' ', '-')}"], names=[])
        section += nodes.title(text=words)
        context = click.Context(command, info_name=words)
        pieces = " ".join(command.collect_usage_pieces(context))
        section += nodes.literal_block(text=f"{words} {pieces}", language="text")
        groups: dict[str, list[tuple[str, str]]] = {}
        parameters = command.get_params(context)
        few = sum(isinstance(parameter, click.Option) for parameter in parameters) <= FEW
        for parameter in parameters:
            record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
            if record:
                groups.setdefault("Options" if few else group_of(command, parameter), []).append(record)
        for heading, records in groups.items():
            section += nodes.rubric(text=heading)
            section += _table(records)
        return section


def _table(records: list[tuple[str, str]]) -> nodes.table:
    group = nodes.tgroup(cols=2)
    group += [nodes.colspec(colwidth=width) for width in (35, 65)]
    body = nodes.tbody()
    for flags, text in records:
        row = nodes.row()
        row += nodes.entry("", nodes.paragraph("", "", nodes.literal(text=flags)))
        row += nodes.entry("", nodes.paragraph(text=text))
        body += row
    group += body
    table = nodes.table(classes=["options"])
    table += group
    return table


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-options", CommandOptions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
