"""geoseg teach."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from geoseg.config import TeachConfig

from .options import (
    LOCATION,
    PATH,
    assume_crs_option,
    bands_option,
    device_options,
    opening_options,
    overwrite_option,
    rescale_option,
)  # fmt: skip
from .progress import run_job
from .streams import show
from .terminal import echo
from .usage import Command

if TYPE_CHECKING:
    from geoseg.naming.teach_report import TeachReport

_FEW = 10
_WIDEST = 40
"""Characters of a name that are shown as text."""

_SHOWN = 12
"""Contradictions, and clusters, that are shown as text."""


@click.command(cls=Command)
@click.argument("model", type=PATH)
@click.option("--scene", type=LOCATION, required=True, help="The scene that the references lie in.")
@click.option(
    "--reference",
    type=PATH,
    required=True,
    help="Points, lines or polygons (.gpkg, .geojson, .shp, .fgb, .parquet), or a class raster on the scene's pixels.",
)
@click.option("--field", help="Field that names the class of a feature.")
@click.option("--reference-layer", help="Layer of a GeoPackage with several.")
@click.option(
    "--known-only", is_flag=True, help="Leave out references of classes that the model was not taught before."
)
@click.option("-o", "--out", type=PATH, help="Model file to write.  [default: MODEL-taught.safetensors]")
@click.option(
    "--next", type=PATH, help="GeoPackage of superpixels to look at next.  [default: that of --out with .next.gpkg]"
)
@click.option(
    "--suggestions",
    type=int,
    default=TeachConfig.suggestions,
    show_default=True,
    help="How many superpixels to suggest; 0 writes no GeoPackage.",
)
@bands_option
@rescale_option
@click.option("--workers", type=int, help="Number of threads.  [default: number of cores, at most 8]")
@device_options
@assume_crs_option
@overwrite_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@opening_options
@click.pass_context
def teach(context: click.Context, /, as_json: bool, **settings: Any) -> None:
    """Teach MODEL named classes with references: a few points of each class are enough.

    \b
    geoseg teach model.safetensors --scene scene.tif --reference points.gpkg --field landcover

    The model that is written predicts these classes. Beside it lies a GeoPackage of the superpixels whose class would
    help most: fill in its field, and teach the new model with it again.
    """
    config = TeachConfig(json=as_json, **settings)
    from geoseg.jobs.teach import TeachJob

    with TeachJob(config) as job:
        run_job(job, context)
    if config.json:
        show(json.dumps(job.report.to_json(), indent=1))
        return
    for line in _lines(job.report):
        echo(line.rstrip())


def _lines(report: TeachReport) -> Iterator[str]:
    """The report as text."""
    yield from _table(
        ("class", "references", "superpixels", "recall", "precision"),
        [
            (_short(c.name), str(c.references), str(c.superpixels), _percent(c.recall), _percent(c.precision))
            for c in report.classes
        ],
    )
    yield ""
    yield from _losses(report)
    if report.judged:
        yield (
            f"agreement {_percent(report.agreement)}: that share of {report.judged} superpixels gets its own class "
            f"from references in other squares of {report.side} px, of which {report.squares} have references"
        )
        few = [each for each in report.classes if each.superpixels < _FEW]
        if few:
            yield (
                f"{len(few)} of {len(report.classes)} classes have fewer than {_FEW} superpixels, of which shares say "
                "little"
            )
        yield from _confusion(report)
    else:
        yield f"agreement unknown: the references lie in too few squares of {report.side} px to leave some out"
    yield from _contradictions(report)
    if report.unreached:
        shown = [f"{name} ({share:.1%})" for name, share in list(report.unreached.items())[:_SHOWN]]
        more = len(report.unreached) - len(shown)
        yield f"clusters without a reference (share of a sample): {', '.join(shown)}" + f" and {more} more" * (more > 0)
    yield f"model {report.model}"
    if report.next is not None:
        yield f"where to look next: {report.next} ({len(report.suggestions)} superpixels)"


def _losses(report: TeachReport) -> Iterator[str]:
    for reason, number in report.left_out.items():
        yield f"left out: {number} {reason}"
    for number, what in (
        (report.ambiguous, "that references of several classes hit"),
        (report.scarce, "of which references cover less than half"),
    ):
        if number:
            yield f"left out: {number} superpixel{'s' * (number != 1)} {what}"


def _confusion(report: TeachReport) -> Iterator[str]:
    names = [entry.name for entry in report.classes]
    if len(names) > _SHOWN:
        return
    head = ("found (right), given (below)", *(str(i) for i in range(1, len(names) + 1)))
    rows = [
        (f"{i} {_short(name)}", *map(str, row))
        for i, (name, row) in enumerate(zip(names, report.confusion.tolist(), strict=True), start=1)
    ]
    yield from _table(head, rows)
    yield ""


def _contradictions(report: TeachReport) -> Iterator[str]:
    for entry in report.contradictions[:_SHOWN]:
        place = "in another scene" if entry.x is None or entry.y is None else f"at {entry.x:.10g} {entry.y:.10g}"
        near = f"; {entry.differing} of {entry.neighbours} references near it differ" if entry.neighbours else ""
        yield f"check: {_short(entry.given)} {place} looks like {_short(entry.found)} ({entry.probability:.0%}){near}"
    more = len(report.contradictions) - _SHOWN
    if more > 0:
        yield f"check: {more} more; --json has all of them"


def _short(name: str) -> str:
    """A name that leaves room for the rest of a line."""
    return name if len(name) <= _WIDEST else f"{name[: _WIDEST - 1]}…"


def _percent(value: float) -> str:
    return "-" if value != value else f"{value:.1%}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table: the first column aligned to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        cells = zip(row, widths, strict=True)
        yield "  ".join(f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}" for i, (cell, width) in enumerate(cells))
