"""Baselines without a network: clusters of pixels by colour, and of superpixels by colour and contrast."""

from __future__ import annotations

import numpy as np
import torch
from data import Data, Image512
from numpy.typing import NDArray
from score import Mapper
from sklearn.cluster import KMeans

from geoseg.learning.mixture import fit_mixture, region_descriptors
from geoseg.recipes import Start

_SAMPLED_PIXELS = 200_000


def pixels(data: Data, clusters: int, seed: int) -> Mapper:
    """k-means on the RGB of pixels."""
    random = np.random.default_rng(seed)
    share = _SAMPLED_PIXELS / sum(image.regions.size for image in data.images)
    drawn = [image.pixels.reshape(3, -1).T for image in data.images]
    samples = np.concatenate([each[random.random(len(each)) < share] for each in drawn]).astype(np.float32)
    model = KMeans(clusters, n_init=1, random_state=seed).fit(samples)

    def mapper(image: Image512) -> NDArray[np.int64]:
        clusters = model.predict(image.pixels.reshape(3, -1).T.astype(np.float32))
        return clusters.reshape(image.regions.shape).astype(np.int64)

    return mapper


def superpixels(data: Data, clusters: int, seed: int) -> Mapper:
    """k-means on the mean bands and log contrast of superpixels, each scaled to unit variance."""
    descriptors = _region_descriptors(data, "brightness")
    samples = np.concatenate(list(descriptors.values()))
    offset, scale = samples.mean(0), samples.std(0)
    model = KMeans(clusters, n_init=1, random_state=seed).fit((samples - offset) / scale)

    def mapper(image: Image512) -> NDArray[np.int64]:
        clusters = model.predict((descriptors[image.path.stem] - offset) / scale)
        return _pixelwise(image, clusters)

    return mapper


def mixture(data: Data, clusters: int, seed: int, start: Start) -> Mapper:
    """The mixture that training starts from, without the network."""
    descriptors = _region_descriptors(data, start)
    fitted = fit_mixture(np.concatenate(list(descriptors.values())), clusters, seed, start)

    def mapper(image: Image512) -> NDArray[np.int64]:
        return _pixelwise(image, fitted.posterior(torch.from_numpy(descriptors[image.path.stem])).argmax(-1).numpy())

    return mapper


def _region_descriptors(data: Data, start: Start) -> dict[str, NDArray[np.float32]]:
    return {
        image.path.stem: region_descriptors(
            data.stats.scale(image.pixels), image.regions, int(image.regions.max()), start
        )
        for image in data.images
    }


def _pixelwise(image: Image512, clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], clusters])[image.regions].astype(np.int64)
