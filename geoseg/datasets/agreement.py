"""Whether scenes can be learnt from together: the same kind of pixels, the same bands, comparable pixel sizes.

Scenes that do not fit the majority are faulty images; scenes with the same bands in another order are reordered.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.bands import advise_bands, band_list, differ, match_bands, read_names
from geoseg.errors import BandError, InputError
from geoseg.location import Location
from geoseg.raster.ground import Ground
from geoseg.raster.scene import Scene

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """A scene, and the path it was opened by, whose links are not resolved."""

    path: Location
    scene: Scene


OnMisfit = Callable[[Location, InputError], None]
"""Takes the path of a scene that does not fit the others, and why."""

Reopen = Callable[[Scene, tuple[int, ...]], Scene]
"""Opens a scene again with these bands."""

_NOTABLE_RATIO = 4.0
"""Of pixel sizes: at that, a superpixel of one scene has 16 times the area of another's."""


def agree(opened: Sequence[Opened], chosen: bool, on_misfit: OnMisfit, reopen: Reopen) -> list[Scene]:
    """Return the scenes that can be learnt from together, with their bands in one order.

    The kind of pixels and the number of bands are those of most scenes, of the first among equals. The order of bands
    is that of the first of most scenes whose bands have names.

    Args:
        opened: The scenes; those that are not returned are closed.
        chosen: Whether the user chose the bands, so that names are only compared, with a warning.
        on_misfit: Called for a scene that does not fit.
        reopen: Opens a scene with its bands in another order.
    """
    loose = {} if chosen else _loose_bands(opened)
    fitting = _without(opened, loose, on_misfit)
    fitting = _without(fitting, _depth_misfits(fitting), on_misfit)
    if chosen:
        _warn_of_names(fitting)
        return [entry.scene for entry in fitting]
    return _with_bands(fitting, on_misfit, reopen)


def warn_of_sizes(scenes: Sequence[Scene]) -> None:
    """Log a warning where pixel sizes of scenes on the ground differ by a factor of 4 or more."""
    # One of each grid: their sizes on the ground take time.
    kinds = {(scene.georeference.wkt, *(f"{s:.3g}" for s in scene.georeference.pixel_size)): scene for scene in scenes}
    sizes = [
        (size, scene)
        for scene in kinds.values()
        if (size := Ground(scene.georeference, scene.shape).sampling_distance) is not None
    ]
    if not sizes:
        return
    (small, fine), (large, coarse) = (pick(sizes, key=lambda entry: entry[0]) for pick in (min, max))
    if large >= _NOTABLE_RATIO * small:
        log.warning(
            "the scenes have pixels of %.3g m (%s) to %.3g m (%s), in which the same things look different; resample "
            "them, or train on them apart",
            small, fine.path.name, large, coarse.path.name,
        )  # fmt: skip


def _without(opened: Sequence[Opened], misfits: dict[int, InputError], on_misfit: OnMisfit) -> list[Opened]:
    for index, error in misfits.items():
        opened[index].scene.close()
        on_misfit(opened[index].path, error)
    return [entry for index, entry in enumerate(opened) if index not in misfits]


def _depth(scene: Scene) -> str:
    """'8-bit', '16-bit' or 'floating-point': types whose ranges differ by orders of magnitude."""
    return "floating-point" if scene.dtype.kind == "f" else f"{8 * scene.dtype.itemsize}-bit"


def _depth_misfits(opened: Sequence[Opened]) -> dict[int, InputError]:
    """Scenes of another depth or number of bands than most: index -> error."""
    kinds = [(_depth(entry.scene), len(entry.scene.bands)) for entry in opened]
    if len(set(kinds)) <= 1:
        return {}
    depth, count = Counter(kinds).most_common(1)[0][0]
    model = opened[kinds.index((depth, count))]
    usual, expected = model.path.name, model.scene.band_names
    misfits: dict[int, InputError] = {}
    for index, (entry, kind) in enumerate(zip(opened, kinds, strict=True)):
        names = entry.scene.band_names
        if kind[1] != count:
            advice = advise_bands(*sorted((names, expected), key=len))
            misfits[index] = BandError(
                f"{entry.path}: has {len(names)} band{'s' * (len(names) != 1)} ({band_list(names)}), others such as "
                f"{usual} have {count} ({band_list(expected)}); choose common ones with --bands {advice}".rstrip()
            )
        elif kind[0] != depth:
            misfits[index] = InputError(
                f"{entry.path}: has {kind[0]} pixels ({entry.scene.dtype}), others such as {usual} have {depth} ones; "
                "convert it to the same type and range (gdal_translate -ot ... -scale ...), or train on them apart"
            )
    return misfits


