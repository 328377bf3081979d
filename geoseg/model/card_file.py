"""Reading the card of a model file, and the mixture in it, without the library that runs networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from geoseg.errors import InputError, first_line
from geoseg.model.card import ALTERED, check_card, parse_card
from geoseg.raster.guards import regular_file

FORMAT = "geoseg-model/1"

EXPERTS = "experts."
"""What the names of the experts' tensors begin with; the others are the network's."""

TEACHING = "teaching."
"""What the names of the tensors of the teaching begin with."""

_MIXTURE = ("offset", "axes", "shares", "means", "roots", "deviation")


def read_card(path: Path) -> dict[str, Any]:
    """Return the card of a model file without reading its weights.

    Raises:
        InputMissingError, InputError: As for `load_model`.
    """
    file = regular_file(path)
    try:
        with safetensors.safe_open(str(file), framework="np") as tensors:
            metadata = tensors.metadata() or {}
        card = parse_card(metadata["geoseg"])
    except KeyError:
        raise InputError(
            f"{path}: is a safetensors file without a geoseg card; models are written by geoseg train"
        ) from None
    except (safetensors.SafetensorError, ValueError, RecursionError, OSError) as error:
        raise InputError(
            f"{path}: is not a geoseg model ({first_line(error)}); models are written by geoseg train"
        ) from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        found = card.get("format") if isinstance(card, dict) else None
        raise InputError(f"{path}: has model format {found!r}; this geoseg reads {FORMAT!r}")
    try:
        check_card(card)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return card


def read_mixture(path: Path, card: Mapping[str, Any]) -> dict[str, NDArray[np.float64]] | None:
    """Return the tensors of a model's mixture by name (`geoseg.model.mixture.Mixture`); None for a model without one.

    Args:
        path: The model file.
        card: Its card.

    Raises:
        InputError: They are missing, or not those of a mixture of as many classes.
    """
    if "experts" not in card:
        return None
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            found = {name: file.get_tensor(EXPERTS + name) for name in _MIXTURE}
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise InputError(f"{path}: its mixture cannot be read ({first_line(error)}); {ALTERED}") from error
    K, D = card["network"]["classes"], len(found["offset"])
    shapes = {
        "offset": (D,), "axes": (D, D), "shares": (K,), "means": (K, D), "roots": (K, D, D), "deviation": (D,),
    }  # fmt: skip
    if any(
        found[name].shape != shape or found[name].dtype != np.float64 or not np.isfinite(found[name]).all()
        for name, shape in shapes.items()
    ):
        raise InputError(f"{path}: its card and weights do not fit together (the mixture); {ALTERED}")
    return found


def read_votes(path: Path, card: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """Return how the clusters of a taught model vote, float64 (K, C); None for a model that was not taught.

    Args:
        path: The model file.
        card: Its card.

    Raises:
        InputError: They are missing, or not those of as many clusters and classes.
    """
    if "teaching" not in card:
        return None
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            votes: NDArray[np.float64] = file.get_tensor(f"{TEACHING}votes")
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise InputError(f"{path}: what it was taught cannot be read ({first_line(error)}); {ALTERED}") from error
    if votes.shape != (card["network"]["classes"], len(card["teaching"]["names"])) or votes.dtype != np.float64:
        raise InputError(f"{path}: its card and weights do not fit together (the teaching); {ALTERED}")
    return votes
