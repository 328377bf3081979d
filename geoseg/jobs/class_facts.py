"""geoseg classes show: what is known of the classes of a model or a map. No network is loaded."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassMap, LandClass
from geoseg.config import Opening
from geoseg.errors import InputError, SettingError
from geoseg.jobs.class_edits import is_model, require_one_model
from geoseg.location import Location
from geoseg.model.appearance import Appearance
from geoseg.model.card_file import read_card
from geoseg.naming.guesses import Meaning, guess
from geoseg.naming.looks import Display, Look
from geoseg.naming.map_looks import map_looks
from geoseg.naming.model_looks import model_appearance
from geoseg.outputs.found import find_map, record_of_map
from geoseg.outputs.names import run_directory
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.guards import regular_file
from geoseg.raster.sample import sample
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import BandStats

_M2_PER_HA = 10_000.0
_SHARES = (2, 98)
Floats = NDArray[np.float64]
_Ends = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class ClassFacts:
    """What is known of a class.

    Attributes:
        entry: Its id, name, colour and clusters.
        share: Of the area, in [0, 1]; 0 for a class that does not occur, None where it is not known.
        pixels: In the map; None without a map.
        hectares: In the map; None without a map, or where it has no unit of length.
        look: How it looks; None where nothing is known of it.
        meaning: What it may be, a guess.
    """

    entry: LandClass
    share: float | None
    pixels: int | None
    hectares: float | None
    look: Look | None
    meaning: Meaning | None

    @property
    def seen(self) -> bool:
        """Whether the class occurs, or it is not known that it does not."""
        return self.share is None or self.share > 0

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        look = self.look
        rgb = None if look is None or look.rgb is None else [round(value) for value in look.rgb]
        numbers = {"confidence": look and look.confidence, "ndvi": look and look.ndvi, "ndwi": look and look.ndwi}
        return {
            "id": self.entry.id, "name": self.entry.name, "colour": self.entry.colour,
            "clusters": list(self.entry.clusters), "share": self.share, "pixels": self.pixels,
            "hectares": self.hectares, "mean_colour": rgb, **numbers, "guess": self.meaning,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class ClassTable:
    """The classes of a model or a map, n of them.

    Attributes:
        rows: One for each class.
        appearance: Of the n classes; None where nothing is known of them.
        low, high: (bands,), the ends in which brightness is measured.
        borders: int64 (n, n), see `geoseg.naming.map_looks.MapLooks`; None where they are not known.
    """

    rows: tuple[ClassFacts, ...]
    appearance: Appearance | None
    low: tuple[float, ...]
    high: tuple[float, ...]
    borders: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a map tells of its n classes, and its scene, if any."""

    classes: ClassMap
    pixels: NDArray[np.int64]
    area: Floats | None
    appearance: Appearance
    borders: NDArray[np.int64] | None
    display: Display | None = None
    ends: _Ends = ((), ())


def class_table(
    file: Path, map_path: Path | None = None, scene: Location | None = None, opening: Opening | None = None,
    borders: bool = False,
) -> ClassTable:  # fmt: skip
    """Return what is known of the classes of a model, of a map, or of a map and the model that made it.

    Shares, areas and confidence are those of the map, if there is one. Colours are those of the scene, if it is given,
    else those that the model has kept of its training.

    Args:
        file: The model, or the class raster of a map.
        map_path: The map, if `file` is a model.
        scene: The scene that the map was made from.
        opening: How the scene is opened.
        borders: Whether to count the borders of classes in the map.

    Raises:
        InputMissingError, InputError: A file is missing or damaged, or they do not belong together.
        SettingError: There are two maps, or a scene without a map.
    """
    model, raster = (file, map_path) if is_model(file) else (None, file)
    if map_path is not None and model is None:
        raise SettingError(f"{file}: is a map already; give the model, and its map with --map")
    if scene is not None and raster is None:
        raise SettingError("a scene is looked at where the map of it has a class; give the map, too")
    regular_file(file)
    if model is not None and raster is not None:
        require_one_model(model, raster)
    card = None if model is None else read_card(model)
    seen = None if raster is None else _look(raster, card, scene, opening, borders)
    known = None if model is None or card is None else model_appearance(model, card)
    if seen is not None:
        return _of_map(seen, card, known)
    assert card is not None
    classes = ClassMap.from_json(card["classes"])
    ends = tuple(card["statistics"]["low"]), tuple(card["statistics"]["high"])
    if known is None:
        return ClassTable(tuple(ClassFacts(entry, *[None] * 5) for entry in classes.classes), None, *ends)
    known = known.merged([entry.clusters for entry in classes.classes])
    looks = Display.of_card(card).looks(known)
    rows = (
        ClassFacts(e, look.share, None, None, look, guess(look)) for e, look in zip(classes.classes, looks, strict=True)
    )
    return ClassTable(tuple(rows), known, *ends)


