"""A model scored by the protocol of a data set: its labelled images whole, their clusters matched once for all."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.config import EvaluateConfig
from geoseg.datasets import Dataset, open_dataset
from geoseg.errors import BandError, SettingError
from geoseg.evaluation.label_map import LabelMap
from geoseg.evaluation.report import Report
from geoseg.evaluation.scores import Confusion
from geoseg.evaluation.sources import ModelSource
from geoseg.jobs.evaluate import Counted, check_picture
from geoseg.model.file import Model
from geoseg.model.inference import ready
from geoseg.prediction.predictor import colour_type, pad
from geoseg.raster.statistics import colour_scale
from geoseg.recipes import STRIDE, ProtocolName
from geoseg.segments.regions import classify, paint, region_means
from geoseg.segments.superpixels import colour, segment

_BATCH = 32


@dataclass(frozen=True, eq=False)
class _Image:
    """An image of a data set as the network takes it, its superpixels, and its labels, which nothing else looks at."""

    index: int
    normal: NDArray[np.float32]
    superpixels: NDArray[np.int32]
    truth: NDArray[np.int16]


class ProtocolScoring:
    """An evaluation of a model by a protocol that is ready to run: nothing is predicted yet.

    Every pixel of every labelled image is predicted as `predict` would predict an image of that size. A context
    manager: it may hold files open. blocks: images to come.

    Raises:
        InputMissingError, InputError: no model, or data that is not there or does not fit together.
        BandError: the model has another number of bands.
        OutputError: a picture that cannot or must not be written.
        SettingError, UnavailableError: a model that was trained by no protocol, where none is chosen; no such device.
    """

    unit = "image"

    def __init__(self, config: EvaluateConfig) -> None:
        self._source = ModelSource(config)
        self._model = self._source.model
        protocol = config.protocol or _protocol(config, self._model)
        check_picture(config)
        assert config.data is not None, "a model has data"
        self.dataset = open_dataset(config.data, protocol)
        try:
            check_picture(config, *self.dataset.files)
            self._order = _band_order(config, self._model, self.dataset)
        except BaseException:
            self.dataset.close()
            raise
        self._facts = {"file": str(config.file), **self._source.facts(), "protocol": protocol}
        dtype = self.dataset.sources[0].dtype
        self._colours = colour_scale(self._model.stats, colour_type(self._model, dtype))
        self.blocks = len(self.dataset.labelled)

    def __enter__(self) -> ProtocolScoring:
        return self

    def __exit__(self, *_: object) -> None:
        self.dataset.close()

    def run(self) -> Generator[Counted, None, Report]:
        """Predict the labelled images, yield each, and return the report.

        Raises:
            InputMissingError, InputError: an image or its labels are gone or damaged.
        """
        names = self.dataset.class_names
        confusion = Confusion(len(self._source.names), len(names))
        for image, predicted in self._predicted():
            confusion.add(predicted, image.truth)
            yield Counted(self.dataset.sources[image.index].path, predicted.size)
        classes = tuple(range(len(names)))
        label_map = LabelMap(classes, names, {place: place for place in classes})
        return Report.of({**self._facts, "images": self.blocks}, self._source.names, label_map, confusion)

    def _predicted(self) -> Iterator[tuple[_Image, NDArray[np.int64]]]:
        """Yield the labelled images in order, each with the cluster ids of its pixels, 0 where it has none."""
        network = ready(self._model.network, self._source.device, self._source.precision)
        for images in self._batches():
            stack = torch.from_numpy(np.stack([image.normal for image in images]))
            with torch.inference_mode():
                stack = stack.to(self._source.device, self._source.precision)
                logits = network(stack.contiguous(memory_format=torch.channels_last))
            fields: NDArray[np.float32] = logits.permute(0, 2, 3, 1).float().cpu().numpy()
            for image, field in zip(images, fields, strict=True):
                count = int(image.superpixels.max())
                means = region_means(np.ascontiguousarray(field), image.superpixels, count, STRIDE, (0, 0))
                ids, _ = classify(means)
                ids[0] = 0
                yield image, paint(ids, image.superpixels)

    def _batches(self) -> Iterator[list[_Image]]:
        """Read images, those to come while the network has the others; one protocol's are of one size."""
        todo = self.dataset.labelled
        chunks: list[Sequence[int]] = [todo[i : i + _BATCH] for i in range(0, len(todo), _BATCH)]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            upcoming: list[Future[_Image]] = []
            for chunk in [*chunks, ()]:
                current, upcoming = upcoming, [pool.submit(self._read, index) for index in chunk]
                if current:
                    yield [image.result() for image in current]

    def _read(self, index: int) -> _Image:
        pixels, valid = self.dataset.image(index)
        pixels = pixels[self._order]
        offset, scale = self._colours
        features = colour(pixels, valid, offset=offset, scale=scale)
        superpixels = segment(features, valid, **vars(self._model.superpixels)).labels
        normal = pad(self._model.stats.normalise(pixels, valid))
        return _Image(index, normal, superpixels, self.dataset.labels(index))


def _protocol(config: EvaluateConfig, model: Model) -> ProtocolName:
    """The protocol that the model was trained by."""
    recipe: Any = model.provenance["recipe"]["name"]
    for name in get_args(ProtocolName):
        if name == recipe:
            found: ProtocolName = name
            return found
    raise SettingError(
        f"{config.file}: was trained by recipe {recipe}, which has no labels; name them with --labels, or with "
        f"--protocol what {config.data} is"
    )


def _band_order(config: EvaluateConfig, model: Model, dataset: Dataset) -> list[int]:
    """The places of the model's bands among those of the data: by their names, if those are the same."""
    expected, found = model.bands, dataset.bands
    if len(expected) != len(found):
        raise BandError(
            f"{config.file}: takes {len(expected)} bands ({', '.join(expected)}); {dataset.name} has {len(found)} "
            f"({', '.join(found)})"
        )
    return [found.index(name) for name in expected] if sorted(expected) == sorted(found) else list(range(len(found)))
