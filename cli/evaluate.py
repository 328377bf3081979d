"""geoseg evaluate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_args

import click

from geoseg.config import EvaluateConfig
from geoseg.recipes import ProtocolName

from .options import LOCATION, PATH, bands_option, device_options, opening_options, overwrite_option, rescale_option
from .progress import run_job
from .streams import show
from .terminal import echo
from .usage import Command

if TYPE_CHECKING:
    from geoseg.evaluation.report import Report
    from geoseg.evaluation.scores import Scores


@click.command(cls=Command)
@click.argument("file", type=LOCATION)
@click.option(
    "--labels",
    type=PATH,
    help="Label raster, or a folder of them, named like the images.  [default: the labels of the protocol]",
)
@click.option("--data", type=PATH, help="With a model: the images to map, a folder or one file.")
@click.option(
    "--protocol",
    type=click.Choice(get_args(ProtocolName)),
    help="Data set that --data holds, with its own labels.  [default: the one that the model was trained on]",
)
@click.option(
    "--ignore",
    type=int,
    multiple=True,
    metavar="VALUE",
    help="Label value to leave out of the scores; can be repeated.",
)
@click.option(
    "--label-map",
    type=PATH,
    help="JSON or CSV file that names label values or colours.  [default: each value is a class]",
)
@bands_option
@rescale_option
@click.option(
    "--smooth",
    type=int,
    metavar="ROUNDS",
    help="With a model: rounds of smoothing, as in predict.  [default: as in predict; 0 by a protocol]",
)
@device_options
@click.option("--picture", type=PATH, help="Also draw the confusion matrix to this PNG file.")
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

    Clusters are matched to the classes of the labels once, over all pixels, in two ways: one to one, and each cluster
    to its most frequent class.
    """
    config = EvaluateConfig(json=as_json, **settings)
    from geoseg.jobs.evaluate import EvaluateJob

    with EvaluateJob(config) as job:
        run_job(job, context)
    if config.json:
        show(json.dumps(job.report.to_json(), indent=1))
        return
    for line in _lines(job.report):
        echo(line.rstrip())


def _lines(report: Report) -> Iterator[str]:
    """The report as text."""
    facts = {name: value for name, value in report.facts.items() if name not in ("file", "kind") and "sha" not in name}
    total = report.labelled + report.ignored
    yield f"{report.facts['kind']} {report.facts['file']}: {', '.join(f'{n} {value}' for n, value in facts.items())}"
    yield (
        f"{report.pixels / 1e6:.2f} Mpx scored; not scored: {_percent(report.ignored / total)} of all pixels ignored, "
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
    rand_index, information = report.adjusted_rand_index, report.normalised_mutual_information
    yield f"adjusted Rand index {rand_index:.3f}, normalised mutual information {information:.3f}"
    yield ""
    yield from _table(
        ("class", "share", "IoU", "recall", "precision", "cluster", "many to one: IoU", "clusters"),
        [_row(report, index) for index in range(len(report.label_map.ids))],
    )
    unmatched = report.unmatched_clusters(one)
    if unmatched:
        share = sum(map(report.pixels_of, unmatched)) / report.pixels
        yield ""
        yield f"one to one, {_unmatched(unmatched)} for no class: {_percent(share)} of the pixels, counted as wrong"


def _row(report: Report, index: int) -> tuple[str, ...]:
    one, many = report.one_to_one, report.many_to_one
    return (
        report.label_map.names[index],
        *(_percent(float(column[index])) for column in (report.shares, one.iou, one.recall, one.precision)),
        _clusters(report, one, index),
        _percent(float(many.iou[index])),
        _clusters(report, many, index),
    )


def _clusters(report: Report, scores: Scores, index: int) -> str:
    return ", ".join(map(str, report.clusters_of(scores, index))) or "none"


def _unmatched(clusters: Sequence[int]) -> str:
    ids = ", ".join(map(str, clusters))
    return f"clusters {ids} stand" if len(clusters) > 1 else f"cluster {ids} stands"


def _percent(value: float) -> str:
    return "-" if value != value else f"{value:.1%}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table: the first column aligned to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        cells = zip(row, widths, strict=True)
        yield "  ".join(f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}" for i, (cell, width) in enumerate(cells))
