"""Types of settings: a value from Python, such as the text "16" for a number, is refused like any other bad setting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from numbers import Real
from operator import index
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from geoseg.errors import SettingError

_WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    NoneType: "None",
}


def check_types(config: Any) -> None:
    """Replace numbers of other libraries in a frozen dataclass by Python's, and refuse values of another type.

    Args:
        config: The dataclass, as its `__post_init__` finds it.

    Raises:
        SettingError: A field has a value of another type than its annotation says.
    """
    hints = _hints(type(config))
    for entry in fields(config):
        value, allowed = getattr(config, entry.name), _alternatives(hints[entry.name])
        for kind in allowed:
            try:
                object.__setattr__(config, entry.name, _converted(value, kind))
                break
            except (TypeError, ValueError):
                continue
        else:
            words = [_words(kind) for kind in allowed]
            raise SettingError(f"{entry.name.replace('_', ' ')} is {value!r}; give {' or '.join(dict.fromkeys(words))}")


_known: dict[type, dict[str, Any]] = {}


def _hints(config: type) -> dict[str, Any]:
    if config not in _known:
        _known[config] = get_type_hints(config)
    return _known[config]


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _converted(value: Any, kind: Any) -> Any:
    """The value as `kind` has it.

    Raises:
        TypeError, ValueError: It is of another type.
    """
    if get_origin(kind) is tuple:
        return _tuple(value, get_args(kind))
    if get_origin(kind) is Literal:
        # Which words there are is checked, and told, by the configuration.
        kind = str
    if kind is int and not _is_truth(value):
        return index(value)
    if kind is float and not _is_truth(value):
        if isinstance(value, int | float):
            return value
        if isinstance(value, Real):
            return float(value)
    if kind is bool and _is_truth(value):
        return bool(value)
    if isinstance(value, kind) and not (kind in (int, float) and _is_truth(value)):
        return value
    raise TypeError(kind)


def _tuple(value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(value)
    items = tuple(value)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(items)
    alternatives = [_alternatives(kind) for kind in kinds]
    return tuple(_first(item, allowed) for item, allowed in zip(items, alternatives, strict=True))


def _first(value: Any, allowed: tuple[Any, ...]) -> Any:
    for kind in allowed:
        try:
            return _converted(value, kind)
        except (TypeError, ValueError):
            continue
    raise TypeError(value)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")


def _words(kind: Any) -> str:
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        count = "some" if kinds[-1] is Ellipsis else str(len(kinds))
        return f"{count} of these: {' or '.join(_words(each) for each in _alternatives(kinds[0]))}"
    if get_origin(kind) is Literal:
        return "text"
    return _WORDS.get(kind, f"a geoseg.{getattr(kind, '__name__', kind)}")
