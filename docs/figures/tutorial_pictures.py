"""Draw the pictures of docs/tutorials from the files that a tutorial's commands wrote.

    python docs/figures/tutorial_pictures.py orthophotos-to-map CHECKOUT

CHECKOUT is the folder in which its commands were run, with `tutorial/` and `examples/` in it. The pictures that QGIS
draws are those of tutorial_qgis.py.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rasterio.warp import transform

from geoseg import open_classes

OUT = Path(__file__).resolve().parents[1] / "tutorials" / "pictures"
FONT = ImageFont.load_default(20)
LIMIT = 150_000


def imagery(path: Path, infrared: bool = False) -> Image.Image:
    """The first three bands of a scene, or near infrared, red and green."""
    with rasterio.open(path) as scene:
        pixels: NDArray[np.uint8] = scene.read([4, 1, 2] if infrared else [1, 2, 3])
    return Image.fromarray(np.moveaxis(pixels, 0, -1))


def painted(path: Path) -> Image.Image:
    """A class raster in its colours."""
    with rasterio.open(path) as raster:
        ids, table = raster.read(1), raster.colormap(1)
    colours = np.zeros((max(table) + 1, 3), np.uint8)
    for number, colour in table.items():
        colours[number] = colour[:3]
    return Image.fromarray(colours[ids])


def titled(image: Image.Image, title: str) -> Image.Image:
    """An image with a title above."""
    picture = Image.new("RGB", (image.width, image.height + 30), "white")
    picture.paste(image, (0, 30))
    ImageDraw.Draw(picture).text((2, 2), title, "#17303a", FONT)
    return picture


def keyed(image: Image.Image, legend: Sequence[tuple[str, str]]) -> Image.Image:
    """An image with a legend of names and colours below."""
    picture = Image.new("RGB", (image.width, image.height + 34), "white")
    picture.paste(image, (0, 0))
    draw, x, y = ImageDraw.Draw(picture), 2, image.height + 6
    for name, colour in legend:
        draw.rectangle((x, y + 2, x + 20, y + 20), colour, "#555555")
        draw.text((x + 27, y - 2), name, "#17303a", FONT)
        x += 48 + int(draw.textlength(name, FONT))
    return picture


def beside(*images: Image.Image) -> Image.Image:
    """Images in a row."""
    picture = Image.new("RGB", (sum(i.width for i in images) + 8 * (len(images) - 1), max(i.height for i in images)))
    picture.paste("white", (0, 0, *picture.size))
    x = 0
    for image in images:
        picture.paste(image, (x, 0))
        x += image.width + 8
    return picture


def stacked(*images: Image.Image) -> Image.Image:
    """Images in a column."""
    picture = Image.new("RGB", (max(i.width for i in images), sum(i.height for i in images)), "white")
    y = 0
    for image in images:
        picture.paste(image, (0, y))
        y += image.height
    return picture


def half(image: Image.Image) -> Image.Image:
    """An image of 500 pixels in width."""
    return image.resize((500, round(500 * image.height / image.width)), Image.Resampling.LANCZOS)


def legend(raster: Path) -> list[tuple[str, str]]:
    """Names and colours of the classes of a map."""
    return [(entry.name, str(entry.colour)) for entry in open_classes(raster).classes]


def save(image: Image.Image, name: str) -> None:
    """Write a picture as well as 150 kB allow."""
    path = OUT / f"{name}.jpg"
    for quality in range(90, 40, -5):
        image.convert("RGB").save(path, quality=quality, optimize=True)
        if path.stat().st_size < LIMIT:
            return
    raise SystemExit(f"{path.name} is too large")


def placed(points: Path, scene: Path) -> list[tuple[str, float, float]]:
    """Class, column and row of each point of a GeoJSON file."""
    features = json.loads(points.read_text())["features"]
    with rasterio.open(scene) as file:
        lon, lat = zip(*(feature["geometry"]["coordinates"] for feature in features), strict=True)
        xs, ys = transform("EPSG:4326", file.crs, lon, lat)[:2]
        back = ~file.transform
    places = [back * place for place in zip(xs, ys, strict=True)]
    return [
        (feature["properties"]["landcover"], col, row) for feature, (col, row) in zip(features, places, strict=True)
    ]


def orthophotos_to_map(folder: Path) -> None:
    """The scene and the class sheet."""
    save(imagery(folder / "examples/data/naip_2020.tif"), "scene-2020")
    save(Image.open(folder / "tutorial/sheet.png"), "sheet")


def twenty_points(folder: Path) -> None:
    """Points, what was taught, and where to look next."""
    scene = folder / "examples/data/naip_2020.tif"
    colours = dict(legend(folder / "tutorial/landcover.tif"))
    views = []
    for title, infrared in (("True colour", False), ("Near infrared, red, green", True)):
        image = half(imagery(scene, infrared))
        draw, scale = ImageDraw.Draw(image), 500 / 934
        for name, col, row in placed(folder / "docs/tutorials/points.geojson", scene):
            x, y = col * scale, row * scale
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), colours[name], "white", 2)
        views.append(titled(image, title))
    save(keyed(beside(*views), list(colours.items())), "points")
    for number, file in (("1", "landcover.tif"), ("2", "landcover2.tif")):
        path = folder / "tutorial" / file
        title = "Taught" if number == "1" else "Taught, second round"
        views = [titled(half(imagery(scene)), "NAIP, August 2020"), titled(half(painted(path)), title)]
        save(keyed(beside(*views), legend(path)), f"taught-{number}")
    where_next(folder / "tutorial/where-next.gpkg", scene)


def where_next(path: Path, scene: Path) -> None:
    """Each superpixel that is worth a look, outlined in its surroundings."""
    shapes = shapely.from_wkb(pyogrio.raw.read(path, layer="next")[2])
    with rasterio.open(scene) as file:
        back = ~file.transform
    image, cut, zoom = imagery(scene), 32, 3
    side = 2 * cut * zoom
    picture = Image.new("RGB", (5 * (side + 6), 2 * (side + 6)), "white")
    for number, shape in enumerate(shapes):
        rings = [[back * (x, y) for x, y, *_ in part.exterior.coords] for part in shapely.get_parts(shape).tolist()]
        col, row = back * shape.centroid.coords[0]
        left, top = round(col) - cut, round(row) - cut
        small = image.crop((left, top, left + 2 * cut, top + 2 * cut)).resize((side, side))
        draw = ImageDraw.Draw(small)
        for ring in rings:
            draw.line([((x - left) * zoom, (y - top) * zoom) for x, y in ring], "#ffe600", 2)
        draw.text((6, 4), str(number + 1), "white", FONT, stroke_width=2, stroke_fill="black")
        picture.paste(small, (number % 5 * (side + 6), number // 5 * (side + 6)))
    save(picture, "where-next")


def two_dates(folder: Path) -> None:
    """Both scenes; both maps and what changed."""
    years = {2018: "NAIP, 16 July 2018", 2020: "NAIP, 31 August 2020"}
    scenes = [titled(half(imagery(folder / f"examples/data/naip_{year}.tif")), title) for year, title in years.items()]
    save(beside(*scenes), "two-dates")
    change = folder / "tutorial/change.tif"
    with (folder / "tutorial/change.areas.csv").open(encoding="utf-8-sig", newline="") as file:
        changed = [row for row in csv.DictReader(file) if row["changed"] == "yes"][:7]
    colours = {entry.id: str(entry.colour) for entry in open_classes(change).classes}
    largest = [(f"{row['from']} -> {row['to']}", colours[int(row["class_id"])]) for row in changed]
    maps = [folder / f"tutorial/maps/naip_{year}-classes.tif" for year in years]
    views = [titled(half(painted(path)), path.name[5:9]) for path in maps]
    last = titled(half(painted(change)), "What changed; what did not is pale")
    key = Image.new("RGB", (500, last.height), "white")
    draw = ImageDraw.Draw(key)
    draw.text((4, 60), "The seven largest changes", "#17303a", FONT)
    for number, (name, colour) in enumerate(largest):
        draw.rectangle((4, 100 + 34 * number, 30, 122 + 34 * number), colour, "#555555")
        draw.text((40, 98 + 34 * number), name, "#17303a", FONT)
    save(stacked(keyed(beside(*views), legend(maps[1])), beside(last, key)), "change")


def on_a_cluster(folder: Path) -> None:
    """A map, and where its blocks meet."""
    image = painted(folder / "tutorial/divided.tif").convert("RGB")
    draw = ImageDraw.Draw(image)
    for place in range(512, image.width, 512):
        draw.line((place, 0, place, image.height), "white", 1)
    for place in range(512, image.height, 512):
        draw.line((0, place, image.width, place), "white", 1)
    save(image, "blocks")


def from_python(folder: Path) -> None:
    """The preview, which `predict` wrote; named, since the classes were named in the map."""
    save(Image.open(folder / "tutorial/classes.preview.png"), "preview")


def benchmarks(folder: Path) -> None:
    """A tile of the miniature and its labels; the confusion matrix."""
    tile = folder / "tutorial/potsdam/4_Ortho_RGBIR/top_potsdam_2_10_RGBIR.tif"
    labels = folder / "tutorial/potsdam/5_Labels_for_participants/top_potsdam_2_10_label.tif"
    save(beside(titled(half(imagery(tile)), tile.name), titled(half(imagery(labels)), labels.name)), "miniature")
    save(Image.open(folder / "tutorial/confusion.png"), "confusion")


DRAWN: dict[str, Callable[[Path], None]] = {
    "orthophotos-to-map": orthophotos_to_map,
    "twenty-points": twenty_points,
    "two-dates": two_dates,
    "on-a-cluster": on_a_cluster,
    "from-python": from_python,
    "benchmarks": benchmarks,
}

if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    DRAWN[sys.argv[1]](Path(sys.argv[2]))
