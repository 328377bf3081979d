"""geoseg classes: names and colours for classes, and merges of them."""

from __future__ import annotations

import click

from .classes_edit import merge, order, set_class, split
from .classes_files import apply, edit_classes, export_classes, import_classes
from .classes_look import show_classes, suggest


class _Group(click.Group):
    """A group whose commands are listed in the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names as they were added."""
        return list(self.commands)


@click.group(cls=_Group)
def classes() -> None:
    """Name, recolour and merge classes, in models and in finished maps."""


for command in (
    show_classes,
    suggest,
    set_class,
    merge,
    split,
    order,
    edit_classes,
    export_classes,
    import_classes,
    apply,
):
    classes.add_command(command)
