"""The card of a model file: its checksum, and the rules for its values, checked before anything is built from them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from geoseg.classes import ClassMap
from geoseg.errors import InputError, first_line
from geoseg.indices import FORMULAS
from geoseg.recipes import Start, SuperpixelConfig, WindowConfig

_CHECKSUM = "card_sha256"
ALTERED = "the file was altered: copy it again, or train the model again"
_MAX_CLASSES = 65534
_MAX_BANDS = 4096
_MAX_TILE_SIZE = 1 << 16
_MAX_WEIGHT = 1000
_SHA256 = re.compile("[0-9a-f]{64}")
_ENCODER_NAME = re.compile(r"[\w.-]{1,100}", re.ASCII)
_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")


def sealed(card: Mapping[str, Any]) -> str:
    """Return the card as JSON text that includes the card's own SHA-256."""
    return json.dumps({**card, _CHECKSUM: _sha256(card)}, sort_keys=True)


def parse_card(text: str) -> Any:
    """Parse the text of a card.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    return json.loads(text, parse_constant=_refuse_constant)


def check_card(card: Mapping[str, Any]) -> None:
    """Refuse a card that is damaged, or whose values no geoseg model can have.

    Old cards have no checksum; only their values are checked.

    Raises:
        InputError: The message does not name the file.
    """
    if _CHECKSUM in card and card[_CHECKSUM] != _sha256({k: v for k, v in card.items() if k != _CHECKSUM}):
        raise InputError("its card does not match its checksum; the file is damaged: copy it again")
    for entry, is_valid in _RULES.items():
        try:
            valid = is_valid(card)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(
                f"its card has an invalid entry for {entry} ({type(error).__name__}: {first_line(error)}); {ALTERED}"
            ) from error
        if not valid:
            raise InputError(f"its card has an invalid entry for {entry}; {ALTERED}")


def _network(card: Mapping[str, Any]) -> bool:
    spec = card["network"]
    return (
        set(spec) <= {"encoder", "bands", "classes", "edges"}
        and _ENCODER_NAME.fullmatch(spec["encoder"]) is not None
        and _is_integer(spec["bands"], 1, _MAX_BANDS)
        and _is_integer(spec["classes"], 1, _MAX_CLASSES)
        and isinstance(spec.get("edges", False), bool)
    )


def _bands(card: Mapping[str, Any]) -> bool:
    bands = card["bands"]
    return (
        isinstance(bands, list)
        and len(bands) == card["network"]["bands"]
        and all(isinstance(name, str) and name.isprintable() for name in bands)
    )


def _indices(card: Mapping[str, Any]) -> bool:
    entries, bands = card.get("indices", []), card["bands"]
    computed = len(bands) - len(entries)
    own = computed - sum(entry["bands"] for entry in card.get("extras", []))
    return isinstance(entries, list) and all(
        set(entry) == {"name", "bands"}
        and entry["name"] in FORMULAS
        and entry["name"] == bands[computed + i]
        and len(entry["bands"]) == len(FORMULAS[entry["name"]].roles)
        and all(_is_integer(place, 0, own - 1) for place in entry["bands"])
        for i, entry in enumerate(entries)
    )


def _extras(card: Mapping[str, Any]) -> bool:
    entries = card.get("extras", [])
    known = isinstance(entries, list) and all(
        set(entry) == {"name", "bands"}
        and isinstance(entry["name"], str)
        and entry["name"].isprintable()
        and _is_integer(entry["bands"], 1, _MAX_BANDS)
        for entry in entries
    )
    return known and sum(entry["bands"] for entry in entries) + len(card.get("indices", [])) < len(card["bands"])


def _statistics(card: Mapping[str, Any]) -> bool:
    stats, count = card["statistics"], card["network"]["bands"]
    columns = [stats[name] for name in ("mean", "std", "low", "high")]
    numbers = all(
        isinstance(column, list) and len(column) == count and all(map(_is_number, column)) for column in columns
    )
    return (
        numbers
        and all(std > 0 for std in stats["std"])
        and all(high > low for low, high in zip(stats["low"], stats["high"], strict=True))
        and _is_integer(stats["pixels"], 0, 1 << 62)
    )


def _superpixels(card: Mapping[str, Any]) -> bool:
    config = SuperpixelConfig(**card["superpixels"])
    return _is_integer(config.size) and _is_integer(config.iterations) and _is_number(config.compactness)


def _windows(card: Mapping[str, Any]) -> bool:
    config = WindowConfig(**card["windows"])
    return _is_integer(config.tile_size, 64, _MAX_TILE_SIZE) and _is_integer(config.overlap)


def _classes(card: Mapping[str, Any]) -> bool:
    entries = card["classes"]
    return (
        isinstance(entries, list)
        and all(map(_is_class, entries))
        and ClassMap.from_json(entries).clusters == _outputs(card)
    )


def _outputs(card: Mapping[str, Any]) -> int:
    """Number of outputs that classes are made of: what the model was taught, or else those of its network."""
    return len(card["teaching"]["names"]) if "teaching" in card else int(card["network"]["classes"])


def _is_class(entry: Mapping[str, Any]) -> bool:
    texts = isinstance(entry["name"], str) and isinstance(entry["colour"], str)
    clusters = entry.get("clusters", [])
    return texts and _is_integer(entry["id"]) and isinstance(clusters, list) and all(map(_is_integer, clusters))


def _pixel_size(card: Mapping[str, Any]) -> bool:
    size = card.get("pixel_size", [1, 1])
    return isinstance(size, list) and len(size) == 2 and all(map(_is_number, size)) and 0 < size[0] <= size[1]


def _scaling(card: Mapping[str, Any]) -> bool:
    if "scaling" not in card:
        return True
    columns = [card["scaling"][name] for name in ("scale", "offset")]
    numbers = all(
        isinstance(c, list) and len(c) == card["network"]["bands"] and all(map(_is_number, c)) for c in columns
    )
    return numbers and all(columns[0])


def _experts(card: Mapping[str, Any]) -> bool:
    if "experts" not in card:
        return True
    entry = card["experts"]
    exponents = entry["exponents"]
    return (
        set(entry) == {"start", "exponents", "coupling", "temperature"}
        and entry["start"] in get_args(Start)
        and isinstance(exponents, list)
        and len(exponents) == 2
        and all(_is_number(number) and 0 <= number <= _MAX_WEIGHT for number in (*exponents, entry["coupling"]))
        and any(exponents)
        and _is_number(entry["temperature"])
        and 1 / _MAX_WEIGHT <= entry["temperature"] <= _MAX_WEIGHT
    )


def _teaching(card: Mapping[str, Any]) -> bool:
    if "teaching" not in card:
        return True
    entry = card["teaching"]
    names, scenes, clusters = entry["names"], entry["scenes"], entry["clusters"]
    return (
        set(entry) == {"names", "clusters", "start", "scenes", "exponent", "temperature"}
        and isinstance(names, list)
        and 0 < len(set(names)) == len(names) <= _MAX_CLASSES
        and all(isinstance(name, str) and name for name in names)
        and isinstance(scenes, list)
        and all(_SHA256.fullmatch(scene) is not None for scene in scenes)
        and entry["start"] in get_args(Start)
        and isinstance(clusters, list)
        and all(map(_is_class, clusters))
        and ClassMap.from_json(clusters).clusters == card["network"]["classes"]
        and _is_number(entry["exponent"])
        and 0 <= entry["exponent"] <= _MAX_WEIGHT
        and _is_number(entry["temperature"])
        and 1 / _MAX_WEIGHT <= entry["temperature"] <= _MAX_WEIGHT
    )


def _appearance(card: Mapping[str, Any]) -> bool:
    if "appearance" not in card:
        return True
    entry, K, count = card["appearance"], card["network"]["classes"], card["network"]["bands"]
    shares, means, fractions = entry["shares"], entry["means"], (entry["contrast"], entry["confidence"])
    return (
        set(entry) == {"shares", "means", "contrast", "confidence"}
        and isinstance(shares, list)
        and len(shares) == K
        and all(_is_number(share) and 0 <= share <= 1 for share in shares)
        and all(isinstance(column, list) and len(column) == K for column in (means, *fractions))
        and all(isinstance(row, list) and len(row) == count and all(map(_is_known, row)) for row in means)
        and all(_is_known(value) and (value is None or value >= 0) for column in fractions for value in column)
    )


_RULES: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "the network": _network,
    "the bands": _bands,
    "the extra bands": _extras,
    "the indices": _indices,
    "the pixel type": lambda card: {card["dtype"], card.get("file_dtype", "uint8")} <= {*_DTYPES},
    "the statistics": _statistics,
    "the pixel size": _pixel_size,
    "the scaling": _scaling,
    "the superpixels": _superpixels,
    "the windows": _windows,
    "the teaching": _teaching,
    "the classes": _classes,
    "the experts": _experts,
    "the appearance": _appearance,
    "the provenance": lambda card: isinstance(card["provenance"], dict),
    "the checksum of the weights": lambda card: _SHA256.fullmatch(card["tensors_sha256"]) is not None,
}


def _is_integer(value: Any, low: int = 0, high: int = 1 << 62) -> bool:
    return type(value) is int and low <= value <= high


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_known(value: Any) -> bool:
    """Whether it is a number, or None, which stands for what is not known."""
    return value is None or _is_number(value)


def _sha256(card: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")
