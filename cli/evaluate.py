"""geoseg evaluate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_args

import click

from geoseg.config import EvaluateConfig
from geoseg.recipes import ProtocolName

from .options import LOCATION, PATH, bands_option, device_options, opening_options, overwrite_option, progress

if TYPE_CHECKING:
    from geoseg.evaluation.report import Report
    from geoseg.evaluation.scores import Scores
    from geoseg.jobs.evaluate import Counted, Scoring
    from geoseg.jobs.protocols import ProtocolScoring


@click.command()
@click.argument("file", type=LOCATION)
@click.option(
    "--labels",
    type=PATH,
    help="Label raster; for several images a folder of them, named like the images.  [default: those of --protocol]",
)
@click.option("--data", type=PATH, help="Images that a model maps: a folder, or one file. Only with a model.")
@click.option(
    "--protocol",
    type=click.Choice(get_args(ProtocolName)),
    help="What --data is, where it has labels of its own.  [default: what the model was trained by]",
)
@click.option(
    "--ignore", type=int, multiple=True, metavar="VALUE", help="Label value that is not scored; may be given again."
)
@click.option(
    "--label-map",
    type=PATH,
    help="JSON or CSV file that names label values or colours.  [default: each value is a class]",
)
@bands_option
@device_options
@click.option("--picture", type=PATH, help="Also draw the confusion matrix, one to one, to this PNG.")
@overwrite_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@opening_options
@click.pass_context
def evaluate(context: click.Context, /, as_json: bool, **settings: Any) -> None:
    """Score FILE against labels: a model, on the images of --data, or a class raster.

    \b
    geoseg evaluate map.tif --labels labels.tif
    geoseg evaluate model.safetensors --data FOLDER --labels FOLDER
    geoseg evaluate model.safetensors --data FOLDER       Potsdam or COCO-Stuff, by their protocol

    Clusters get their classes from the labels, once for all pixels: one to one, and each its most frequent one.
    """
    config = EvaluateConfig(json=as_json, **settings)
    from geoseg.outputs.pictures import save_png

    report = _score(config, context.obj["quiet"])
    if config.picture is not None:
        save_png(report.picture(), config.picture)
    if config.json:
        click.echo(json.dumps(report.to_json(), indent=1))
        return
    for line in _lines(report):
        click.echo(line.rstrip())


def _score(config: EvaluateConfig, quiet: bool) -> Report:
    if config.labels is not None:
        from geoseg.jobs.evaluate import Scoring

        return _run(Scoring(config), quiet)
    from geoseg.jobs.protocols import ProtocolScoring

    with ProtocolScoring(config) as scoring:
        return _run(scoring, quiet)


def _run(scoring: Scoring | ProtocolScoring, quiet: bool) -> Report:
    """Run an evaluation under a progress display."""
    found: list[Report] = []

    def counting() -> Iterator[Counted]:
        found.append((yield from scoring.run()))

    for _ in progress(counting(), scoring.blocks, scoring.unit, _describe, quiet):
        pass
    return found[0]


def _describe(counted: Counted) -> str:
    return f"{counted.image.name}, {counted.pixels / 1e6:.1f} Mpx"


def _lines(report: Report) -> Iterator[str]:
    """The report as a person reads it."""
    shown = {name: value for name, value in report.facts.items() if name not in ("file", "kind") and "sha" not in name}
    every = report.labelled + report.ignored
    yield f"{report.facts['kind']} {report.facts['file']}: {', '.join(f'{n} {value}' for n, value in shown.items())}"
    yield (
        f"{report.pixels / 1e6:.2f} Mpx scored; not scored: {_percent(report.ignored / every)} of all pixels ignored, "
        f"{_percent(1 - report.pixels / report.labelled)} of the labelled ones uncovered (nodata in the map)"
    )
    one, many = report.one_to_one, report.many_to_one
    yield ""
    yield from _table(
        ("", "one to one", "many to one"),
        [
            ("accuracy", _percent(one.accuracy), _percent(many.accuracy)),
            ("mIoU", _percent(one.mean_iou), _percent(many.mean_iou)),
        ],
    )
    yield f"adjusted Rand index {report.rand_index:.3f}, normalised mutual information {report.mutual_information:.3f}"
    yield ""
    yield from _table(
        ("class", "share", "IoU", "recall", "precision", "cluster", "many to one: IoU", "clusters"),
        [_row(report, place) for place in range(len(report.classes.ids))],
    )
    unmatched = report.unmatched(one)
    if unmatched:
        lost = sum(int(report.counts[number - 1].sum()) for number in unmatched) / report.pixels
        yield ""
        yield f"one to one, {_names(unmatched)} for no class: {_percent(lost)} of the pixels, counted as wrong"


def _row(report: Report, place: int) -> tuple[str, ...]:
    one, many = report.one_to_one, report.many_to_one
    return (
        report.classes.names[place],
        *(_percent(float(column[place])) for column in (report.shares, one.iou, one.recall, one.precision)),
        _clusters(report, one, place),
        _percent(float(many.iou[place])),
        _clusters(report, many, place),
    )


def _clusters(report: Report, scores: Scores, place: int) -> str:
    return ", ".join(str(number) for number in report.matched(scores, place)) or "none"


def _names(numbers: Sequence[int]) -> str:
    told = ", ".join(map(str, numbers))
    return f"clusters {told} stand" if len(numbers) > 1 else f"cluster {told} stands"


def _percent(value: float) -> str:
    return "-" if value != value else f"{value:.1%}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of columns as wide as their widest entry; names to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        cells = zip(row, widths, strict=True)
        yield "  ".join(f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}" for i, (cell, width) in enumerate(cells))
