"""geoseg export: a model as files that other programs read."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import TYPE_CHECKING

from geoseg.config import ExportConfig
from geoseg.errors import OutputError
from geoseg.files.atomic import Staging, publish_bytes, remove_leftovers
from geoseg.files.targets import check_target
from geoseg.jobs.job import Job
from geoseg.jobs.results import ExportResult
from geoseg.model.file import load_model
from geoseg.outputs.mlm import Artifact, mlm_item

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_SUFFIXES = {"onnx": ".onnx", "mlm": ".json"}


class ExportJob(Job[str]):
    """The export of one model. A context manager.

    Args:
        config: The settings.

    Raises:
        InputMissingError, InputError: The model is missing or damaged.
        OutputError: An output cannot or must not be written.
    """

    stage = "export"
    unit = "file"

    def __init__(self, config: ExportConfig) -> None:
        self.config, self.total = config, len(config.outputs)
        self._check_outputs()
        self.model = load_model(config.model)
        for loss in self._losses():
            log.warning("%s: %s", config.onnx, loss)

    def close(self) -> None:
        """Close nothing: the model is in memory."""

    def run(self, command: str = "") -> Generator[str]:
        """Make the files, yield the path of each, then publish them together.

        Raises:
            UnavailableError: Package onnx is not installed.
            InputError: The network cannot be written as ONNX.
            WriteError: The file system failed; old files are intact.
        """
        config, main = self.config, self.config.outputs[0]
        remove_leftovers(main.parent, main.stem)
        with Staging(main) as staging:
            artifact = Artifact(config.model, "safetensors", str(self.model.sha256))
            if config.onnx is not None:
                # torch is not asked for it before the outputs are known to be possible.
                from geoseg.model.onnx import exported

                data = exported(self.model, config.tile_size)
                publish_bytes(staging.path(config.onnx), data)
                artifact = Artifact.of_onnx(config.onnx, data, config.tile_size)
                yield str(config.onnx)
            if config.mlm is not None:
                item = mlm_item(config.mlm, self.model, artifact, config.model)
                publish_bytes(staging.path(config.mlm), item)
                yield str(config.mlm)
            # Another process may have written them since.
            self._check_outputs()
            staging.commit(())

    def describe(self, receipt: str) -> str:
        """Return what was made."""
        return receipt

    def closing(self) -> str:
        """Return what the ONNX file is, and what a user of Deepness has to know of one without a size."""
        config = self.config
        if config.onnx is None:
            return ""
        size = "" if config.tile_size else (
            f"; it takes images of any size, where Deepness needs one: --tile-size {self.model.windows.tile_size}"
        )  # fmt: skip
        return f"{config.onnx}: the network alone, pixel by pixel, without superpixels{size}"

    @property
    def result(self) -> ExportResult:
        """The files, once `run` is exhausted."""
        return ExportResult(self.config.onnx, self.config.mlm, self.model.classes.classes)

    def _losses(self) -> Generator[str]:
        """Yield what of the model the ONNX file cannot have."""
        if self.config.onnx is None:
            return
        if self.model.teaching is not None:
            yield (
                "the classes that the model was taught are told by its network alone there, without colour and "
                "texture of superpixels; geoseg predict tells them better"
            )
        added = self.model.bands[len(self.model.file_bands) :]
        if added:
            yield (
                f"it takes {', '.join(added)} as further bands behind those of the imagery, which other programs do "
                "not add themselves; use it on rasters that have them"
            )
        if self.model.scaling is not None and self.model.scaling.declared:
            yield (
                "its scenes declare scale and offset of their values, which other programs do not convert; use it on "
                "imagery that declares the same"
            )

    def _check_outputs(self) -> None:
        config = self.config
        for name, suffix in _SUFFIXES.items():
            path: Path | None = getattr(config, name)
            if path is None:
                continue
            check_target(path, config.overwrite, (config.model,))
            if path.suffix.lower() != suffix:
                raise OutputError(f"{path}: is not named as such a file; name it {path.with_suffix(suffix).name}")
