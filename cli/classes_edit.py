"""geoseg classes set, merge, split and order: changes of the class map of models and maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from geoseg.config import MergeClassesConfig, OrderClassesConfig, SetClassConfig, SplitClassConfig
from geoseg.units import Area

from .options import PATH, min_area_option
from .progress import run_job
from .streams import announce
from .usage import Command

if TYPE_CHECKING:
    from geoseg.jobs.class_edits import Change

F = TypeVar("F", bound=Callable[..., Any])


def change_options(function: F) -> F:
    """Add FILE, --map, --out, --min-area and --overwrite."""
    for option in (
        click.option("--overwrite", is_flag=True, help="Replace an existing --out."),
        min_area_option,
        click.option("-o", "--out", type=PATH, help="Write FILE here with its new classes, instead of changing it."),
        click.option(
            "--map", "maps", type=PATH, multiple=True,
            help="Another map, or model, that gets the same classes; can be repeated.",
        ),
        click.argument("file", type=PATH),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command("set", cls=Command)
@change_options
@click.argument("entry", metavar="CLASS")
@click.argument("name", required=False)
@click.option("--color", "--colour", metavar="#RRGGBB", help="Its new colour.")
@click.pass_context
def set_class(context: click.Context, /, **settings: Any) -> None:
    """Give CLASS of FILE, by its id or name, a new NAME or colour. FILE is a model or the class raster of a map."""
    config = SetClassConfig(**settings)
    from geoseg.naming import edits

    run_change(
        context,
        [config.file, *config.maps],
        lambda old: edits.set_class(old, edits.find(old, config.entry).id, config.name, config.color),
        config.out, config.min_area, config.overwrite,
    )  # fmt: skip


@click.command("merge", cls=Command)
@change_options
@click.argument("classes", nargs=-1, required=True)
@click.option("--into", required=True, metavar="CLASS", help="The class, by its id or name, that they become part of.")
@click.option("--name", help="Its new name.")
@click.pass_context
def merge(context: click.Context, /, **settings: Any) -> None:
    """Make one class of several: CLASSES of FILE end, and the class of --into keeps its id, name and colour.

    FILE is a model or the class raster of a map.
    """
    config = MergeClassesConfig(**settings)
    from geoseg.naming import edits

    def change(old: Any) -> Any:
        ids = [edits.find(old, entry).id for entry in config.classes]
        return edits.merge(old, ids, edits.find(old, config.into).id, config.name)

    run_change(context, [config.file, *config.maps], change, config.out, config.min_area, config.overwrite)


@click.command("split", cls=Command)
@change_options
@click.argument("entry", metavar="CLASS")
@click.pass_context
def split(context: click.Context, /, **settings: Any) -> None:
    """Make each cluster of CLASS a class again. FILE is a model; a map that has merged them must be predicted again."""
    config = SplitClassConfig(**settings)
    from geoseg.jobs.class_edits import first_names
    from geoseg.naming import edits

    names = first_names(config.file)
    run_change(
        context, [config.file, *config.maps], lambda old: edits.split(old, edits.find(old, config.entry).id, names),
        config.out, config.min_area, config.overwrite,
    )  # fmt: skip


@click.command("order", cls=Command)
@change_options
@click.argument("classes", nargs=-1, required=True)
@click.pass_context
def order(context: click.Context, /, **settings: Any) -> None:
    """Number the classes of FILE anew, from 1 and without gaps: CLASSES first, the others as they were.

    FILE is a model or the class raster of a map.
    """
    config = OrderClassesConfig(**settings)
    from geoseg.naming import edits

    run_change(
        context,
        [config.file, *config.maps],
        lambda old: edits.reorder(old, [edits.find(old, entry).id for entry in config.classes]),
        config.out, config.min_area, config.overwrite,
    )  # fmt: skip


def run_change(
    context: click.Context, files: list[Path], change: Change, out: Path | None = None, min_area: Area | None = None,
    overwrite: bool = False, each: bool = False,
) -> None:  # fmt: skip
    """Change the class maps of files, and print what was written."""
    from geoseg.jobs.class_edits import ClassEdit

    with ClassEdit(files, change, each, out, min_area, overwrite) as edit:
        edit.save_models()
        for job in edit.jobs:
            run_job(job, context)
        for path in edit.written:
            announce(path)