def _loose_bands(opened: Sequence[Opened]) -> dict[int, InputError]:
    """Scenes that are single bands of one scene: index -> error; a warning where that is not certain."""
    groups: dict[object, dict[int, Path]] = {}
    for index, entry in enumerate(opened):
        scene, place = entry.scene, entry.scene.georeference
        if scene.count == 1 and scene.palette is None and isinstance(entry.path, Path) and place.crs:
            key = (entry.path.parent, scene.shape, place.transform, place.wkt)
            groups.setdefault(key, {})[index] = entry.path
    misfits: dict[int, InputError] = {}
    for group in groups.values():
        paths = list(group.values())
        if len(paths) < 2:
            continue
        told, remedy = _describe_loose(paths)
        if _named_as_bands(paths):
            error = InputError(f"{told}, the bands of one scene: {remedy} (--bands 1 learns from each alone)")
            misfits |= dict.fromkeys(group, error)
        else:
            log.warning("%s and are learnt from as grey images; if they are bands of one scene, %s", told, remedy)
    return misfits


def _describe_loose(paths: Sequence[Path]) -> tuple[str, str]:
    """What files of one band have in common, and how they are joined."""
    vrt = shlex.quote(str(paths[0].with_name("scene.vrt")))
    files = " ".join(shlex.quote(str(path)) for path in paths[:4]) + " ..." * (len(paths) > 4)
    shown = ", ".join(path.name for path in paths[:2]) + " ..." * (len(paths) > 2)
    return (
        f"{paths[0].parent}: {len(paths)} files of one band ({shown}) share one grid",
        f"gdalbuildvrt -separate {vrt} {files} joins them, --data {vrt} --allow-vrt reads the result",
    )


def _named_as_bands(paths: Sequence[Path]) -> bool:
    """Whether the names of files differ in the name of a band only: T32_B02_10m and T32_B03_10m, or red and green."""
    stems = [re.sub(r"band[_\-. ]*(?=\d)", "B", path.stem, flags=re.IGNORECASE) for path in paths]
    words = [re.split(r"[_\-. ]+", stem) for stem in stems]
    if len({len(parts) for parts in words}) != 1:
        return False
    columns = [column for column in zip(*words, strict=True) if len(set(column)) > 1]
    if len(columns) != 1:
        return False
    read = read_names(columns[0])
    return all(entry.named and (entry.code or entry.meaning) for entry in read)


def _with_bands(opened: Sequence[Opened], on_misfit: OnMisfit, reopen: Reopen) -> list[Scene]:
    """The scenes whose bands are those of most, in one order."""
    if len({entry.scene.band_names for entry in opened}) <= 1:
        return [entry.scene for entry in opened]
    reference = _reference(opened)
    names = reference.scene.band_names
    fitting: list[Scene] = []
    uncertain: list[tuple[Location, Sequence[str]]] = []
    for entry in opened:
        scene, found = entry.scene, entry.scene.band_names
        order, certain = match_bands(names, found)
        if order is None:
            scene.close()
            error = BandError(
                f"{entry.path}: has the bands {band_list(found)}, others such as {reference.path.name} have "
                f"{band_list(names)}; choose common ones with --bands, or train on them apart"
            )
            on_misfit(entry.path, error)
            continue
        if not certain:
            uncertain.append((entry.path, found))
        if order != tuple(range(len(order))):
            log.info("%s: bands taken in the order of %s", entry.path, reference.path.name)
            scene = reopen(scene, tuple(scene.bands[i] for i in order))
        fitting.append(scene)
    if uncertain:
        log.warning(
            "%s%s: its bands %s are taken for the %s of %s in this order, as these names cannot be compared; if the "
            "order is another, give --bands",
            uncertain[0][0], _and_more(uncertain), band_list(uncertain[0][1]), band_list(names),
            reference.path.name,
        )  # fmt: skip
    return fitting


def _reference(opened: Sequence[Opened]) -> Opened:
    """The first of most scenes whose bands have names; the first of all where none have."""
    keys = [tuple(sorted(name.key for name in read_names(entry.scene.band_names))) for entry in opened]
    named = [key for key in keys if any(key)]
    return opened[keys.index(Counter(named).most_common(1)[0][0])] if named else opened[0]


def _warn_of_names(opened: Sequence[Opened]) -> None:
    """Warn once where bands that the user chose have names that contradict one another."""
    if len({entry.scene.band_names for entry in opened}) <= 1:
        return
    reference = _reference(opened)
    wanted = read_names(reference.scene.band_names)
    for entry in opened:
        if any(map(differ, wanted, read_names(entry.scene.band_names))):
            log.warning(
                "%s: --bands takes %s here, but %s in %s",
                entry.path, band_list(entry.scene.band_names), band_list(reference.scene.band_names),
                reference.path.name,
            )  # fmt: skip
            return


def _and_more(several: Sequence[object]) -> str:
    return f" and {len(several) - 1} more" if len(several) > 1 else ""
