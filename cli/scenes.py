"""Commands of several scenes: run the job of each, and tell at the end what became of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from geoseg.errors import GeosegError, first_line
from geoseg.location import shown

from .exhaustion import exhaustion
from .interruption import interruption_status, is_interruption
from .progress import json_line, run_job
from .streams import announce, show, tell
from .terminal import echo

if TYPE_CHECKING:
    from collections.abc import Callable

    from geoseg.jobs.blocks import Engine
    from geoseg.jobs.scene_results import SceneResult
    from geoseg.jobs.scenes import Scenes

F = TypeVar("F", bound="Callable[..., Any]")

_ROWS = 40
"""Most scenes that the table at the end lists; of more, only sums are told."""


def scenes_options(function: F) -> F:
    """Add --tree and --json."""
    function = click.option("--json", is_flag=True, help="Print what became of each input as JSON.")(function)
    return click.option(
        "--tree", is_flag=True, help="With a folder as output: keep the folders of the inputs, below their common one."
    )(function)


def stops_all(context: click.Context) -> Callable[[BaseException], bool]:
    """Return the function that says whether an error concerns all scenes: no memory, an interruption, or --debug."""
    command, debug = context.info_name, context.find_root().params.get("debug", False)
    return lambda error: debug or is_interruption(error) or exhaustion(error, command) is not None


def run_scenes(scenes: Scenes[Any], context: click.Context, as_json: bool, engine: Engine | None = None) -> None:
    """Run the jobs of `scenes`, print the paths of outputs, and end as the scenes did.

    Args:
        scenes: The scenes.
        context: Context of the command.
        as_json: Print JSON in place of the paths.
        engine: What computes the blocks of the scenes; None for this process.
    """
    with telling_results(scenes, context, as_json):
        for job in scenes.jobs():
            number = scenes.number_of(job)
            if engine is not None and number is not None:
                job.engine = engine
            with scenes.sparing_others(job), job:
                run_job(job, context)
                if number is not None and not as_json:
                    announce(shown(scenes.outputs(number)[0]))
        for result in () if as_json else scenes.results():
            if result.status == "done before":
                announce(shown(result.outputs[0]))
    scenes.finish()


@contextmanager
def telling_results(scenes: Scenes[Any], context: click.Context, as_json: bool) -> Iterator[None]:
    """When the context ends, in whatever way, tell what became of the scenes."""
    stopped: BaseException | None = None
    try:
        yield
    except BaseException as error:
        stopped = error
        raise
    finally:
        display = context.obj["progress"]
        if len(scenes.scenes) > 1 and display != "none":
            _tell(scenes, as_json=display == "json")
        if as_json:
            ended = (None, None) if stopped is None else _told(stopped, context)
            show(json.dumps(scenes.to_json(*ended), indent=1))


def _told(error: BaseException, context: click.Context) -> tuple[str, int]:
    """What is told of an error that ended the work, and the exit status that it leads to."""
    if is_interruption(error):
        return "interrupted", interruption_status()
    refused = exhaustion(error, context.info_name) or error
    return first_line(refused), refused.exit_code if isinstance(refused, GeosegError) else GeosegError.exit_code


def _tell(scenes: Scenes[Any], as_json: bool) -> None:
    from geoseg.jobs.scene_results import Status

    counts = scenes.counts()
    if counts["not done"] == len(scenes.scenes):
        # An error that concerns all, which is told by itself.
        return
    if as_json:
        tell(json_line(kind="scenes", **{name.replace(" ", "_"): counts[name] for name in get_args(Status)}))
        return
    results = list(scenes.results())
    if len(results) <= _ROWS:
        for line in _table(results):
            echo(line, err=True)
    sums = ", ".join(f"{counts[name]} {name}" for name in get_args(Status) if counts[name])
    pixels = sum(result.pixels or 0 for result in results)
    seconds = sum(result.seconds or 0 for result in results)
    size = f"; {pixels / 1e6:.1f} Mpx in {seconds:.1f} s" if pixels else ""
    echo(f"{len(results)} {scenes.noun}s: {sums}{size}", err=True)


def _table(results: Sequence[SceneResult]) -> Iterator[str]:
    """Yield a line for each scene."""
    rows = [("scene", "status", "Mpx", "seconds")]
    for result in results:
        failed = f"failed ({result.exit_code})" if result.status == "failed" else result.status
        pixels = "" if result.pixels is None else f"{result.pixels / 1e6:.1f}"
        rows.append((result.scene, failed, pixels, "" if result.seconds is None else f"{result.seconds:.1f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, status, pixels, seconds in rows:
        line = f"{name:<{widths[0]}}  {status:<{widths[1]}}  {pixels:>{widths[2]}}  {seconds:>{widths[3]}}"
        yield line.rstrip()
