"""The command group, logging, and the one place where errors become exit statuses."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import Any

import click

from geoseg import __version__
from geoseg.errors import GeosegError, WriteError

from .check import check
from .evaluate import evaluate
from .info import info
from .polygonize import polygonize
from .predict import predict
from .superpixels import superpixels
from .train import train

_INTERRUPTED = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Geoseg(click.Group):
    """The group in which errors become one line and an exit status, under `geoseg` and under `rio` alike."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit with the status of its error."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            if ctx.params["debug"]:
                raise
            ctx.exit(_report(error))


@click.group(cls=Geoseg, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "--version", prog_name="geoseg")
@click.option("-v", "--verbose", count=True, help="Say more on standard error; -vv for everything.")
@click.option("-q", "--quiet", is_flag=True, help="Only errors on standard error; no progress.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def geoseg(context: click.Context, verbose: int, quiet: bool, debug: bool) -> None:
    """From unlabelled orthophotos to a land-cover map that opens, named and coloured, in QGIS.

    \b
    geoseg train --data FOLDER               learn classes from imagery, without labels
    geoseg predict SCENE --out classes.tif   map a scene of any size
    geoseg polygonize CLASSES --out p.gpkg   turn a class raster into polygons
    geoseg superpixels SCENE --out s.gpkg    cut a scene into superpixels, polygons or ids
    geoseg evaluate FILE --labels LABELS     score a model or a map against labels
    geoseg info FILE                         what a scene, a model or a map is
    geoseg check FILE                        whether it is whole
    """
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    for noisy in ("rasterio", "numba", "PIL", "fiona", "pyogrio", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL if verbose < 2 else logging.INFO)
    context.obj = {"quiet": quiet}


for command in (train, predict, polygonize, superpixels, evaluate, info, check):
    geoseg.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: see `geoseg.errors` for the statuses."""
    arguments = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, _raise_interrupt)
    try:
        status: Any = geoseg.main(arguments, prog_name="geoseg", standalone_mode=False)
    except click.exceptions.Abort:
        status = _INTERRUPTED[_Interrupt.received]
    except KeyboardInterrupt:
        status = _INTERRUPTED[_Interrupt.received]
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    sys.exit(status if isinstance(status, int) else 0)


class _Interrupt:
    """Which signal ended the work."""

    received: signal.Signals = signal.SIGINT


def _raise_interrupt(number: int, _frame: Any) -> None:
    _Interrupt.received = signal.Signals(number)
    raise KeyboardInterrupt


def _report(error: Exception) -> int:
    """Say in one line what went wrong; return the exit status."""
    if isinstance(error, GeosegError):
        for line in error.details:
            click.echo(line, err=True)
        click.echo(f"geoseg: error: {' '.join(str(error).split())}", err=True)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        # The reader of standard output has enough (a pipe into head): nothing is wrong. Python must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"geoseg: error: {where}{error.strerror}", err=True)
        return WriteError.exit_code
    click.echo(
        f"geoseg: internal error: {type(error).__name__}: {' '.join(str(error).split())} "
        "(--debug shows where; please report it)",
        err=True,
    )
    return 70
