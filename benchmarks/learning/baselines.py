"""Baselines without a network: k-means on pixels by colour, and on superpixels by brightness and contrast."""

from __future__ import annotations

import time

import numpy as np
from data import Data, Image512
from numpy.typing import NDArray
from score import Map, Mapper
from sklearn.cluster import KMeans

from geoseg.segments.descriptors import region_descriptors

_SAMPLED_PIXELS = 200_000


def pixels(data: Data, clusters: int, seed: int) -> Mapper:
    """k-means on the RGB of pixels."""
    random = np.random.default_rng(seed)
    share = _SAMPLED_PIXELS / sum(image.regions.size for image in data.images)
    drawn = [image.pixels.reshape(3, -1).T for image in data.images]
    samples = np.concatenate([each[random.random(len(each)) < share] for each in drawn]).astype(np.float32)
    model = KMeans(clusters, n_init=1, random_state=seed).fit(samples)

    def mapper(image: Image512) -> Map:
        began = time.process_time()
        found = model.predict(image.pixels.reshape(3, -1).T.astype(np.float32))
        seconds = time.process_time() - began
        return Map(np.arange(clusters), found.reshape(image.regions.shape).astype(np.int32), seconds, {})

    return mapper


def superpixels(data: Data, clusters: int, seed: int) -> Mapper:
    """k-means on the mean bands and log contrast of superpixels, each scaled to unit variance."""
    samples = np.concatenate([_descriptors(data, image) for image in data.images])
    offset, scale = samples.mean(0), samples.std(0)
    model = KMeans(clusters, n_init=1, random_state=seed).fit((samples - offset) / scale)

    def mapper(image: Image512) -> Map:
        began = time.process_time()
        found = model.predict((_descriptors(data, image) - offset) / scale)
        seconds = time.process_time() - began
        return Map(np.concatenate([[0], found]).astype(np.int64), image.regions, seconds, {})

    return mapper


def _descriptors(data: Data, image: Image512) -> NDArray[np.float32]:
    low, high = data.stats.low, data.stats.high
    return region_descriptors(image.pixels, image.regions, image.count, low, high, "brightness")
