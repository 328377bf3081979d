"""The command line in one of several processes that train together: the first of them speaks for all."""

from __future__ import annotations

import logging
import shlex

import click

from geoseg.errors import ElsewhereError, SettingError
from geoseg.launch import Launch


def is_told_elsewhere(error: BaseException, command: str | None) -> bool:
    """Return whether another process tells of an error.

    Args:
        error: What ended a command.
        command: Name of the command.
    """
    if isinstance(error, ElsewhereError):
        return True
    # What is wrong with the arguments is wrong in all processes.
    return command == "train" and isinstance(error, click.UsageError | SettingError) and not _is_first()


def fall_silent(context: click.Context) -> None:
    """Show neither progress nor warnings from here on."""
    context.obj["progress"] = "none"
    logging.getLogger().setLevel(logging.ERROR)


def launched(command: str, launch: Launch) -> str:
    """Return the command line with what starts it in several processes, on the shell's command line."""
    if launch.size == 1:
        return command
    arguments = shlex.join(["-m", "geoseg", *shlex.split(command)[1:]])
    machines = f"--nnodes={launch.size // launch.local_size} " if launch.size > launch.local_size else ""
    return f"torchrun {machines}--nproc-per-node={launch.local_size} {arguments}"


def _is_first() -> bool:
    try:
        return Launch.of().first
    except SettingError:
        return True
