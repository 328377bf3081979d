"""The card of a model file: its checksum, and what every value in it must be before anything is built from it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from geoseg.classes import ClassMap
from geoseg.errors import InputError, first_line
from geoseg.recipes import SuperpixelConfig, WindowConfig

_CHECKSUM = "card_sha256"
_MOST_CLASSES = 65534
_MOST_BANDS = 4096
_MOST_TILE = 1 << 16
_HASH = re.compile("[0-9a-f]{64}")
_ENCODER = re.compile(r"[\w.-]{1,100}", re.ASCII)
_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")


def sealed(card: Mapping[str, Any]) -> str:
    """Return the text of the card, with its own SHA-256 in it."""
    return json.dumps({**card, _CHECKSUM: _sha256(card)}, sort_keys=True)


def parse_card(text: str) -> Any:
    """Return what the text of a card says.

    Raises:
        ValueError: it is no JSON. RecursionError: it is nested beyond reason.
    """
    return json.loads(text, parse_constant=_refuse)


def check_card(card: Mapping[str, Any]) -> None:
    """Refuse a card that is damaged, or has values no model of geoseg has.

    Cards from before they had a checksum have none, and are held against the rules alone.

    Raises:
        InputError: without the name of the file.
    """
    if _CHECKSUM in card and card[_CHECKSUM] != _sha256({k: v for k, v in card.items() if k != _CHECKSUM}):
        raise InputError("its card does not match its checksum; the file is damaged, copy it again")
    for what, check in _RULES.items():
        try:
            good = check(card)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(
                f"its card has {what} it cannot have ({type(error).__name__}: {first_line(error)})"
            ) from error
        if not good:
            raise InputError(f"its card has {what} it cannot have")


def _network(card: Mapping[str, Any]) -> bool:
    spec = card["network"]
    return (
        set(spec) <= {"encoder", "bands", "classes", "edges"}
        and _ENCODER.fullmatch(spec["encoder"]) is not None
        and _whole(spec["bands"], 1, _MOST_BANDS)
        and _whole(spec["classes"], 1, _MOST_CLASSES)
        and isinstance(spec.get("edges", False), bool)
    )


def _bands(card: Mapping[str, Any]) -> bool:
    bands = card["bands"]
    return (
        isinstance(bands, list)
        and len(bands) == card["network"]["bands"]
        and all(isinstance(name, str) and name.isprintable() for name in bands)
    )


def _statistics(card: Mapping[str, Any]) -> bool:
    stats, count = card["statistics"], card["network"]["bands"]
    columns = [stats[name] for name in ("mean", "std", "low", "high")]
    numbers = all(isinstance(column, list) and len(column) == count and all(map(_number, column)) for column in columns)
    return (
        numbers
        and all(std > 0 for std in stats["std"])
        and all(high > low for low, high in zip(stats["low"], stats["high"], strict=True))
        and _whole(stats["pixels"], 0, 1 << 62)
    )


def _superpixels(card: Mapping[str, Any]) -> bool:
    made = SuperpixelConfig(**card["superpixels"])
    return _whole(made.size) and _whole(made.iterations) and _number(made.compactness)


def _windows(card: Mapping[str, Any]) -> bool:
    made = WindowConfig(**card["windows"])
    return _whole(made.tile_size, 64, _MOST_TILE) and _whole(made.overlap)


def _classes(card: Mapping[str, Any]) -> bool:
    entries = card["classes"]
    return (
        isinstance(entries, list)
        and all(isinstance(e["name"], str) and isinstance(e["colour"], str) and _whole(e["id"]) for e in entries)
        and len(ClassMap.from_json(entries)) == card["network"]["classes"]
    )


_RULES: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "a network": _network,
    "bands": _bands,
    "a type of pixels": lambda card: card["dtype"] in _DTYPES,
    "statistics": _statistics,
    "superpixels": _superpixels,
    "windows": _windows,
    "classes": _classes,
    "a provenance": lambda card: isinstance(card["provenance"], dict),
    "a checksum of the weights": lambda card: _HASH.fullmatch(card["tensors_sha256"]) is not None,
}


def _whole(value: Any, low: int = 0, high: int = 1 << 62) -> bool:
    return type(value) is int and low <= value <= high


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _sha256(card: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
