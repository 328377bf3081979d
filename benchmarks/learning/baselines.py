"""What is had without a network: clusters of pixels' colours, and of superpixels' colour and contrast."""

from __future__ import annotations

import numpy as np
import torch
from data import Data, Image512
from numpy.typing import NDArray
from score import Mapper
from sklearn.cluster import KMeans

from geoseg.learning.mixture import fit_mixture, region_features
from geoseg.recipes import Start

_PIXELS = 200_000


def pixels(data: Data, clusters: int, seed: int) -> Mapper:
    """k-means on the RGB of pixels."""
    random = np.random.default_rng(seed)
    share = _PIXELS / sum(image.regions.size for image in data.images)
    drawn = [image.pixels.reshape(3, -1).T for image in data.images]
    samples = np.concatenate([each[random.random(len(each)) < share] for each in drawn]).astype(np.float32)
    model = KMeans(clusters, n_init=1, random_state=seed).fit(samples)

    def mapper(image: Image512) -> NDArray[np.int64]:
        found = model.predict(image.pixels.reshape(3, -1).T.astype(np.float32))
        return found.reshape(image.regions.shape).astype(np.int64)

    return mapper


def superpixels(data: Data, clusters: int, seed: int) -> Mapper:
    """k-means on the mean bands and the log contrast of superpixels, each brought to a variance of 1."""
    features = _features(data, "brightness")
    samples = np.concatenate(list(features.values()))
    offset, scale = samples.mean(0), samples.std(0)
    model = KMeans(clusters, n_init=1, random_state=seed).fit((samples - offset) / scale)

    def mapper(image: Image512) -> NDArray[np.int64]:
        found = model.predict((features[image.path.stem] - offset) / scale)
        return _painted(image, found)

    return mapper


def mixture(data: Data, clusters: int, seed: int, start: Start) -> Mapper:
    """The mixture that training starts from, by itself."""
    features = _features(data, start)
    fitted = fit_mixture(np.concatenate(list(features.values())), clusters, seed, start)

    def mapper(image: Image512) -> NDArray[np.int64]:
        return _painted(image, fitted.posterior(torch.from_numpy(features[image.path.stem])).argmax(-1).numpy())

    return mapper


def _features(data: Data, start: Start) -> dict[str, NDArray[np.float32]]:
    return {
        image.path.stem: region_features(data.stats.scale(image.pixels), image.regions, int(image.regions.max()), start)
        for image in data.images
    }


def _painted(image: Image512, found: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], found])[image.regions].astype(np.int64)
