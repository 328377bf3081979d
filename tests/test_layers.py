"""The packages of geoseg: imports go one way, heavy libraries stay where they belong, and no module grows too long.

One test per rule, over all modules; a failure names every offender.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PACKAGES = (
    "version",
    "lazy",
    "errors",
    "launch",
    "units",
    "location",
    "bands",
    "extras",
    "indices",
    "recipes",
    "config",
    "classes",
    "grid",
    "kernels",
    "files",
    "segments",
    "raster",
    "areas",
    "vector",
    "runs",
    "datasets",
    "model",
    "prediction",
    "learning",
    "outputs",
    "evaluation",
    "naming",
    "checks",
    "jobs",
    "api",
    "geoseg",
    "__main__",
)
"""Packages and top-level modules; each imports only from those above it, and "geoseg" is the package's `__init__`."""

LIGHT = PACKAGES[: PACKAGES.index("kernels")]
"""Top-level modules and packages that import only the standard library and one another."""

ROOMS = {
    "rasterio": (
        "raster.cog",
        "raster.cog_writer",
        "raster.compression",
        "raster.decoding",
        "raster.epoch",
        "raster.extra",
        "raster.header",
        "raster.masks",
        "raster.opening",
        "raster.palette",
        "raster.remote",
        "raster.scene",
        "raster.validity",
    ),
    "pyogrio": (
        "checks.polygon_rows",
        "vector.crs",
        "vector.description",
        "vector.features",
        "vector.readback",
        "vector.tiles",
        "vector.writer",
    ),
    "pyarrow": (
        "areas.geoparquet",
        "areas.reading",
        "checks.polygon_rows",
        "vector.arrow",
        "vector.arrow_arrays",
        "vector.crs",
        "vector.description",
        "vector.features",
        "vector.frames",
        "vector.readback",
        "vector.writer",
    ),
    "geopandas": ("vector.geodataframe",),
    "sklearn": ("learning.mixture",),
    "obstore": ("files.bucket",),
    "onnx": ("model.onnx",),
    "onnxruntime": (),
    "fiona": (),
    "distributed": ("api.make", "jobs.engines", "runs.clusters", "runs.dask", "runs.tasks"),
    "dask": ("runs.clusters",),
}
"""Library -> the only modules that import it."""

LAZY = (
    "PIL", "distributed", "geopandas", "numba", "obstore", "onnx", "pandas", "pyarrow", "pyogrio", "pyproj", "scipy",
    "shapely", "skimage", "sklearn", "segmentation_models_pytorch",
)  # fmt: skip
"""Libraries that not every command needs, imported inside functions or by `geoseg.lazy` only."""

COMPILED_LATE = ("segments.nearest",)
"""Modules that are themselves imported inside functions only, and may import what is in LAZY."""

INTERFACES: dict[str, tuple[str, ...]] = {
    "click": (), "tqdm": ("api.calls",), "geoseg.cli": ("__main__",), "cli": ("__main__",),
}  # fmt: skip
"""What belongs to the command line -> the modules outside of it that import it all the same."""

MAX_LINES = 350


@dataclass(frozen=True)
class Import:
    """One imported name, absolute; lazy: inside a function, or for type checkers only."""

    name: str
    line: int
    lazy: bool

    def within(self, package: str) -> bool:
        """Whether the name is that of `package` or lies in it."""
        return self.name == package or self.name.startswith(f"{package}.")


@cache
def modules() -> dict[str, Path]:
    """Name, without "geoseg.", -> file of every module."""
    found = {}
    for path in sorted((ROOT / "geoseg").rglob("*.py")):
        parts = path.relative_to(ROOT / "geoseg").with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "geoseg"] = path
    return found


@cache
def tree(name: str) -> ast.Module:
    """The parsed module."""
    return ast.parse(modules()[name].read_text(), filename=str(modules()[name]))


@cache
def imports(name: str) -> tuple[Import, ...]:
    """What the module imports, at any depth and under TYPE_CHECKING too."""
    return tuple(_imports(tree(name), lazy=False))


