"""geoseg classes show and suggest: what is known of classes, and what may be made of them. Nothing is predicted."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from geoseg.config import ShowClassesConfig, SuggestClassesConfig

from .classes_edit import run_change
from .options import LOCATION, PATH, opening_options, overwrite_option
from .streams import show
from .terminal import echo
from .usage import Command

if TYPE_CHECKING:
    from geoseg.jobs.class_facts import ClassFacts
    from geoseg.jobs.class_suggestions import Suggestion

F = TypeVar("F", bound=Callable[..., Any])

_CHARACTERS = 40


def look_options(function: F) -> F:
    """Add FILE, --map, --scene, --json and the options of opening a scene."""
    for option in (
        opening_options,
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--scene", type=LOCATION, help="The scene that the map was made from, for its colours."),
        click.option("--map", type=PATH, help="With a model: a map of it, for areas, confidence and borders."),
        click.argument("file", type=PATH),
    ):
        function = option(function)
    return function


@click.command("show", cls=Command)
@look_options
@click.option(
    "--sheet", type=PATH, help="Also show places of every class in the imagery: .png, or .html to name them there."
)
@overwrite_option
def show_classes(as_json: bool, **settings: Any) -> None:
    """List the classes of FILE, a model or the class raster of a map: how large they are, and how they look."""
    config = ShowClassesConfig(json=as_json, **settings)
    from geoseg.jobs.class_edits import is_model
    from geoseg.jobs.class_facts import class_table

    places = None
    if config.sheet is not None:
        from geoseg.jobs.class_sheet import check_sheet, write_class_sheet

        raster = check_sheet(config.sheet, config.file, config.map, config.overwrite)
        places = write_class_sheet(raster, config.sheet, config.scene, config)
    table = class_table(config.file, config.map, config.scene, config)
    if config.json:
        entries = [row.to_json() for row in table.rows]
        if places is not None:
            entries = [entry | {"places": places.get(entry["id"], [])} for entry in entries]
        show(json.dumps(entries, indent=1))
        return
    for line in _table(table.rows):
        echo(line)
    if config.map is not None and _differ(config.file, config.map):
        echo(
            f"{config.map}: these are its classes; those of {config.file} are others by now, and geoseg classes apply "
            "gives it them",
            err=True,
        )
    if table.appearance is None:
        hint = "--scene" if config.map or not is_model(config.file) else "--map and --scene"
        echo(f"{config.file}: how its classes look is not known; {hint} would tell", err=True)


@click.command("suggest", cls=Command)
@look_options
@click.option("--classes", type=int, metavar="N", help="Merge to so many classes.  [default: what loses 2 %]")
@click.option("--picture", type=PATH, help="Also draw the tree of merges to this PNG file.")
@click.option("--apply-names", is_flag=True, help="Call classes without a name by their guesses, such as water?.")
@click.option("--apply-colors", is_flag=True, help="Give all classes colours by what they look like.")
@overwrite_option
@click.pass_context
def suggest(context: click.Context, /, as_json: bool, **settings: Any) -> None:
    """Suggest which classes of FILE are alike and may be merged, and what they may be.

    FILE is a model or the class raster of a map. Names are guesses, from colour and from indices where the bands
    allow. Nothing changes without --apply-names or --apply-colors, which change FILE and --map.
    """
    config = SuggestClassesConfig(json=as_json, **settings)
    from geoseg.jobs.class_suggestions import suggest

    found = suggest(config)
    if config.json:
        show(json.dumps(found.to_json(), indent=1))
    else:
        for line in _suggestion(found, config.file):
            echo(line)
    if config.picture is not None:
        found.save_picture(config)
    if config.apply_names or config.apply_colors:
        _apply(context, found, config)


def _apply(context: click.Context, found: Suggestion, config: SuggestClassesConfig) -> None:
    """Change the class maps of the files."""

    def change(old: Any) -> Any:
        coloured = found.coloured(old) if config.apply_colors else old
        return found.named(coloured) if config.apply_names else coloured

    run_change(context, [config.file, *([config.map] if config.map else [])], change)


def _differ(model: Path, raster: Path) -> bool:
    """Whether a map has other classes than its model."""
    from geoseg.jobs.class_edits import classes_of

    return classes_of(model) != classes_of(raster)


def _table(rows: tuple[ClassFacts, ...]) -> Iterator[str]:
    """Yield the lines of the table of classes; columns of which nothing is known are left out."""
    lines: list[tuple[str, ...]] = [("id", "class", "colour", "share", "ha", "mean colour", "confidence", "may be")]
    lines += [_cells(row) for row in rows]
    shown = [i for i in range(len(lines[0])) if i < 3 or any(line[i] for line in lines[1:])]
    widths = {i: max(len(line[i]) for line in lines) for i in shown}
    for line in lines:
        cells = (f"{line[i]:>{widths[i]}}" if i in (0, 3, 4, 6) else f"{line[i]:{widths[i]}}" for i in shown)
        yield "  ".join(cells).rstrip()


def _cells(row: ClassFacts) -> tuple[str, ...]:
    look, name = row.look, " ".join(row.entry.name.split())
    return (
        str(row.entry.id),
        name if len(name) <= _CHARACTERS else f"{name[: _CHARACTERS - 1]}…",
        row.entry.colour,
        "" if row.share is None else f"{row.share:.1%}" if row.seen else "none",
        "" if row.hectares is None else f"{row.hectares:.2f}",
        "" if look is None or look.rgb is None else "#{:02x}{:02x}{:02x}".format(*map(round, look.rgb)),
        "" if look is None or look.confidence is None else f"{look.confidence:.2f}",
        f"{row.meaning}?" if row.meaning else "",
    )


def _suggestion(found: Suggestion, file: Path) -> Iterator[str]:
    """Yield the lines of a suggestion."""
    by = "look and borders" if found.borders else "look"
    count = len(found.tree.ids)
    if len(found.groups) < count:
        yield f"{count} classes could be {len(found.groups)}, by {by}; names are guesses"
    else:
        yield f"no two of {count} classes are alike enough to merge, by {by} (--classes merges them anyway)"
    names = {row.entry.id: row.entry.name for row in found.table.rows}
    for group in found.groups:
        what = f"{group.meaning}?" if group.meaning else "-"
        yield f"{group.share:6.1%}  {what:12}  {', '.join(f'{i} {names[i]}' for i in group.ids)}"
    if found.unseen:
        yield f"not seen: {', '.join(f'{i} {names[i]}' for i in found.unseen)}"
    merges = [group for group in found.groups if len(group.ids) > 1]
    if merges:
        yield "to merge them:"
        yield from (f"  geoseg classes merge {shlex.quote(str(file))} {group.arguments}" for group in merges)
