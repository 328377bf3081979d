"""Units of confidence: what tells per cent, logits and undeclared nodata from shares of 1."""

from __future__ import annotations

from geoseg.errors import InputError

_ROUNDING = 1e-3
"""By which fractions may exceed [0, 1]: they come out of a softmax, an average or a conversion."""

_SCALES = {100: "per cent", 1000: "per mille", 10000: "hundredths of a per cent"}
"""The largest number of a unit, and its name."""

_OVERSHOOT = 2.0
"""Below it, values are fractions that an interpolation made too large, rather than of another unit."""


def require_fractions(name: object, least: float, most: float) -> None:
    """Refuse a raster of floats that are not fractions in [0, 1].

    Args:
        name: What the message calls the raster.
        least: The smallest of its valid values.
        most: The largest of them.

    Raises:
        InputError: One of them is not a fraction; the message says how to make fractions of them.
    """
    if least < -_ROUNDING:
        remedy = f"declare it as nodata if it is that (gdal_edit.py -a_nodata {least:g}), or turn scores into fractions"
        raise InputError(f"{name}: has the value {least:g}; confidences are fractions in [0, 1]: {remedy}")
    if most > 1 + _ROUNDING:
        unit = next((scale for scale in _SCALES if most <= scale * (1 + _ROUNDING)), None)
        if most < _OVERSHOOT:
            remedy = "clip it (gdal_calc.py --calc='numpy.clip(A,0,1)')"
        elif unit is not None:
            remedy = f"if it is in {_SCALES[unit]}, divide it (gdal_calc.py --calc=A/{unit}.0)"
        else:
            remedy = "divide it by the value that stands for certainty (gdal_calc.py)"
        raise InputError(f"{name}: has the value {most:g}; confidences are fractions in [0, 1]: {remedy}")


def unit_message(largest: int, full: int) -> str | None:
    """Return a warning about whole numbers that are probably not shares of the largest of their type.

    Args:
        largest: The largest value of the raster.
        full: The largest value of its type, which is read as 1.

    Returns:
        None where the values may well be such shares, or there are none.
    """
    unit = next((scale for scale in _SCALES if largest <= scale < full), None)
    if unit is None or largest == 0:
        return None
    return (
        f"its largest value is {largest}, and {full} is read as a confidence of 1; if it is in {_SCALES[unit]}, divide "
        f"it first (gdal_calc.py --calc=A/{unit}.0 --type=Float32)"
    )
