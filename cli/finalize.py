"""geoseg finalize."""

from __future__ import annotations

import click

from geoseg.config import FinalizeConfig
from geoseg.location import Location

from .options import LOCATION
from .progress import run_job
from .streams import announce
from .usage import Command


@click.command(cls=Command)
@click.argument("runs", type=LOCATION, nargs=-1, required=True)
@click.option("--keep-run", is_flag=True, help="Keep the run directory with the finished blocks.")
@click.pass_context
def finalize(context: click.Context, /, runs: tuple[Location, ...], keep_run: bool) -> None:
    """Verify all blocks of RUNS and publish their outputs; if blocks are missing, say which.

    A folder stands for all runs in it. A run that cannot be finalised does not stop the others. Status 75:
    blocks are missing.
    """
    config = FinalizeConfig(runs, keep_run)
    from geoseg.jobs.finalize import Finalizations

    work = Finalizations(config)
    for place in work.places:
        with work.sparing_others(place), work.job(place) as job:
            run_job(job, context)
            announce(job.output)
    work.finish()
