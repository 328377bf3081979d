"""geoseg work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from geoseg.config import Shard, WorkConfig
from geoseg.errors import SettingError
from geoseg.location import Location

from .options import LOCATION
from .progress import run_job
from .usage import Command

if TYPE_CHECKING:
    _ShardType = click.ParamType[Shard]
else:  # older releases of click do not subscript it
    _ShardType = click.ParamType


class ShardType(_ShardType):
    """One of several parts: '3/16'."""

    name = "NUMBER/COUNT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Shard:
        """Return the shard."""
        try:
            return value if isinstance(value, Shard) else Shard.parse(str(value))
        except SettingError as error:
            self.fail(str(error), param, ctx)


@click.command(cls=Command)
@click.argument("runs", type=LOCATION, nargs=-1, required=True)
@click.option(
    "--shard", type=ShardType(),
    help="Part of the blocks to compute: 3/16 is the third of 16.  [default: all that nobody else computes]",
)  # fmt: skip
@click.option(
    "--assist",
    is_flag=True,
    help="After the shard is finished, compute blocks of others that nobody has. Needs --shard.",
)
@click.option(
    "--device", metavar="auto|cpu|cuda[:N]|mps", help="Device that the network runs on.  [default: as planned]"
)
@click.option("--workers", type=int, help="Number of threads.  [default: as planned]")
@click.pass_context
def work(context: click.Context, /, runs: tuple[Location, ...], **settings: Any) -> None:
    """Compute blocks of RUNS that geoseg plan wrote, beside any number of other processes.

    A folder stands for all runs in it. Blocks that another process computes are left to it; those of a process that has
    ended are taken over. The same command continues after an interruption. Status 0: all blocks of the shard are
    finished.
    """
    config = WorkConfig(runs, **settings)
    from geoseg.jobs.work import WorkJob

    with WorkJob(config) as job:
        run_job(job, context)
