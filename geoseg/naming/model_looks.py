"""What the clusters of a model file look like, read without the library that runs networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.model.appearance import Appearance
from geoseg.model.card_file import read_mixture, read_votes

_BRIGHTNESS_OFFSET, _CONTRAST_OFFSET = 0.15, 0.02
"""As in `geoseg.segments.descriptors`."""


def model_appearance(path: Path, card: Mapping[str, Any]) -> Appearance | None:
    """Return the appearance of what a model's classes are made of; None for a model that tells nothing of it.

    It is what training has seen of its clusters, or for an older model what the centres of its mixture stand for. In a
    taught model, the classes that it was taught share the clusters as these vote.

    Args:
        path: The model file.
        card: Its card.

    Raises:
        InputError: The file is damaged.
    """
    clusters, votes = _of_clusters(path, card), read_votes(path, card)
    return clusters if clusters is None or votes is None else clusters.mixed(votes.T)


def _of_clusters(path: Path, card: Mapping[str, Any]) -> Appearance | None:
    if "appearance" in card:
        return Appearance.from_json(card["appearance"])
    mixture = read_mixture(path, card)
    if mixture is None:
        return None
    bands = card["network"]["bands"]
    centres = mixture["means"] @ np.linalg.pinv(mixture["axes"]) + mixture["offset"]
    # The first view is a superpixel's own: its tone in each band, then its log contrast.
    tones, contrast = centres[:, :bands], np.exp(centres[:, bands]) - _CONTRAST_OFFSET
    if card["experts"]["start"] != "brightness":
        tones = np.exp(tones) - _BRIGHTNESS_OFFSET
    low, high = (np.array(card["statistics"][end]) for end in ("low", "high"))
    means, unknown = low + tones * (high - low), np.full(len(tones), np.nan)
    return Appearance(mixture["shares"] / mixture["shares"].sum(), means, np.maximum(contrast, 0), unknown)
