"""Options that several commands share, and parameter types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from geoseg.bands import Bands, parse_bands
from geoseg.config import Engine, Opening, Precision, PredictConfig
from geoseg.errors import InputError, OutputError, SettingError
from geoseg.extras import Extra, parse_extra
from geoseg.location import Location, Remote, locate
from geoseg.units import Area, Period

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    _BandType = click.ParamType[Bands]
    _AreaType = click.ParamType[Area]
    _PeriodType = click.ParamType[Period]
    _LocationType = click.ParamType[Location]
    _ExtraType = click.ParamType[Extra]
else:  # older releases of click do not subscript it
    _BandType = _AreaType = _PeriodType = _LocationType = _ExtraType = click.ParamType


class BandList(_BandType):
    """Band numbers counted from 1, or names: '4,3,2', 'red,green,blue'."""

    name = "BAND[,BAND...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Bands:
        """Return numbers and names as a tuple."""
        return value if isinstance(value, tuple) else parse_bands(str(value))


class ExtraType(_ExtraType):
    """A raster that adds bands: 'dsm.tif', a folder, or either with a name, 'dsm=tile_7.tif'."""

    name = "[NAME=]PATH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Extra:
        """Return the raster and its name."""
        _refuse_empty(value, param)
        return value if isinstance(value, Extra) else parse_extra(str(value))


class AreaType(_AreaType):
    """An area with its unit: '50', '50m2', '0.5ha' or '12px'."""

    name = "AREA"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Area:
        """Return the area."""
        try:
            return value if isinstance(value, Area) else Area.parse(str(value))
        except SettingError as error:
            self.fail(str(error), param, ctx)


class PeriodType(_PeriodType):
    """A time or a period: '2020', '2020-07-14', '2020-07-14T10:30:00Z', 'START/END'."""

    name = "TIME[/TIME]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Period:
        """Return the period."""
        try:
            return value if isinstance(value, Period) else Period.parse(str(value))
        except SettingError as error:
            self.fail(str(error), param, ctx)


class LocationType(_LocationType):
    """A path or, with --allow-remote, a URL."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        """Return a Path, or a Remote for a URL."""
        _refuse_empty(value, param)
        return value if isinstance(value, Path | Remote) else locate(str(value))


class PathType(click.Path):
    """A path; an empty one, as an unset variable leaves it, is an error and not the working directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a Path."""
        _refuse_empty(value, param)
        return super().convert(value, param, ctx)


def _refuse_empty(value: Any, param: click.Parameter | None) -> None:
    if value == "":
        name = max(param.opts, key=len) if param is not None else "path"
        kind = OutputError if name in _OUTPUTS else InputError
        raise kind(f"{name}: is empty; give a path")


_OUTPUTS = (
    "--out",
    "--output",
    "--confidence",
    "--polygons",
    "--picture",
    "--areas",
    "--next",
    "--run",
    "--onnx",
    "--mlm",
)

PATH = PathType(path_type=Path)
LOCATION = LocationType()


def opening_options(function: F) -> F:
    """Add --allow-vrt, --allow-remote, --max-pixels, --page and --nodata."""
    options = (
        click.option(
            "--allow-vrt", is_flag=True, help="Accept GDAL VRTs whose sources are in the same folder or below it."
        ),
        click.option(
            "--allow-remote", is_flag=True, help="Accept remote GeoTIFFs: https://, s3://, gs://, az://, zip+file://."
        ),
        click.option(
            "--max-pixels",
            type=int,
            default=Opening.max_pixels,
            show_default=True,
            help="Refuse rasters with more pixels.",
        ),
        click.option("--page", type=int, help="Page of a multi-page TIFF, counted from 1.  [default: the first]"),
        click.option(
            "--nodata", type=float, help="Value of invalid pixels.  [default: the value declared in the file]"
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def sld_option(function: F) -> F:
    """Add --sld."""
    return click.option("--sld", is_flag=True, help="Also write the style as SLD, for GeoServer and others.")(function)


def areas_option(function: F) -> F:
    """Add --areas."""
    return click.option(
        "--areas", type=PATH,
        help="Also write a table of the areas of classes to this CSV file: pixels, hectares on the ground, per cent.",
    )(function)  # fmt: skip


def min_area_option(function: F) -> F:
    """Add --min-area."""
    return click.option(
        "--min-area", type=AreaType(),
        help="Merge smaller regions into the neighbour with the longest common edge: 50 or 50m2 (square metres), 12px.",
    )(function)  # fmt: skip


def bands_option(function: F) -> F:
    """Add -b, --bands."""
    return click.option(
        "-b", "--bands", type=BandList(), default=None,
        help="Bands to use, by number from 1 or by name, in this order: 4,3,2 or red,green,blue. Required for more "
        "than four bands.  [default: all bands except alpha]",
    )(function)  # fmt: skip


def extra_option(function: F) -> F:
    """Add --extra."""
    return click.option(
        "--extra", type=ExtraType(), multiple=True,
        help="Raster whose bands are added to those of the images, such as a surface model, resampled to their pixels; "
        "or a folder of them, one for each image. Can be repeated.",
    )(function)  # fmt: skip


def rescale_option(function: F) -> F:
    """Add --rescale."""
    return click.option(
        "--rescale", is_flag=True,
        help="Map the values of each band onto the range that the model learnt from, by 2nd and 98th percentiles: for "
        "scenes of another pixel type, or in other units.",
    )(function)  # fmt: skip


def device_options(function: F) -> F:
    """Add --device and --precision."""
    function = click.option(
        "--precision", type=click.Choice(get_args(Precision)), default="auto", show_default=True,
        help="Arithmetic of the network. bfloat16 is about twice as fast; auto uses it where the hardware supports it.",
    )(function)  # fmt: skip
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda[:N]|mps",
        help="Device that the network runs on.",
    )(function)


def block_size_option(function: F) -> F:
    """Add --block-size."""
    return click.option(
        "--block-size", type=int, default=PredictConfig.block_size, show_default=True,
        help="Side of a block in pixels, a multiple of 512. It affects memory, not the result.",
    )(function)  # fmt: skip


def assume_crs_option(function: F) -> F:
    """Add --assume-crs."""
    return click.option("--assume-crs", metavar="CRS", help="CRS of a raster that has none: EPSG:25832, or WKT.")(
        function
    )


def overwrite_option(function: F) -> F:
    """Add --overwrite."""
    return click.option("--overwrite", is_flag=True, help="Replace existing outputs.")(function)


def run_options(function: F) -> F:
    """Add --run, --keep-run and --restart."""
    function = click.option(
        "--restart", is_flag=True, help="Discard the finished blocks of an interrupted run and start over."
    )(function)
    function = click.option("--keep-run", is_flag=True, help="Keep the run directory with the finished blocks.")(
        function
    )
    return click.option(
        "--run", type=LOCATION,
        help="Run directory, which holds the finished blocks until the outputs are published.  [default: beside the "
        "output]",
    )(function)  # fmt: skip


def engine_options(function: F) -> F:
    """Add --engine, --workers, --threads, --scheduler, --scheduler-file and the options of TLS."""
    options = (
        click.option(
            "--engine", type=click.Choice(get_args(Engine)), default=PredictConfig.engine, show_default=True,
            help="What computes the blocks: local, threads of this process; dask, worker processes of a Dask cluster.",
        ),
        click.option(
            "--workers", type=int,
            help="Number of threads; in predict on a CPU, each computes one window.  [default: number of cores, at "
            "most 8] With --engine dask, number of processes on this machine.  [default: number of cores, divided by "
            "--threads, or number of GPUs]",
        ),
        click.option(
            "--threads", type=int,
            help="Threads of each worker of --engine dask.  [default: 1; with a GPU, number of cores, at most 16]",
        ),
        click.option(
            "--scheduler", metavar="ADDRESS",
            help="Scheduler of a Dask cluster that runs already: tcp://host:8786 or tls://host:8786.",
        ),
        click.option("--scheduler-file", type=PATH, help="File that such a scheduler wrote, instead of its address."),
        click.option("--tls-ca-file", type=PATH, help="Authority of the cluster's certificates, for tls://."),
        click.option("--tls-cert", type=PATH, help="Certificate to show to the scheduler."),
        click.option("--tls-key", type=PATH, help="Key of that certificate, if it is not in the same file."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function