def _imports(node: ast.AST, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            source = "." * child.level + (child.module or "")
            yield from (Import(f"{source}.{alias.name}", child.lineno, lazy) for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for statement in (*child.body, *child.orelse):
                yield from _imports(ast.Module([statement], []), lazy or statement in child.body)
        else:
            yield from _imports(child, lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))


def target(imported: Import) -> str | None:
    """The module of geoseg that an import is of; None for any other, and for those of the command line."""
    if not imported.within("geoseg") or imported.within("geoseg.cli"):
        return None
    parts = imported.name.split(".")
    names = (".".join(parts[1:stop]) for stop in range(len(parts), 1, -1))
    return next((name for name in names if name in modules()), "geoseg")


def package(name: str) -> str:
    """The line of PACKAGES that a module belongs to."""
    return name.split(".")[0]


def places(wrong: Callable[[str, Import], bool]) -> Iterator[str]:
    """Yield "file:line imports name" of every import that is wrong."""
    for name, path in modules().items():
        for imported in imports(name):
            if wrong(name, imported):
                yield f"{path.relative_to(ROOT)}:{imported.line} imports {imported.name}"


def assert_none(offenders: Iterable[str], rule: str) -> None:
    """No module breaks the rule; else the message names all of them."""
    found = list(dict.fromkeys(offenders))
    if found:
        pytest.fail("\n  ".join([f"{rule}:", *found]), pytrace=False)


def test_a_package_imports_only_packages_above_it() -> None:
    def upwards(name: str, imported: Import) -> bool:
        other, known = target(imported), {package(name), package(target(imported) or name)} <= set(PACKAGES)
        if other is None or not known or package(other) == package(name):
            return False
        return PACKAGES.index(package(other)) > PACKAGES.index(package(name))

    assert_none(places(upwards), "a package imports only packages above it in PACKAGES")


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    assert_none(cycles(), "modules import each other in a cycle, within a package too")


def cycles() -> Iterator[str]:
    """Yield a shortest import cycle through each module that lies on one, each cycle once."""
    arrows = {name: {other for each in imports(name) if (other := target(each))} for name in modules()}
    found = set()
    for start in arrows:
        paths, visited = [[start]], {start}
        while paths:
            path = paths.pop(0)
            if start in arrows[path[-1]]:
                if frozenset(path) not in found:
                    yield " -> ".join([*path, start])
                found.add(frozenset(path))
                break
            following = sorted(arrows[path[-1]] - visited)
            visited.update(following)
            paths += [[*path, other] for other in following]


def test_imports_are_absolute() -> None:
    relative = places(lambda _, imported: imported.name.startswith("."))
    assert_none(relative, "the library imports by absolute names")


def test_the_library_neither_prints_nor_knows_the_command_line() -> None:
    def foreign(name: str, imported: Import) -> bool:
        return any(imported.within(other) and name not in allowed for other, allowed in INTERFACES.items())

    prints = (
        f"{path.relative_to(ROOT)}:{node.lineno} prints or reads from the terminal"
        for name, path in modules().items()
        for node in ast.walk(tree(name))
        if (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "input"))
        or (isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr", "sys.stdin"))
    )
    assert_none([*places(foreign), *prints], "printing, click, tqdm and geoseg.cli belong to the command line")


def test_heavy_libraries_stay_in_their_modules() -> None:
    def outside(name: str, imported: Import) -> bool:
        return any(imported.within(library) and name not in allowed for library, allowed in ROOMS.items())

    def hasty(name: str, imported: Import) -> bool:
        if target(imported) in COMPILED_LATE:
            return not imported.lazy
        return name not in COMPILED_LATE and not imported.lazy and any(imported.within(each) for each in LAZY)

    unused = (
        f"geoseg.{name} no longer imports {library}: take it off ROOMS"
        for library, allowed in ROOMS.items()
        for name in allowed
        if name not in modules() or not any(imported.within(library) for imported in imports(name))
    )
    early = (f"{place} outside of functions" for place in places(hasty))
    assert_none([*places(outside), *early, *unused], "heavy libraries are imported in the modules of ROOMS only")


def test_light_modules_stay_light() -> None:
    def heavy(name: str, imported: Import) -> bool:
        room = target(imported)
        known = imported.name.split(".")[0] in sys.stdlib_module_names if room is None else package(room) in LIGHT
        return package(name) in LIGHT and not known

    missing = (f"geoseg.{name} is not there: take it off LIGHT" for name in LIGHT if name not in modules())
    assert_none([*places(heavy), *missing], "light modules import the standard library and one another, nothing else")


def test_every_package_is_installed_and_has_its_place() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        installed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    there = {".".join(path.relative_to(ROOT).parent.parts) for path in modules().values()} | {"geoseg.cli"}
    top = {package(name) for name in modules()}
    offenders = [
        *(f"{name} is missing from `packages` in pyproject.toml" for name in sorted(there - installed)),
        *(f"{name} in pyproject.toml is no package" for name in sorted(installed - there)),
        *(
            f"geoseg.{name} is missing from PACKAGES: put it above what imports it"
            for name in sorted(top - {*PACKAGES})
        ),
        *(f"geoseg.{name} in PACKAGES is not there" for name in sorted({*PACKAGES} - top)),
    ]
    assert_none(offenders, "pyproject.toml and PACKAGES name every package")
    assert len(set(PACKAGES)) == len(PACKAGES)


def test_modules_have_at_most_350_lines() -> None:
    files = modules() | {f"cli.{path.stem}": path for path in (ROOT / "cli").rglob("*.py")}
    lines = {name: len(path.read_text().splitlines()) for name, path in files.items()}
    offenders = (f"{name} has {count} lines" for name, count in lines.items() if count > MAX_LINES)
    assert_none(offenders, f"a module has at most {MAX_LINES} lines; split it by subject")


def test_what_benchmarks_and_examples_import_is_there() -> None:
    missing = []
    for path in sorted([*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "geoseg":
                module = import_module(str(node.module))
                found = {*vars(module), *getattr(module, "__all__", ())}
                missing += [
                    f"{path.relative_to(ROOT)}:{node.lineno}: {node.module}.{alias.name}"
                    for alias in node.names
                    if alias.name not in found
                    and f"{node.module}.{alias.name}".removeprefix("geoseg.") not in modules()
                ]
    assert missing == []
