"""Score a map or a model against labels."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputHtml,
    QgsProcessingOutputNumber,
    QgsProcessingUtils,
)

from .base import MODELS, GeosegAlgorithm

MATCHED = {"one_to_one": "one to one", "many_to_one": "many to one"}


class Evaluate(GeosegAlgorithm):
    """`geoseg evaluate`."""

    NAME, TITLE, TAGS = "evaluate", "Evaluate", "accuracy IoU confusion matrix validation"
    HELP = (
        "<p>Scores a map against a raster of labels on the same pixels, or a model against a folder of images and one"
        " of label rasters of the same names. Classes without names are matched to those of the labels: one to one, and"
        " each to its most frequent class (many to one).</p>"
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        self.add_raster("MAP", "Map", "A class raster of any program", optional=True)
        self.add_raster("LABELS", "Labels", "A raster on the pixels of the map", optional=True)
        self.add_file("MODEL", "Or a model", "The images of a folder are mapped in memory, and scored together", MODELS)
        self.add_file("DATA", "Folder of its images")
        text = (
            "The label of tile.tif is tile.tif or tile.png, also with _label or _gt. Potsdam and COCO-Stuff need none"
        )
        self.add_file("LABEL_FOLDER", "Folder of their labels", text)
        text = "Names the values, or the colours, of the labels"
        self.add_file("LABEL_MAP", "Label map", text, "Tables (*.csv *.json)")
        self.add_text("IGNORE", "Label values to leave out", "For example: 0 or 0,255")
        self.add_common()
        self.add_file_output("REPORT", "Report", "HTML files (*.html)")
        self.addOutput(QgsProcessingOutputHtml("HTML", "Report"))
        for name, title in (("ACCURACY", "accuracy"), ("MEAN_IOU", "mean IoU")):
            for prefix, match in (("", "one to one"), ("MANY_", "many to one")):
                self.addOutput(QgsProcessingOutputNumber(f"{prefix}{name}", f"{title}, {match}".capitalize()))

    def checkParameterValues(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """Return whether there is a map or a model, with labels."""
        of_map, of_model = self.given(parameters, "MAP"), self.given(parameters, "MODEL")
        if of_map == of_model:
            return False, "Choose either a map or a model"
        if of_map and not self.given(parameters, "LABELS"):
            return False, "Choose the raster of labels on the pixels of the map"
        if of_model and not self.given(parameters, "DATA"):
            return False, "Choose the folder of images that the model is to map"
        return super().checkParameterValues(parameters, context)

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Score, write the report, and return the figures."""
        report = Path(str(self.output(parameters, "REPORT", context, layer=False)))
        picture = Path(QgsProcessingUtils.generateTempFilename("confusion.png"))
        if self.given(parameters, "MAP"):
            arguments = [self.raster(parameters, "MAP", context)]
            arguments += ["--labels", self.raster(parameters, "LABELS", context)]
        else:
            arguments = [self.path(parameters, "MODEL", context), "--data", self.path(parameters, "DATA", context)]
            if self.given(parameters, "LABEL_FOLDER"):
                arguments += ["--labels", self.path(parameters, "LABEL_FOLDER", context)]
        if self.given(parameters, "LABEL_MAP"):
            arguments += ["--label-map", self.path(parameters, "LABEL_MAP", context)]
        for value in self.parameterAsString(parameters, "IGNORE", context).replace(",", " ").split():
            arguments += ["--ignore", value]
        arguments += [
            *self.text_options(parameters, context, BANDS="--bands"),
            *self.further_options(parameters, context),
        ]
        command = ["evaluate", *arguments, "--json", "--picture", str(picture)]
        found = self.run_geoseg(command, feedback, str(report)).json()
        try:
            report.write_text(page(found, picture), encoding="utf-8")
        except OSError as error:
            raise QgsProcessingException(f"{report}: {error.strerror}") from None
        one, many = found["one_to_one"], found["many_to_one"]
        return {
            "REPORT": str(report),
            "HTML": str(report),
            "ACCURACY": one["accuracy"],
            "MEAN_IOU": one["mean_iou"],
            "MANY_ACCURACY": many["accuracy"],
            "MANY_MEAN_IOU": many["mean_iou"],
        }


def page(found: dict[str, Any], picture: Path) -> str:
    """Return the report as a page that loads nothing.

    Args:
        found: What `geoseg evaluate --json` printed.
        picture: The confusion matrix, a PNG.
    """
    names = {entry["id"]: entry["name"] for entry in found["classes"]}
    rows = [["", *MATCHED.values()]]
    rows += [
        [title, *(_percent(found[match][key]) for match in MATCHED)]
        for title, key in (("Accuracy", "accuracy"), ("Mean IoU", "mean_iou"))
    ]
    each = [["Class", "Cluster", "IoU", "Recall", "Precision", "Clusters", "IoU, many to one"]]
    for one, many in zip(found["one_to_one"]["classes"], found["many_to_one"]["classes"]):
        name = names[one["id"]]
        figures = (_percent(one[key]) for key in ("iou", "recall", "precision"))
        each.append([name, _ids(one["clusters"]), *figures, _ids(many["clusters"]), _percent(many["iou"])])
    image = base64.b64encode(picture.read_bytes()).decode("ascii")
    return (
        '<!doctype html><html><head><meta charset="utf-8"><title>Evaluation</title><style>'
        "body{font:15px sans-serif;margin:2em}table{border-collapse:collapse;margin:1em 0}"
        "td,th{padding:.2em .8em;border-bottom:1px solid #ccc;text-align:right}"
        "td:first-child,th:first-child{text-align:left}img{max-width:100%}</style></head><body>"
        f"<h1>{html.escape(Path(found['file']).name)}</h1><p>{found['pixels']:,} pixels scored;"
        f" {found['ignored_pixels']:,} ignored, {found['uncovered_pixels']:,} labelled but nodata in the map.</p>"
        f'{_table(rows)}{_table(each)}<img alt="Confusion matrix" src="data:image/png;base64,{image}"></body></html>'
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _ids(clusters: list[int]) -> str:
    return ", ".join(map(str, clusters)) or "–"


def _table(rows: list[list[str]]) -> str:
    head, *body = ("".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) for tag, row in _tagged(rows))
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in body)}</table>"


def _tagged(rows: list[list[str]]) -> list[tuple[str, list[str]]]:
    return [("th" if i == 0 else "td", row) for i, row in enumerate(rows)]
