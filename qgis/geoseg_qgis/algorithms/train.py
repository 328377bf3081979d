"""Train a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsProcessingContext, QgsProcessingFeedback, QgsProcessingOutputFile

from .base import MODELS, GeosegAlgorithm
from .loading import is_temporary


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
        self.add_file(
            "DATA",
            "Folder of images",
            "GeoTIFF, JPEG, PNG or JPEG 2000, searched with its subfolders; or choose one image below",
        )
        self.add_raster("SCENE", "Or one image", optional=True)
        recipes = "orthophoto: 24 classes, 600 steps; quick: 8 classes, 300 steps"
        self.add_choice("RECIPE", "Recipe", recipes, ["orthophoto", "quick"])
        classes = "Up to 12 are meant as land-cover classes; more divide these further. Empty: the recipe's"
        self.add_number("CLASSES", "Classes", classes, low=2, high=255, advanced=False)
        self.add_number("MINUTES", "Time limit in minutes", low=0, whole=False)
        self.add_number("STEPS", "Steps", "Empty: the recipe's", low=1)
        self.add_number("SUPERPIXEL_SIZE", "Side of a superpixel in pixels", "Empty: the recipe's", low=2)
        self.add_number("SEED", "Seed of random choices", "Empty: 0", low=0)
        title = "Continue a training of this model that was cancelled"
        self.add_switch("CONTINUE", title, "Off: it is discarded, and the training starts over", on=True)
        self.add_common(device=True)
        self.add_file_output("MODEL", "Model", MODELS)
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
        started = any(out.with_suffix(".training").glob("step-*.json"))
        wanted = self.parameterAsBool(parameters, "CONTINUE", context)
        arguments += ["--resume"] if started and wanted else ["--overwrite"]
        self.run_geoseg([*arguments, *self.further_options(parameters, context)], feedback, str(out))
        if is_temporary(str(out)):
            feedback.pushWarning(f"The model is a temporary file: copy it before you close QGIS: {out}")
        return {"MODEL": str(out), "PICTURE": str(out.with_suffix(".png"))}