def _of_map(seen: _Seen, card: dict[str, Any] | None, known: Appearance | None) -> ClassTable:
    """Return the table of a map, with the looks of its scene or else of its model."""
    appearance, display, ends = seen.appearance, seen.display, seen.ends
    if display is None and card is not None and known is not None:
        of_model = known.merged([entry.clusters for entry in seen.classes.classes])
        appearance = Appearance(appearance.shares, of_model.means, of_model.contrast, appearance.confidence)
        display = Display.of_card(card)
        ends = tuple(card["statistics"]["low"]), tuple(card["statistics"]["high"])
    rows = []
    for i, entry in enumerate(seen.classes.classes):
        share, pixels = float(appearance.shares[i]), int(seen.pixels[i])
        hectares = None if seen.area is None else float(seen.area[i]) / _M2_PER_HA
        confidence = float(appearance.confidence[i])
        look = Look(None, share, confidence=None if np.isnan(confidence) else confidence)
        if display is not None:
            (look,) = display.looks(_only(appearance, i))
        rows.append(ClassFacts(entry, share, pixels, hectares, look, guess(look)))
    return ClassTable(tuple(rows), None if display is None else appearance, *ends, seen.borders)


def _only(appearance: Appearance, index: int) -> Appearance:
    return Appearance(*(part[index : index + 1] for part in vars(appearance).values()))


def _look(
    path: Path, card: dict[str, Any] | None, scene_path: Location | None, opening: Opening | None, borders: bool
) -> _Seen:
    """Read a map, and its scene if there is one."""
    record, _ = record_of_map(path, run_directory(path))
    classes = record.classes
    assert classes is not None
    with ExitStack() as stack:
        raster = stack.enter_context(ClassRaster(path, known=classes))
        # Any time will do: it keeps the STAC Item, which may be missing, from being read.
        beside = find_map(path, record, "2000").outputs.confidence
        confidence = None
        if beside is not None and beside.exists():
            confidence = stack.enter_context(Confidence(beside, raster.scene))
        scene, display, limits = None, None, None
        ends: _Ends = ((), ())
        if scene_path is not None:
            bands = record.content.get("settings", {}).get("bands")
            scene = stack.enter_context(Scene(scene_path, bands, opening=opening, quiet=True))
            stats = _stats(scene, card)
            display, ends = (
                Display.of(scene.band_names, str(scene.dtype), stats, scene.scaling),
                (stats.low, stats.high),
            )
            limits = np.array(stats.low), np.array(stats.high)
        found = map_looks(raster, confidence, scene, limits, borders)
    unknown = [class_id for class_id in found.ids if class_id not in {entry.id for entry in classes.classes}]
    if unknown:
        raise InputError(
            f"{path}: has the id {unknown[0]}, which {record.path.name} knows no class of; predict it again"
        )
    return _placed(classes, found.ids, found.pixels, found.area, found.appearance, found.borders, display, ends)


def _placed(
    classes: ClassMap, ids: tuple[int, ...], pixels: NDArray[np.int64], area: Floats | None, appearance: Appearance,
    borders: NDArray[np.int64] | None, display: Display | None, ends: _Ends,
) -> _Seen:  # fmt: skip
    """Return what was found of the classes that occur as that of all classes of the map."""
    n, place = len(classes), {entry.id: i for i, entry in enumerate(classes.classes)}
    rows = [place[class_id] for class_id in ids]

    def spread(values: NDArray[Any], fill: float) -> NDArray[Any]:
        full = np.full((n, *values.shape[1:]), fill, values.dtype)
        full[rows] = values
        return full

    whole = Appearance(
        spread(appearance.shares, 0), *(
            spread(part, np.nan) for part in (appearance.means, appearance.contrast, appearance.confidence)
        )
    )  # fmt: skip
    touching = None
    if borders is not None:
        touching = np.zeros((n, n), np.int64)
        touching[np.ix_(rows, rows)] = borders
    return _Seen(classes, spread(pixels, 0), None if area is None else spread(area, 0), whole, touching, display, ends)


def _stats(scene: Scene, card: dict[str, Any] | None) -> BandStats:
    """The statistics of the model, or where there is none those of a small sample of the scene."""
    if card is not None and len(card["bands"]) == len(scene.bands):
        return BandStats.from_json(card["statistics"])
    pixels, valid = sample(scene)
    values = pixels[:, valid].astype(np.float64)
    if not values.size:
        values = np.zeros((len(scene.bands), 1))
    low, high = (tuple(np.percentile(values, share, axis=1).tolist()) for share in _SHARES)
    high = tuple(max(top, bottom + 1e-6) for bottom, top in zip(low, high, strict=True))
    return BandStats(low, (1.0,) * len(low), low, high, values.shape[1])
