"""The command group, logging, and the one place where errors become exit statuses."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

from geoseg.errors import GeosegError, WriteError
from geoseg.version import __version__

from .bar import erase_bars
from .change import change
from .check import check
from .classes import classes
from .evaluate import evaluate
from .exhaustion import exhaustion
from .export import export
from .finalize import finalize
from .heap import share_one_heap
from .info import info
from .interruption import GRACE_SECONDS, INTERRUPTED, Interruption, is_interruption
from .plan import plan
from .polygonize import polygonize
from .predict import predict
from .processes import is_told_elsewhere
from .progress import DISPLAYS, Display, JsonFormatter, json_line, say_interrupted
from .report import report
from .status import status
from .streams import flush, open_missing, raise_if_lost, reader_left, tell, telling
from .superpixels import superpixels
from .teach import teach
from .terminal import LineFormatter, echo
from .train import train
from .usage import usage_message
from .work import work

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler

_FLAG = re.compile("-[qv]+|--quiet|--verbose|--debug|--version")
_PROGRESS = "--progress"


class _Handler(_StreamHandler):
    """Writes messages above a bar, not into it."""

    def emit(self, record: logging.LogRecord) -> None:
        erase_bars()
        super().emit(record)


class Geoseg(click.Group):
    """The group in which errors become one line and an exit status, under `geoseg` and under `rio` alike."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Accept the group's options before and after the name of the command."""
        try:
            return super().parse_args(ctx, _group_options_first(args))
        except BrokenPipeError:
            if reader_left():
                ctx.exit()
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write nothing: the commands are listed above, in the order of use."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit with the status of its error."""
        as_json = ctx.params["progress"] == "json"
        try:
            returned = super().invoke(ctx)
            raise_if_lost()
            return returned
        except click.UsageError as error:
            if not is_told_elsewhere(error, ctx.invoked_subcommand):
                _say_error(usage_message(error), error.exit_code, as_json)
            ctx.exit(error.exit_code)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except BaseException as error:
            if is_interruption(error):
                if ctx.parent is None:
                    # On a KeyboardInterrupt, click would print an empty line first.
                    raise click.Abort from None
                # Under rio, whose way of telling it is "Aborted!".
                say_interrupted(as_json, silent=ctx.obj["progress"] == "none")
                ctx.exit(INTERRUPTED)
            if isinstance(error, BrokenPipeError) and reader_left():
                # Only click's own help is written without `show`.
                ctx.exit()
            if ctx.params["debug"] or not isinstance(error, Exception):
                raise
            if isinstance(error, GeosegError) and is_told_elsewhere(error, ctx.invoked_subcommand):
                ctx.exit(error.exit_code)
            refused = exhaustion(error, ctx.invoked_subcommand)
            ctx.exit(_report(refused or error, as_json))


