"""The rooms of the house: imports inside geoseg go in one direction, and heavy libraries stay in their rooms."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "geoseg"

# A module imports only modules to the left of (above) it. A new module takes its place here.
LAYERS = (
    "geoseg",
    "checks",
    "datasets.resize",
    "errors",
    "evaluation",
    "files",
    "grid",
    "jobs",
    "kernels",
    "learning",
    "location",
    "model",
    "outputs",
    "prediction",
    "raster",
    "runs",
    "segments",
    "vector",
    "classes",
    "recipes",
    "units",
    "files.lock",
    "checks.findings",
    "learning.augment",
    "learning.averaging",
    "learning.collapse",
    "raster.georeference",
    "raster.sieve_kernels",
    "raster.source",
    "raster.tiff",
    "raster.vrt",
    "segments.colours",
    "segments.nearest",
    "segments.regions",
    "vector.arrow",
    "vector.rings",
    "vector.simplify",
    "vector.sweep_kernels",
    "evaluation.scores",
    "model.card",
    "config",
    "files.atomic",
    "raster.ground",
    "raster.header",
    "datasets.dataset",
    "raster.statistics",
    "checks.layout",
    "segments.cells",
    "learning.mixture",
    "checks.polygon_rows",
    "checks.polygons",
    "vector.outlines",
    "vector.sweep",
    "prediction.blend",
    "files.record",
    "learning.checkpoints",
    "outputs.pictures",
    "datasets.potsdam_labels",
    "segments.assignment",
    "segments.connection",
    "outputs.stac",
    "outputs.styles",
    "raster.cog",
    "raster.guards",
    "vector.writer",
    "segments.lattice",
    "raster.sieve",
    "runs.directory",
    "datasets.folders",
    "datasets.reading",
    "evaluation.label_map",
    "model.network",
    "raster.aoi",
    "raster.remote",
    "outputs.names",
    "segments.superpixels",
    "runs.local",
    "datasets.cocostuff_files",
    "evaluation.report",
    "learning.losses",
    "model.file",
    "model.inference",
    "raster.opening",
    "prediction.plan",
    "segments.device",
    "datasets.cocostuff",
    "raster.scene",
    "datasets.orthophotos",
    "datasets.potsdam_files",
    "evaluation.labels",
    "jobs.info",
    "prediction.bands",
    "prediction.predictor",
    "prediction.segmenter",
    "raster.class_raster",
    "datasets.potsdam",
    "evaluation.sources",
    "jobs.superpixels",
    "checks.rasters",
    "checks.maps",
    "vector.polygons",
    "datasets",
    "jobs.evaluate",
    "outputs.polygons",
    "learning.patches",
    "jobs.protocols",
    "checks.results",
    "jobs.polygonize",
    "outputs.map",
    "learning.trainer",
    "jobs.check",
    "jobs.status",
    "jobs.predict",
    "learning.log",
    "learning.loop",
    "jobs.train",
    "__main__",
)

LIGHT = ("errors", "units", "location", "recipes", "config", "classes", "grid")
RASTERIO = ("raster.remote", "raster.opening", "raster.header", "raster.scene", "raster.cog", "raster.aoi")
VECTORS = {
    "pyogrio": ("vector.writer", "checks.polygon_rows"),
    "pyarrow": ("vector.arrow", "geoparquet", "vector.writer", "checks.polygon_rows"),
    "geopandas": ("raster.aoi", "vector.polygons"),
    "fiona": (),
}
HEAVY = ("torch", "rasterio", "numpy", "numba", "torchvision", "skimage", "sklearn", "geopandas")


@cache
def modules() -> dict[str, Path]:
    """Name -> file of every module of the package; `geoseg` is its __init__."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join(parts) or "geoseg"] = path
    return found


@cache
def tree(name: str) -> ast.Module:
    """The parsed module."""
    return ast.parse(modules()[name].read_text(), filename=str(modules()[name]))


def imports(name: str) -> Iterator[str]:
    """Yield the absolute name of everything the module imports, at any depth, TYPE_CHECKING or not."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"geoseg.{name}, line {node.lineno}: imports by an absolute name only"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def rooms(name: str) -> set[str]:
    """The modules of the package that the module imports."""
    found = set()
    for imported in imports(name):
        parts = imported.split(".")
        if parts[0] != "geoseg":
            continue
        if parts[1:2] == ["cli"]:
            found.add("cli")
            continue
        candidates = [".".join(parts[1:n]) for n in range(len(parts), 1, -1)]
        found.add(next((candidate for candidate in candidates if candidate in modules()), "geoseg"))
    return found


def libraries(name: str) -> set[str]:
    """The top-level packages that the module imports."""
    return {imported.split(".")[0] for imported in imports(name)}


def test_every_module_has_its_place() -> None:
    missing = [name for name in modules() if name not in LAYERS]
    assert not missing, f"give {', '.join(missing)} a place in LAYERS of {Path(__file__).name}, left of what imports it"
    gone = [name for name in LAYERS if name not in modules()]
    assert not gone, f"{', '.join(gone)} in LAYERS of {Path(__file__).name} is no module of geoseg"
    assert len(set(LAYERS)) == len(LAYERS)


@pytest.mark.parametrize("name", modules())
def test_imports_go_one_way(name: str) -> None:
    if name not in LAYERS:
        pytest.fail(f"geoseg.{name} has no place in LAYERS of {Path(__file__).name}")
    allowed = set(LAYERS[: LAYERS.index(name)]) | ({"cli"} if name == "__main__" else set())
    wrong = sorted(rooms(name) - allowed)
    assert not wrong, f"geoseg.{name} imports {', '.join(wrong)}, which is right of it in LAYERS"


@pytest.mark.parametrize("name", [name for name in modules() if name != "__main__"])
def test_the_library_neither_prints_nor_knows_click(name: str) -> None:
    assert not {"click", "tqdm", "cli"} & libraries(name)
    printed = [
        node.lineno
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "input")
    ]
    assert not printed, f"geoseg.{name} prints in line {printed[0]}"


@pytest.mark.parametrize("name", modules())
def test_rasterio_stays_in_its_rooms(name: str) -> None:
    assert name in RASTERIO or "rasterio" not in libraries(name)


@pytest.mark.parametrize("name", modules())
def test_vector_libraries_stay_in_their_rooms(name: str) -> None:
    assert not {library for library, allowed in VECTORS.items() if name not in allowed} & libraries(name)


@pytest.mark.parametrize("name", modules())
def test_scikit_learn_stays_in_its_room(name: str) -> None:
    assert name == "learning.mixture" or "sklearn" not in libraries(name)


def test_scikit_learn_is_there_for_a_fit_only() -> None:
    """Importing it takes as long as importing all the rest of training: nobody who predicts should wait for it."""
    outside = [node for node in tree("learning.mixture").body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [node.lineno for node in outside if "sklearn" in ast.unparse(node)]


@pytest.mark.parametrize("name", LIGHT)
def test_light_rooms_stay_light(name: str) -> None:
    assert not set(HEAVY) & libraries(name)
    assert not {room for room in rooms(name) if room not in ("geoseg", *LIGHT)}
