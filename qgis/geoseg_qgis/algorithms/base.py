"""What the algorithms share: parameters, the run of a command, and layers that are loaded with their style."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsProviderRegistry,
)
from qgis.PyQt.QtCore import QVariant
from qgis.PyQt.QtGui import QIcon

from .. import settings
from ..runner import GeosegError, Progress, Result
from .loading import is_temporary, styler

ICON = str(Path(__file__).parents[1] / "icon.svg")
DOCUMENTATION = "https://github.com/geoseg/geoseg/blob/main/docs/qgis.md"
MODELS = "geoseg models (*.safetensors)"
TABLES = "CSV files (*.csv)"
TRAINING_SHARE = 0.8
"""Share of the progress bar that a training takes where a map follows it."""

_LOWEST, _HIGHEST = -sys.float_info.max, sys.float_info.max  # what QGIS takes for no limit
_CHECKED: set[tuple[str, ...]] = set()
"""Programs whose version was found to do, in this session."""


class GeosegAlgorithm(QgsProcessingAlgorithm):
    """An algorithm that runs one command of geoseg.

    Attributes:
        NAME: Its id, and the name of the command.
        TITLE: What users read.
        HELP: One paragraph of HTML.
        TAGS: Further words by which it is found.
    """

    NAME = TITLE = HELP = ""
    TAGS = ""

    def createInstance(self) -> GeosegAlgorithm:
        """Return a new instance, as QGIS asks for."""
        return type(self)()

    def name(self) -> str:
        """Return the id."""
        return self.NAME

    def displayName(self) -> str:
        """Return the title."""
        return self.TITLE

    def shortHelpString(self) -> str:
        """Return the help beside the dialog."""
        return self.HELP

    def helpUrl(self) -> str:
        """Return where the documentation is."""
        return DOCUMENTATION

    def tags(self) -> list[str]:
        """Return words by which it is found."""
        return ["geoseg", "segmentation", "land cover", "unsupervised", *self.TAGS.split()]

    def icon(self) -> QIcon:
        """Return the icon."""
        return QIcon(ICON)

    def canExecute(self) -> tuple[bool, str]:
        """Return whether there is a geoseg, and otherwise how to get one."""
        try:
            settings.geoseg()
        except GeosegError as error:
            return False, str(error)
        return True, ""

    def add(self, parameter: QgsProcessingParameterDefinition, help_text: str = "", advanced: bool = False) -> None:
        """Add a parameter with its tooltip, among the advanced ones or before them."""
        parameter.setHelp(help_text)
        if advanced:
            parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.FlagAdvanced)
        self.addParameter(parameter)

    def add_raster(self, name: str, title: str, help_text: str = "", optional: bool = False) -> None:
        """Add a raster layer to read."""
        self.add(QgsProcessingParameterRasterLayer(name, title, optional=optional), help_text)

    def add_file(self, name: str, title: str, help_text: str = "", kinds: str = "") -> None:
        """Add a file, of these kinds, or a folder, which may be left out."""
        behaviour = QgsProcessingParameterFile.File if kinds else QgsProcessingParameterFile.Folder
        parameter = QgsProcessingParameterFile(name, title, behaviour, optional=True)
        if kinds:
            parameter.setFileFilter(kinds)
        self.add(parameter, help_text)

    def add_number(
        self,
        name: str,
        title: str,
        help_text: str = "",
        default: float | None = None,
        low: float = _LOWEST,
        high: float = _HIGHEST,
        whole: bool = True,
        advanced: bool = True,
    ) -> None:
        """Add a number; without a default it may be left out."""
        kind = QgsProcessingParameterNumber.Integer if whole else QgsProcessingParameterNumber.Double
        number = QgsProcessingParameterNumber(name, title, kind, default, default is None, low, high)
        self.add(number, help_text, advanced)

    def add_text(self, name: str, title: str, help_text: str = "", advanced: bool = False) -> None:
        """Add a text that may be left out."""
        self.add(QgsProcessingParameterString(name, title, optional=True), help_text, advanced)

    def add_switch(self, name: str, title: str, help_text: str = "", on: bool = False, advanced: bool = True) -> None:
        """Add something that is on or off."""
        self.add(QgsProcessingParameterBoolean(name, title, on), help_text, advanced)

    def add_choice(self, name: str, title: str, help_text: str, options: list[str], advanced: bool = False) -> None:
        """Add one of several words, of which the first is the default."""
        choice = QgsProcessingParameterEnum(name, title, options, False, options[0], usesStaticStrings=True)
        self.add(choice, help_text, advanced)

    def add_common(self, bands: bool = True, nodata: bool = False, device: bool = False) -> None:
        """Add what several commands have alike, and what takes any other option."""
        if bands:
            text = "By number from 1 or by name, in order: 4,3,2 or red,green,blue. Default: all but alpha"
            self.add_text("BANDS", "Bands", text, advanced=True)
        if nodata:
            self.add_number("NODATA", "Value of invalid pixels", "Empty: as the file declares", whole=False)
        if device:
            self.add_text("DEVICE", "Device", "cpu, cuda, cuda:1 or mps. Empty: the best there is", advanced=True)
        text = f"Options of 'geoseg {self.NAME}' as in a terminal, such as --allow-vrt or --page 2"
        self.add_text("EXTRA", "Further options", text, advanced=True)

    def add_min_area(self, what: str) -> None:
        """Add the smallest area of a region."""
        title = "Smallest area of a region (50m2, 0.5ha, 12px)"
        self.add_text("MIN_AREA", title, f"Smaller regions are merged into a neighbour, {what}. Empty: none are")

    def add_raster_output(self, name: str, title: str, optional: bool = False) -> None:
        """Add a raster to write; an optional one only where it is asked for."""
        self.add(QgsProcessingParameterRasterDestination(name, title, None, optional, not optional))

    def add_polygons_output(self, title: str, optional: bool = False, default: bool = True) -> None:
        """Add polygons to write."""
        kind = QgsProcessing.TypeVectorPolygon
        self.add(QgsProcessingParameterVectorDestination("POLYGONS", title, kind, None, optional, default))

    def add_file_output(self, name: str, title: str, kinds: str, optional: bool = False) -> None:
        """Add a file to write; an optional one only where it is asked for."""
        self.add(QgsProcessingParameterFileDestination(name, title, kinds, None, optional, not optional))

    def given(self, parameters: dict[str, Any], name: str) -> bool:
        """Return whether the user gave a parameter a value."""
        value = parameters.get(name)
        return not (value is None or value == "" or (isinstance(value, QVariant) and value.isNull()))

    def text_options(self, parameters: dict[str, Any], context: QgsProcessingContext, **names: str) -> list[str]:
        """Return the options of text parameters and optional numbers that were given: `MIN_AREA="--min-area"`."""
        words: list[str] = []
        for name, option in names.items():
            if not self.given(parameters, name):
                continue
            definition = self.parameterDefinition(name)
            if not isinstance(definition, QgsProcessingParameterNumber):
                value = self.parameterAsString(parameters, name, context).strip()
            elif definition.dataType() == QgsProcessingParameterNumber.Integer:
                value = str(self.parameterAsInt(parameters, name, context))
            else:
                value = f"{self.parameterAsDouble(parameters, name, context):.15g}"
            if value:
                words += [option, value]
        return words

    def flags_given(self, parameters: dict[str, Any], context: QgsProcessingContext, **names: str) -> list[str]:
        """Return the options of switches that are on: `SNAP="--snap"`."""
        return [option for name, option in names.items() if self.parameterAsBool(parameters, name, context)]

    def further_options(self, parameters: dict[str, Any], context: QgsProcessingContext) -> list[str]:
        """Return the words of `EXTRA`.

        Raises:
            QgsProcessingException: A quotation mark is missing.
        """
        if not self.given(parameters, "EXTRA"):
            return []
        try:
            return shlex.split(self.parameterAsString(parameters, "EXTRA", context))
        except ValueError as error:
            raise QgsProcessingException(f"Further options: {error}") from None

    def raster(self, parameters: dict[str, Any], name: str, context: QgsProcessingContext) -> str:
        """Return the file, or the address, of a raster layer.

        Raises:
            QgsProcessingException: There is no layer, or it is no file that geoseg can open.
        """
        layer = self.parameterAsRasterLayer(parameters, name, context)
        if layer is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, name))
        provider = layer.dataProvider().name() if layer.dataProvider() is not None else "none"
        if provider != "gdal":
            raise QgsProcessingException(
                f"{layer.name()}: the layer comes from a service ({provider}), not from a file; export it to a GeoTIFF"
            )
        path = str(QgsProviderRegistry.instance().decodeUri("gdal", layer.source()).get("path") or layer.source())
        if path.startswith("/vsicurl/"):
            return path[len("/vsicurl/") :]
        return str(Path(path).absolute()) if Path(path).exists() else path  # else a name that GDAL knows

    def path(self, parameters: dict[str, Any], name: str, context: QgsProcessingContext) -> str:
        """Return the absolute path of a file or a folder."""
        return str(Path(self.parameterAsFile(parameters, name, context)).absolute())

    def output(
        self, parameters: dict[str, Any], name: str, context: QgsProcessingContext, layer: bool = True
    ) -> str | None:
        """Return the path of an output, None if not wanted; a layer is loaded with its own style and its own name."""
        if not self.given(parameters, name):
            return None
        if layer:
            path = str(self.parameterAsOutputLayer(parameters, name, context))
            if context.willLoadLayerOnCompletion(path):
                title = self.parameterDefinition(name).description()
                details = context.layerToLoadOnCompletionDetails(path)
                details.setPostProcessor(styler())
                if details.name in ("", title):  # not one that a model or a user gave
                    details.name = f"{title}: {self._subject(parameters, context, path)}"
        else:
            path = str(self.parameterAsFileOutput(parameters, name, context))
        return str(Path(path).absolute()) if path else None

    def _subject(self, parameters: dict[str, Any], context: QgsProcessingContext, path: str) -> str:
        """What tells an output from others of its kind: its file, or what a temporary one was made from."""
        if not is_temporary(path):
            return Path(path).stem
        rasters = (each for each in self.parameterDefinitions() if isinstance(each, QgsProcessingParameterRasterLayer))
        layers = (self.parameterAsRasterLayer(parameters, each.name(), context) for each in rasters)
        return next((layer.name() for layer in layers if layer is not None), "temporary")

    def run_geoseg(
        self,
        arguments: list[str],
        feedback: QgsProcessingFeedback,
        out: str,
        first: float = 0.0,
        last: float = 1.0,
    ) -> Result:
        """Run a command, and show its progress and messages.

        Args:
            arguments: The command and its options.
            feedback: Where to show it, and what says that it is to end.
            out: An output; the command works in its folder.
            first: Share of the progress bar where it begins.
            last: Share where it ends.

        Returns:
            The result of a command that has succeeded.

        Raises:
            QgsProcessingException: It failed, in geoseg's words; or it was cancelled, with what is kept.
        """
        feedback.pushCommandInfo("geoseg " + shlex.join(arguments))

        stages: list[str] = []
        said = (0, 0)

        def show(progress: Progress) -> None:
            nonlocal said
            if progress.stage not in stages:
                stages.append(progress.stage)
            share = progress.fraction
            if self.NAME != "train" and stages[0] == "train":  # a model is learnt first
                before, part = (TRAINING_SHARE, 1 - TRAINING_SHARE) if len(stages) > 1 else (0.0, TRAINING_SHARE)
                share = before + part * share
            feedback.setProgress(100 * (first + (last - first) * share))
            # Each text becomes a line of the log, so there is one for each tenth of a stage.
            due = (len(stages), int(10 * progress.fraction))
            if due != said:
                said = due
                text = f"{progress.stage}: {progress.unit} {progress.done} of {progress.total}"
                feedback.setProgressText(f"{text}, {progress.message}" if progress.message else text)

        messages = {"note": feedback.pushInfo, "warning": feedback.pushWarning}
        try:
            geoseg = settings.geoseg()
            geoseg.folder = str(Path(out).parent)
            if tuple(geoseg.program) not in _CHECKED:
                geoseg.version()
                _CHECKED.add(tuple(geoseg.program))
            result = geoseg.run(
                arguments,
                show,
                lambda kind, text: messages.get(kind, feedback.pushDebugInfo)(text),
                feedback.isCanceled,
            )
        except GeosegError as error:
            raise QgsProcessingException(str(error)) from None
        if result.cancelled:
            raise QgsProcessingException(_cancelled(result, out))
        for line in result.details:
            feedback.reportError(line)
        if not result.ok:
            raise QgsProcessingException(result.error)
        return result


def _cancelled(result: Result, out: str) -> str:
    kept = result.kept.partition("; to continue")[0] or "nothing is kept"
    if kept.startswith("nothing"):
        return f"Cancelled: {kept}. Running it again starts over."
    if is_temporary(out):
        return (
            f"Cancelled: {kept}, but with a temporary output, which cannot be continued; save it to a file of its own."
        )
    return f"Cancelled: {kept}. Running it again with the same settings continues."
