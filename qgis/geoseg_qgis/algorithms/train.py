"""Train a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from .base import MODELS, GeosegAlgorithm

RECIPES = ["orthophoto", "quick"]


class Train(GeosegAlgorithm):
    """`geoseg train`."""

    NAME, TITLE, TAGS = "train", "Train a model", "learn classes clustering InMARS"
    HELP = (
        "<p>Learns land-cover classes from imagery, without any labels: from a folder of images or from one layer. The"
        " model then maps any number of scenes (<i>Map a scene</i>).</p><p>The classes have no names yet; give them"
        " names in the dock <i>geoseg: name classes</i> once you have seen a map.</p><p>A training that was cancelled"
        " is continued when it is run again with the same model file.</p>"
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        folder = QgsProcessingParameterFile.Folder
        integer, double = QgsProcessingParameterNumber.Integer, QgsProcessingParameterNumber.Double
        self.add(
            QgsProcessingParameterFile("DATA", "Folder of images", behavior=folder, optional=True),
            "GeoTIFF, JPEG, PNG or JPEG 2000, searched with its subfolders; or choose one image below",
        )
        self.add(QgsProcessingParameterRasterLayer("SCENE", "Or one image", optional=True))
        self.add(
            QgsProcessingParameterEnum("RECIPE", "Recipe", RECIPES, False, RECIPES[0], usesStaticStrings=True),
            "orthophoto: 24 classes, 600 steps; quick: 8 classes, 300 steps",
        )
        self.add(
            QgsProcessingParameterNumber("CLASSES", "Classes", integer, None, True, 2, 255),
            "Up to 12 are meant as land-cover classes; more divide these further. Empty: the recipe's",
        )
        self.advanced(QgsProcessingParameterNumber("MINUTES", "Time limit in minutes", double, None, True, 0))
        self.advanced(QgsProcessingParameterNumber("STEPS", "Steps", integer, None, True, 1))
        self.advanced(
            QgsProcessingParameterNumber("SUPERPIXEL_SIZE", "Side of a superpixel in pixels", integer, None, True, 4)
        )
        self.add_bands()
        self.advanced(QgsProcessingParameterNumber("SEED", "Seed of random choices", integer, 0, False, 0))
        self.advanced(QgsProcessingParameterString("DEVICE", "Device", "auto"), "auto, cpu, cuda, cuda:1 or mps")
        self.advanced(
            QgsProcessingParameterBoolean("CONTINUE", "Continue a training of this model that was cancelled", True),
            "Off: it is discarded, and the training starts over",
        )
        self.add_extra()
        self.add(QgsProcessingParameterFileDestination("MODEL", "Model", MODELS))
        self.addOutput(QgsProcessingOutputFile("PICTURE", "Picture of the classes"))

    def checkParameterValues(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """Return whether there is imagery, from one source."""
        if self.given(parameters, "DATA") == self.given(parameters, "SCENE"):
            return False, "Choose either a folder of images or one image"
        return super().checkParameterValues(parameters, context)

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Train, and return the model and its picture."""
        if self.given(parameters, "SCENE"):
            data = self.raster(parameters, "SCENE", context)
        else:
            data = self.path(parameters, "DATA", context)
        out = Path(str(self.output(parameters, "MODEL", context, layer=False)))
        if out.suffix != ".safetensors":  # a temporary output has the suffix "file"
            out = out.with_name(f"{out.name}.safetensors")
        arguments = ["train", "--data", data, "--out", str(out)]
        arguments += ["--recipe", self.parameterAsEnumString(parameters, "RECIPE", context)]
        arguments += self.text_options(
            parameters,
            context,
            CLASSES="--classes",
            MINUTES="--minutes",
            STEPS="--steps",
            SUPERPIXEL_SIZE="--superpixel-size",
            BANDS="--bands",
            SEED="--seed",
            DEVICE="--device",
        )
        started = out.with_name(f"{out.name}.training").is_dir()
        wanted = self.parameterAsBool(parameters, "CONTINUE", context)
        arguments += ["--resume"] if started and wanted else ["--overwrite"]
        self.run_geoseg([*arguments, *self.extra(parameters, context)], feedback, str(out))
        return {"MODEL": str(out), "PICTURE": str(out.with_suffix(".png"))}
