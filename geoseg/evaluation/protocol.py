"""Evaluation by the protocol of a data set: all of its labelled images are predicted whole, many at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from geoseg.config import EvaluateConfig
from geoseg.datasets import open_dataset
from geoseg.datasets.dataset import Dataset
from geoseg.errors import BandError, SettingError
from geoseg.evaluation.confusion import Confusion
from geoseg.evaluation.label_map import LabelMap
from geoseg.evaluation.report import Counted, Report
from geoseg.evaluation.sources import ModelSource
from geoseg.files.stamps import Stamps
from geoseg.model.file import Model
from geoseg.prediction.experts import Described
from geoseg.prediction.fit import fit_values
from geoseg.prediction.stages import Stages
from geoseg.raster.matching import Curve
from geoseg.raster.scaling import Conversion, Scaling
from geoseg.recipes import ProtocolName
from geoseg.segments.regions import paint

log = logging.getLogger(__name__)

_SAMPLED = 16
"""Images whose values are compared with those that the model learnt from."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction of one image, with its labels, which had no part in it.

    Attributes:
        index: Index of the image in the data set.
        predicted: Cluster ids in 1..K, int64 (rows, cols), 0 for nodata.
        truth: Class indices or IGNORED, int16 (rows, cols).
    """

    index: int
    predicted: NDArray[np.int64]
    truth: NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class _Image:
    """An image as the network takes it, its superpixels and what the experts know of them, and its labels."""

    index: int
    normal: NDArray[np.float32]
    superpixels: NDArray[np.int32]
    described: Described | None
    truth: NDArray[np.int16]


class ProtocolEvaluation:
    """An evaluation of a model by a protocol that is ready to run: nothing is predicted yet.

    Every pixel of every labelled image is predicted as `predict` would predict a scene of that size, unsmoothed unless
    the settings ask for it. A context manager: the data set may hold files open.

    Args:
        config: The settings, without `labels`.
        batch_size: Images per forward pass; it changes speed and memory, not results.

    Attributes:
        dataset: The images and labels.
        band_order: For each band of the model, the index of the band of the data that it takes.
        unit: What a step of `run` is.
        total: The number of steps.

    Raises:
        InputMissingError, InputError: There is no model, or data is missing or inconsistent.
        BandError: The model has another number of bands than the data.
        SettingError, UnavailableError: No protocol is given and the model was trained by none; the device is not
            available.
    """

    unit = "image"

    def __init__(self, config: EvaluateConfig, batch_size: int = 32) -> None:
        assert config.data is not None, "a model needs data"
        self._batch_size = batch_size
        self._source = ModelSource(config)
        model = self._source.model
        protocol = config.protocol or _protocol_of(model, config)
        self._facts = {"file": str(config.file), **self._source.facts(), "protocol": protocol}
        self.dataset = open_dataset(config.data, protocol)
        try:
            self.band_order = _band_order(model, self.dataset, config)
            dtype, device, precision = self.dataset.sources[0].dtype, self._source.device, self._source.precision
            conversion = self._conversion(model, config, protocol)
            self._stages = Stages(model, dtype, device, precision, conversion, config.rounds)
        except BaseException:
            self.dataset.close()
            raise
        self.total = len(self.dataset.labelled)
        self._stamps = Stamps.of(self.dataset.files)

    def __enter__(self) -> ProtocolEvaluation:
        return self

    def __exit__(self, *_: object) -> None:
        self.dataset.close()

    def run(self) -> Generator[Counted, None, Report]:
        """Predict and count the labelled images, yield each image, and return the report.

        Raises:
            InputMissingError, InputError: An image or its labels are missing or damaged, or have changed meanwhile.
        """
        names = self.dataset.class_names
        confusion = Confusion(len(self._source.names), len(names))
        for image in self.predict():
            confusion.add(image.predicted, image.truth)
            yield Counted(self.dataset.sources[image.index].path, image.predicted.size)
        self._stamps.check(self.dataset.name, "run the same command again when its files are complete")
        indices = tuple(range(len(names)))
        label_map = LabelMap(indices, names, {index: index for index in indices})
        return Report.from_confusion({**self._facts, "images": self.total}, self._source.names, label_map, confusion)

    def predict(self) -> Iterator[Prediction]:
        """Yield the prediction of each labelled image, in the order of the data set."""
        for images in self._batches():
            shape = images[0].superpixels.shape
            logits = self._stages.forward(np.stack([image.normal for image in images]), (shape[0], shape[1]))
            for image, field in zip(images, logits, strict=True):
                count = int(image.superpixels.max())
                ids, _ = self._stages.classify(field, image.superpixels, count, image.described)
                yield Prediction(image.index, paint(ids, image.superpixels), image.truth)

    def _conversion(self, model: Model, config: EvaluateConfig, protocol: str) -> Conversion | Curve | None:
        """Tell how the images differ from what the model learnt from, by some of them; return what to do about it."""
        if protocol == model.provenance["recipe"]["name"] and not config.rescale:
            return None
        labelled, name = self.dataset.labelled, config.data
        assert name is not None, "a model needs data"
        indices = [labelled[i * len(labelled) // _SAMPLED] for i in range(_SAMPLED)] if labelled else []
        images = [self.dataset.image(index) for index in sorted(set(indices))]
        values = np.concatenate([pixels[self.band_order][:, valid] for pixels, valid in images], axis=1)
        found = fit_values(model, name, values, Scaling.none(len(values)), config.rescale)
        for remark in found.remarks:
            log.warning("%s: %s", name, remark)
        return found.conversion

    def _batches(self) -> Iterator[list[_Image]]:
        """Yield batches of images, which have one size in any protocol; the next batch is read meanwhile."""
        labelled, size = self.dataset.labelled, self._batch_size
        chunks: list[Sequence[int]] = [labelled[i : i + size] for i in range(0, len(labelled), size)]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            upcoming: list[Future[_Image]] = []
            for chunk in [*chunks, ()]:
                current, upcoming = upcoming, [pool.submit(self._read, index) for index in chunk]
                if current:
                    yield [image.result() for image in current]

    def _read(self, index: int) -> _Image:
        pixels, valid = self.dataset.image(index)
        pixels = pixels[self.band_order]
        superpixels = self._stages.cut(pixels, valid).labels
        described = self._stages.describe(pixels, superpixels, int(superpixels.max()), valid=valid)
        return _Image(index, self._stages.normalise(pixels, valid), superpixels, described, self.dataset.labels(index))


def _protocol_of(model: Model, config: EvaluateConfig) -> ProtocolName:
    """The protocol that the model was trained by."""
    recipe: Any = model.provenance["recipe"]["name"]
    for name in get_args(ProtocolName):
        if name == recipe:
            found: ProtocolName = name
            return found
    raise SettingError(
        f"{config.file}: was trained by recipe {recipe}, which has no labels; give label rasters with --labels, or the "
        f"protocol of {config.data} with --protocol"
    )


def _band_order(model: Model, dataset: Dataset, config: EvaluateConfig) -> list[int]:
    """Bands are taken by name if model and data have the same names, by position otherwise."""
    expected, found = model.bands, dataset.bands
    if len(expected) != len(found):
        raise BandError(
            f"{config.file}: takes {len(expected)} bands ({', '.join(expected)}); {dataset.name} has {len(found)} "
            f"({', '.join(found)}): give a model that was trained on these"
        )
    return [found.index(name) for name in expected] if sorted(expected) == sorted(found) else list(range(len(found)))
