"""geoseg classes export, import and apply: class maps in files, and from one file to others."""

from __future__ import annotations

from typing import Any

import click

from geoseg.config import ApplyClassesConfig, EditClassesConfig, ExportClassesConfig, ImportClassesConfig
from geoseg.errors import GeosegError, UnavailableError

from .classes_edit import change_options, run_change
from .options import PATH, min_area_option, overwrite_option
from .streams import announce
from .terminal import echo
from .usage import Command


@click.command("export", cls=Command)
@click.argument("file", type=PATH)
@click.option("-o", "--out", type=PATH, required=True, help="File to write: .csv for a spreadsheet, or .json.")
@overwrite_option
def export_classes(**settings: Any) -> None:
    """Write the classes of FILE, a model or the class raster of a map, to a file that can be edited and imported."""
    config = ExportClassesConfig(**settings)
    from geoseg.jobs.class_edits import export_classes

    export_classes(config.file, config.out, config.overwrite)
    announce(config.out)


@click.command("edit", cls=Command)
@change_options
@click.pass_context
def edit_classes(context: click.Context, /, **settings: Any) -> None:
    """Edit the classes of FILE as a table in the editor that VISUAL or EDITOR names.

    FILE is a model or the class raster of a map. Nothing changes unless the table is saved.
    """
    config = EditClassesConfig(**settings)
    from geoseg.files.atomic import publish_bytes
    from geoseg.jobs.class_edits import classes_of
    from geoseg.naming.legend_file import legend_bytes, parse_legend

    old, table = classes_of(config.file), config.file.with_suffix(".classes.csv")
    try:
        text = click.edit(legend_bytes(old, table).decode("utf-8-sig").replace("\r\n", "\n"), extension=".csv")
    except click.ClickException as error:
        raise UnavailableError(
            f"the editor failed ({error.message}); set EDITOR to another one, or use geoseg classes export and import"
        ) from error
    if text is None:
        echo(f"{config.file}: unchanged, as the table was not saved", err=True)
        return
    try:
        run_change(
            context, [config.file, *config.maps], lambda known: parse_legend(text.encode(), table, known), config.out,
            config.min_area, config.overwrite,
        )  # fmt: skip
    except GeosegError as error:
        publish_bytes(table, text.encode("utf-8-sig"))
        raise type(error)(f"{error}. Your table is kept: mend {table.name}, and geoseg classes import it") from error


@click.command("import", cls=Command)
@change_options
@click.argument("legend", type=PATH)
@click.pass_context
def import_classes(context: click.Context, /, **settings: Any) -> None:
    """Give FILE, a model or the class raster of a map, the classes of LEGEND, a CSV or JSON file.

    LEGEND has the columns id, name, colour and clusters. What it leaves out stays as it is.
    """
    config = ImportClassesConfig(**settings)
    from geoseg.naming.legend_file import read_legend_file

    run_change(
        context, [config.file, *config.maps], lambda old: read_legend_file(config.legend, old), config.out,
        config.min_area, config.overwrite,
    )  # fmt: skip


@click.command("apply", cls=Command)
@click.argument("legend", type=PATH)
@click.argument("files", type=PATH, nargs=-1, required=True)
@min_area_option
@click.pass_context
def apply(context: click.Context, /, **settings: Any) -> None:
    """Give FILES, maps or models, the classes of LEGEND, without predicting again.

    LEGEND is the model that made them, another map of that model, or a CSV or JSON file.
    """
    config = ApplyClassesConfig(**settings)
    from geoseg.jobs.class_edits import changed_by

    change, each = changed_by(config.legend, config.files[0])
    run_change(context, list(config.files), change, min_area=config.min_area, each=each)