@click.group(cls=Geoseg, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "--version", prog_name="geoseg")
@click.option("-v", "--verbose", count=True, help="More messages on standard error; -vv for all.")
@click.option("-q", "--quiet", is_flag=True, help="Only errors on standard error, no progress.")
@click.option(
    "--progress",
    type=click.Choice(DISPLAYS),
    default="auto",
    show_default=True,
    help="How progress is shown on standard error. json prints one object per line, for programs.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def geoseg(context: click.Context, verbose: int, quiet: bool, progress: Display, debug: bool) -> None:
    """From unlabelled orthophotos to a land-cover map that opens, named and coloured, in QGIS.

    \b
    geoseg train --data FOLDER               learn classes from images, without labels
    geoseg predict SCENE --out classes.tif   map a scene of any size
    geoseg classes --help                    name, recolour and merge classes
    geoseg teach --help                      teach a model named classes
    geoseg polygonize CLASSES --out p.gpkg   turn a class raster into polygons
    geoseg change OLD NEW --out change.tif   compare two maps of one place: what became what
    geoseg superpixels SCENE --out s.gpkg    cut a scene into superpixels, as polygons or ids
    geoseg evaluate FILE --labels LABELS     score a model or a map against labels
    geoseg report CLASSES                    show a map and its classes in one HTML file
    geoseg export MODEL --onnx model.onnx    write a model for Deepness in QGIS, and others
    geoseg plan SCENE --out classes.tif      divide a map among machines: then geoseg work, geoseg finalize
    geoseg info FILE                         describe a scene, a model or a map
    geoseg status RUN                        show the progress of an unfinished run
    geoseg check FILE                        check that a file is intact
    """
    open_missing()
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = _Handler(sys.stderr)
    handler.setFormatter(JsonFormatter() if progress == "json" else LineFormatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    for noisy in ("rasterio", "numba", "PIL", "fiona", "pyogrio", "matplotlib", "distributed", "tornado", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL if verbose < 2 else logging.INFO)
    warnings.showwarning = _log_library_warning
    if verbose < 2:
        # Messages of GDAL and libtiff become part of our errors; printed as well, they would be a second line.
        os.environ.setdefault("CPL_LOG", os.devnull)
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    context.ensure_object(dict)
    context.obj.setdefault("command", "the same command")
    context.obj["progress"] = "none" if quiet else progress


for command in (
    train, predict, classes, teach, polygonize, change, superpixels, evaluate, report, export, plan, work, finalize,
    info, status, check,
):  # fmt: skip
    geoseg.add_command(command)


def main(arguments: list[str] | None = None, grace_seconds: float = GRACE_SECONDS) -> None:
    """Run the command line and exit: see `geoseg.errors` for the statuses.

    Args:
        arguments: Arguments of the command line; None uses those of this process, which then exits.
        grace_seconds: Time between a signal and the forced exit; see `geoseg.cli.interruption`.
    """
    if arguments is None:
        share_one_heap()
    open_missing()
    interruption = Interruption(process_ends=arguments is None, grace_seconds=grace_seconds)
    arguments = sys.argv[1:] if arguments is None else arguments
    shared: dict[str, str] = {"command": shlex.join(["geoseg", *arguments])}
    with interruption:
        try:
            status: Any = geoseg.main(arguments, prog_name="geoseg", standalone_mode=False, obj=shared)
        except (click.exceptions.Abort, KeyboardInterrupt):
            status = interruption.exit_status
            say_interrupted(shared.get("progress") == "json", silent=shared.get("progress") == "none")
        except click.UsageError as error:
            # Without arguments, the error is the help of the group.
            if arguments:
                _say_error(usage_message(error), error.exit_code)
            else:
                with telling():
                    error.show()
            status = error.exit_code
        except click.ClickException as error:
            with telling():
                error.show()
            status = error.exit_code
        except OSError as error:
            # Outside of a command, only the help and the version are written.
            status = _report(error, as_json=False)
        flush()
    sys.exit(status if isinstance(status, int) else 0)


def _log_library_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    """Show a warning of a library with -vv only: what a user can act on, geoseg says in its own words."""
    logging.getLogger("geoseg.libraries").debug("%s:%s: %s: %s", filename, lineno, category.__name__, message)


def _group_options_first(args: list[str]) -> list[str]:
    """The arguments with the group's options moved to the front; what follows `--` stays in place."""
    end = args.index("--") if "--" in args else len(args)
    first, rest, words = [], [], iter(args[:end])
    for word in words:
        if _FLAG.fullmatch(word) or word.startswith(f"{_PROGRESS}="):
            first.append(word)
        elif word == _PROGRESS:
            first += [word, *(value for value in [next(words, None)] if value is not None)]
        else:
            rest.append(word)
    return [*first, *rest, *args[end:]]


def _report(error: Exception, as_json: bool) -> int:
    """Print an error on one line; return the exit status."""
    status, message = _explained(error)
    details = error.details if isinstance(error, GeosegError) else ()
    internal = "internal " * (status == GeosegError.exit_code and not isinstance(error, GeosegError))
    _say_error(message, status, as_json, details, f"{internal}error")
    return status


def _say_error(
    message: str, status: int, as_json: bool = False, details: Sequence[str] = (), kind: str = "error"
) -> None:
    if as_json:
        tell(json_line(kind="error", status=status, message=message, details=list(details)))
        return
    for line in (*details, f"geoseg: {kind}: {message}"):
        echo(line, err=True)


def _explained(error: Exception) -> tuple[int, str]:
    """The exit status of an error, and its message on one line."""
    if isinstance(error, GeosegError):
        return error.exit_code, re.sub(r"\s*\n\s+", " ", str(error)).strip()
    if isinstance(error, OSError) and error.strerror:
        return WriteError.exit_code, f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return GeosegError.exit_code, f"{text} (--debug shows where; please report it)"
