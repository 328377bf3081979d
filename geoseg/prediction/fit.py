"""Whether a scene is like the imagery that a model learnt from: type, values, size of the pixels on the ground.

Away from what it learnt, a network still gives every pixel a class, often the same one. So the scene is compared with
the model before any work, by a bounded sample: a type that holds another kind of number is refused, other values and
another resolution are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config import Match
from geoseg.errors import InputError
from geoseg.location import Location, Remote
from geoseg.model.file import Model
from geoseg.raster.derived import DerivedScene
from geoseg.raster.fills import undeclared_fill
from geoseg.raster.ground import Ground
from geoseg.raster.matching import Curve, matching
from geoseg.raster.sample import sample
from geoseg.raster.scaling import Conversion, Scaling, conversion, kind_of
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import band_stats

_NARROW, _WIDE = 0.25, 2.5
"""Range of a scene's values, as a multiple of the model's, beyond which it is told."""

_FAR = 2.0
"""Distance of a scene's median from the model's mean, in deviations, beyond which it is told."""

_MOVED = 0.2
"""Share of the model's range by which both ends of a scene's range lie off it, in one direction, where it is told."""

_COARSER = 2.05
"""Ratio of pixel sizes beyond which it is told; a ratio of 2, rounded, is not."""

_WINDOWS, _REMOTE_WINDOWS, _RESCALE_WINDOWS = 6, 3, 16
"""Windows of the sample along a side: to look at a scene, at one in the network, and to map its values."""

_SHARES = (2, 50, 98)
_MAX_BANDS = 3


@dataclass(frozen=True)
class Fit:
    """How a scene is to be read for a model.

    Attributes:
        conversion: Turns the scene's values into those that the model knows; None where they are the same.
        remarks: Sentences for the user, whose subject is the scene.
        fill: A sentence about values that seem to be undeclared nodata; empty where there are none.
    """

    conversion: Conversion | Curve | None
    remarks: tuple[str, ...] = ()
    fill: str = ""


def fit(
    model: Model, scene: Scene, name: Location, rescale: bool, learnt_from: bool = False, match: Match | None = None
) -> Fit:
    """Compare a scene with what a model learnt from.

    Args:
        model: The model.
        scene: The scene, with the model's bands.
        name: What messages call it.
        rescale: Map the scene's values onto the model's range, band by band: its 2nd and 98th percentiles, estimated by
            a sample, become the model's.
        learnt_from: The model was just learnt from the scene, among others: nothing is refused or told.
        match: Give the bands the statistics of the model, by those of all valid pixels of the scene; see `matching`.

    Raises:
        InputError: The scene's type holds another kind of number, no declaration relates them, and neither `rescale`
            nor `match` is set; or a block of the sample cannot be decoded.
    """
    if learnt_from and not rescale and match is None:
        learnt = model.scaling or Scaling.none(len(model.bands))
        return Fit(conversion(scene.scaling, scene.dtype, learnt, np.dtype(model.dtype)))
    pixels, valid = sample(scene, _windows(scene, rescale))
    fill = None if scene.nodata_told or scene.declares_nodata or not valid.any() else undeclared_fill(pixels, valid)
    if fill is not None:
        scene.nodata_told = True
        valid = valid & ~(pixels == np.array(fill.value, pixels.dtype)).all(axis=0)
    if match is None:
        found = fit_values(model, name, pixels[:, valid], scene.scaling, rescale, _file_dtype(scene))
    else:
        found = Fit(_matching(model, scene, name, match))
    remarks = (*found.remarks, *_resolution(model, Ground(scene.georeference, scene.shape).sampling_distance))
    return Fit(found.conversion, remarks, fill.message() if fill else "")


def fit_values(
    model: Model,
    name: Location,
    values: NDArray[Any],
    scaling: Scaling,
    rescale: bool,
    dtype: np.dtype[Any] | None = None,
) -> Fit:
    """Compare a sample of values with what a model learnt from.

    Args:
        model: The model.
        name: What messages call their file.
        values: (bands, pixels), valid ones, in the file's type.
        scaling: What the file declares for them.
        rescale: See `fit`.
        dtype: Type of the file, where `values` have bands of other origin too.

    Raises:
        InputError: See `fit`; or there is no value to rescale by.
    """
    learnt = model.scaling or Scaling.none(len(model.bands))
    if rescale:
        return Fit(_rescaling(model, name, values))
    found = conversion(scaling, values.dtype, learnt, np.dtype(model.dtype))
    dtype = values.dtype if dtype is None else dtype
    if not _comparable(dtype, scaling, np.dtype(model.file_dtype or model.dtype), learnt):
        raise InputError(_other_type(model, name, values, dtype))
    if found is not None:
        values = found.apply(values[:, None])[:, 0]
    return Fit(found, tuple(_values_off(model, values)))


def _windows(scene: Scene, rescale: bool) -> int:
    if rescale:
        return _RESCALE_WINDOWS
    return _REMOTE_WINDOWS if isinstance(scene.path, Remote) else _WINDOWS


def _comparable(dtype: np.dtype[Any], scaling: Scaling, learnt_dtype: np.dtype[Any], learnt: Scaling) -> bool:
    """Whether two types hold numbers of one kind, or declarations say what those of integers mean."""
    kind, other = kind_of(dtype), kind_of(learnt_dtype)
    if kind == other or (scaling.declared and learnt.declared):
        return True
    return (scaling.declared and other == "float") or (learnt.declared and kind == "float")


def _rescaling(model: Model, name: Location, values: NDArray[Any]) -> Conversion:
    """What maps the 2nd and 98th percentiles of values onto the model's; a constant band becomes the model's mean."""
    if not values.shape[1]:
        raise InputError(
            f"{name}: a sample of it has no valid pixel, so --rescale does not know its range; leave it out"
        )
    bottom, _, top = np.percentile(values.astype(np.float64), _SHARES, axis=1)
    low, high, mean = (np.asarray(each) for each in (model.stats.low, model.stats.high, model.stats.mean))
    constant = top <= bottom
    gain = np.where(constant, 0.0, (high - low) / np.where(constant, 1.0, top - bottom))
    bias = np.where(constant, mean, low - bottom * gain)
    return Conversion(tuple(gain.tolist()), tuple(bias.tolist()), model.dtype)


def _matching(model: Model, scene: Scene, name: Location, match: Match) -> Conversion | Curve:
    """What gives the whole scene the statistics of the model; what it declares for its values makes no difference."""
    try:
        return matching(band_stats([scene]), model.stats, model.dtype, match)
    except InputError as error:
        if str(name) in str(error):
            raise
        raise InputError(f"{name}: {error}; there is nothing to match, so leave --match out") from error


def _values_off(model: Model, values: NDArray[Any]) -> Sequence[str]:
    """What is told of values that lie off those the model learnt from, in the median of the bands."""
    if not values.shape[1]:
        return ()
    stats = model.stats
    bottom, middle, top = np.percentile(values.astype(np.float64), _SHARES, axis=1)
    low, high, mean, std = (np.asarray(each) for each in (stats.low, stats.high, stats.mean, stats.std))
    span = high - low
    ratio = float(np.median((top - bottom) / span))
    ends = float(np.median((bottom - low) / span)), float(np.median((top - high) / span))
    shift = float(np.median(middle - mean))
    if not _NARROW <= ratio <= _WIDE:
        how = f"a range {ratio:.2g} times as wide"
    elif abs(np.median((middle - mean) / std)) > _FAR or min(ends) > _MOVED or max(ends) < -_MOVED:
        how = f"{abs(shift):.3g} {'higher' if shift > 0 else 'lower'} on the whole"
    else:
        return ()
    rows = zip(model.bands, bottom, top, low, high, strict=True)
    listed = [f"{name} {_span(a, b)} against {_span(c, d)}" for name, a, b, c, d in rows][:_MAX_BANDS]
    return (
        f"its values are not like those that the model learnt from ({how}): {', '.join(listed)}; the map may mean "
        "nothing: bring them to the same units, or give --rescale, which maps them onto the model's range",
    )


def _span(low: float, high: float) -> str:
    return " to ".join(f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}" for value in (low, high))


def _file_dtype(scene: Scene) -> np.dtype[Any]:
    return scene.file_dtype if isinstance(scene, DerivedScene) else scene.dtype


def _other_type(model: Model, name: Location, values: NDArray[Any], dtype: np.dtype[Any]) -> str:
    own = len(model.file_bands)
    here = f" ({_span(float(values[:own].min()), float(values[:own].max()))})" if values.shape[1] else ""
    learnt = _span(min(model.stats.low[:own]), max(model.stats.high[:own]))
    return (
        f"{name}: is {dtype}{here}, but the model learnt from {model.file_dtype or model.dtype} ({learnt}): convert it "
        "to the same units and type, or map its values onto the model's range with --rescale"
    )


def _resolution(model: Model, size: float | None) -> Sequence[str]:
    """What is told of pixels that are much smaller or larger on the ground than those the model learnt from."""
    if size is None or model.pixel_size is None:
        return ()
    least, most = model.pixel_size
    learnt = f"{least:.3g} m" if most < 1.01 * least else f"{least:.3g} to {most:.3g} m"
    facts = f"its pixels are {size:.3g} m on the ground, the model learnt from {learnt}: its classes may not fit"
    if size < least / _COARSER:
        share = f"{100 * size / least:.3g}%"
        return (f"{facts}; resample it to that size (gdal_translate -r average -outsize {share} {share})",)
    if size > most * _COARSER:
        return (f"{facts}; learn a model from imagery as coarse as it",)
    return ()
