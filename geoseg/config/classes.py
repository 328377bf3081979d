"""Settings of geoseg classes: one class a subcommand that changes something."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.config.common import Opening
from geoseg.errors import SettingError
from geoseg.location import Location
from geoseg.recipes import check_range
from geoseg.units import Area


@dataclass(frozen=True, kw_only=True)
class _Changed:
    """What is common to all changes of a class map.

    Attributes:
        file: The model, or the class raster of a map, whose classes change.
        maps: Further maps, or models, that get the same classes.
        out: Where to write the file instead of replacing it.
        min_area: Smaller regions of maps are merged into a neighbour.
        overwrite: Replace an existing `out`.
    """

    file: Path
    maps: tuple[Path, ...] = ()
    out: Path | None = None
    min_area: Area | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        files = [path.resolve() for path in (self.file, *self.maps, *([self.out] if self.out else []))]
        if len(set(files)) < len(files):
            raise SettingError(f"{self.file}: the same file is given twice; give every file once")
        if self.overwrite and self.out is None:
            raise SettingError("overwrite is for --out; without it, the file itself is changed")


@dataclass(frozen=True, kw_only=True)
class SetClassConfig(_Changed):
    """Settings of `geoseg classes set`.

    Attributes:
        entry: Name or id of the class.
        name: Its new name.
        color: Its new colour as '#rrggbb'.
    """

    entry: str
    name: str | None = None
    color: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is None and self.color is None:
            raise SettingError("nothing is to be changed; give the new name, or --color")


@dataclass(frozen=True, kw_only=True)
class MergeClassesConfig(_Changed):
    """Settings of `geoseg classes merge`.

    Attributes:
        classes: Names or ids of the classes that end.
        into: Name or id of the class that has their clusters then.
        name: Its new name.
    """

    classes: tuple[str, ...]
    into: str
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class SplitClassConfig(_Changed):
    """Settings of `geoseg classes split`.

    Attributes:
        entry: Name or id of the class whose clusters become classes again.
    """

    entry: str


@dataclass(frozen=True, kw_only=True)
class OrderClassesConfig(_Changed):
    """Settings of `geoseg classes order`.

    Attributes:
        classes: Names or ids of the classes that come first; the others follow.
    """

    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EditClassesConfig(_Changed):
    """Settings of `geoseg classes edit`."""


@dataclass(frozen=True, kw_only=True)
class ImportClassesConfig(_Changed):
    """Settings of `geoseg classes import`.

    Attributes:
        legend: CSV or JSON file of classes.
    """

    legend: Path


@dataclass(frozen=True, kw_only=True)
class ApplyClassesConfig:
    """Settings of `geoseg classes apply`.

    Attributes:
        legend: Where the classes come from: a model, a map, or a CSV or JSON file.
        files: Maps, or models, that get them.
        min_area: Smaller regions of maps are merged into a neighbour.
    """

    legend: Path
    files: tuple[Path, ...]
    min_area: Area | None = None

    def __post_init__(self) -> None:
        files = [path.resolve() for path in (self.legend, *self.files)]
        if len(set(files)) < len(files):
            raise SettingError(f"{self.legend}: the same file is given twice; give every file once")


@dataclass(frozen=True, kw_only=True)
class ExportClassesConfig:
    """Settings of `geoseg classes export`.

    Attributes:
        file: The model, or the class raster of a map.
        out: CSV or JSON file to write.
        overwrite: Replace an existing file.
    """

    file: Path
    out: Path
    overwrite: bool = False


@dataclass(frozen=True)
class ShowClassesConfig(Opening):
    """Settings of `geoseg classes show`.

    Attributes:
        file: The model, or the class raster of a map.
        map: With a model: a map of it, which tells areas.
        scene: The scene of the map, which tells colours.
        sheet: PNG or HTML file of examples of every class.
        overwrite: Replace an existing sheet.
        json: Print JSON.
    """

    file: Path
    map: Path | None = None
    scene: Location | None = None
    sheet: Path | None = None
    overwrite: bool = False
    json: bool = False


@dataclass(frozen=True)
class SuggestClassesConfig(Opening):
    """Settings of `geoseg classes suggest`.

    Attributes:
        file: The model, or the class raster of a map.
        map: With a model: a map of it, which tells areas and borders.
        scene: The scene of the map, which tells colours.
        classes: How many classes to merge to; None leaves it to what is lost.
        picture: PNG file of the tree.
        apply_names: Give classes that have no name yet their guesses.
        apply_colors: Give all classes colours by what they look like.
        overwrite: Replace an existing picture.
        json: Print JSON.
    """

    file: Path
    map: Path | None = None
    scene: Location | None = None
    classes: int | None = None
    picture: Path | None = None
    apply_names: bool = False
    apply_colors: bool = False
    overwrite: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes is not None:
            check_range("classes", self.classes, 1, 65534)
        if self.picture is not None and self.picture.suffix.lower() != ".png":
            raise SettingError(f"{self.picture}: the picture is a PNG file; give it a name that ends in .png")
        if self.json and (self.apply_names or self.apply_colors):
            raise SettingError("JSON is of what is suggested; apply names or colours without --json")
