"""The command group, logging, and the one place where errors become exit statuses."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from typing import Any

import click

from geoseg import __version__
from geoseg.errors import GeosegError, WriteError

from .check import check
from .evaluate import evaluate
from .info import info
from .interruption import GRACE_SECONDS, Interruption
from .polygonize import polygonize
from .predict import predict
from .status import status
from .superpixels import superpixels
from .train import train

_GROUP_OPTIONS = ("-q", "--quiet", "-v", "-vv", "--verbose", "--debug")


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
    geoseg status RUN                        how far an unfinished run is
    geoseg check FILE                        whether it is whole
    """
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    for noisy in ("rasterio", "numba", "PIL", "fiona", "pyogrio", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL if verbose < 2 else logging.INFO)
    if verbose < 2:
        # What GDAL and libtiff have to say goes into our errors; beside them it would be a second line.
        os.environ.setdefault("CPL_LOG", os.devnull)
    context.obj = {"command": "the same command", **(context.obj or {}), "quiet": quiet}


for command in (train, predict, polygonize, superpixels, evaluate, info, status, check):
    geoseg.add_command(command)


def main(arguments: list[str] | None = None, grace_seconds: float = GRACE_SECONDS) -> None:
    """Run the command line and exit: see `geoseg.errors` for the statuses.

    Args:
        arguments: Those of the command line; None takes them from the process, which then ends.
        grace_seconds: Time from a signal to the forced end; see `geoseg.cli.interruption`.
    """
    interruption = Interruption(process_ends=arguments is None, grace_seconds=grace_seconds)
    arguments = sys.argv[1:] if arguments is None else arguments
    with interruption:
        try:
            command = shlex.join(["geoseg", *arguments])
            status: Any = geoseg.main(arguments, prog_name="geoseg", standalone_mode=False, obj={"command": command})
        except (click.exceptions.Abort, KeyboardInterrupt):
            status = interruption.exit_status
            if not interruption.announced and not {"-q", "--quiet"} & set(arguments):
                click.echo("interrupted", err=True)
        except click.ClickException as error:
            if isinstance(error, click.NoSuchOption) and error.option_name in _GROUP_OPTIONS:
                told = f"{error.message} It goes before the command: geoseg {error.option_name} {arguments[0]} ..."
                error = click.NoSuchOption(error.option_name, told, ctx=error.ctx)
            error.show()
            status = error.exit_code
    sys.exit(status if isinstance(status, int) else 0)


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
