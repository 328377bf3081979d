"""Every error that geoseg raises deliberately.

    GeosegError
    ├── SettingError (ValueError)             78  a setting, or a combination of settings, that cannot work
    ├── InputMissingError (FileNotFoundError) 66  there is nothing at a path
    ├── InputError (ValueError)               65  a file that is not what it should be
    │   └── BandError                         65  the bands of a scene do not match those of the model
    ├── UnavailableError (RuntimeError)       69  a device or a service that is not available
    ├── DivergedError (ArithmeticError)       70  training collapsed, or its numbers are no longer finite
    ├── ResourceError (RuntimeError)          71  the system refuses memory, threads or open files
    ├── OutputError (OSError)                 73  an output that cannot be created or must not be replaced
    ├── WriteError (OSError)                  74  the disk or the file system failed
    ├── LockedError (RuntimeError)            75  another process is at work on the same output; try later
    │   └── IncompleteError                   75  blocks of a run are missing that other processes compute
    ├── RunError (RuntimeError)               78  a run directory of another scene, model or setting
    └── ElsewhereError                            another process of the same work failed: its status

The number is the exit status of the command line (sysexits.h); 2 is wrong usage, 130 and 143 are signals. A message is
one line: the path, what is wrong, and the way out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class GeosegError(Exception):
    """Base class of every error that geoseg raises deliberately.

    Attributes:
        exit_code: Exit status of the command line.
        details: Lines to print before the message, where one thing is wrong in many places.
    """

    exit_code = 70
    details: tuple[str, ...] = ()


class SettingError(GeosegError, ValueError):
    """A setting, or a combination of settings, cannot work."""

    exit_code = 78


class InputMissingError(GeosegError, FileNotFoundError):
    """There is nothing at the given path."""

    exit_code = 66


class InputError(GeosegError, ValueError):
    """A file exists but is not what it should be."""

    exit_code = 65


class BandError(InputError):
    """The bands of a scene do not match those that are needed."""


class UnavailableError(GeosegError, RuntimeError):
    """A requested device or service is not available."""

    exit_code = 69


class DivergedError(GeosegError, ArithmeticError):
    """Training collapsed to few classes, or its numbers are no longer finite."""

    exit_code = 70


class ResourceError(GeosegError, RuntimeError):
    """The system refuses memory, a thread, or another open file."""

    exit_code = 71


class OutputError(GeosegError, OSError):
    """An output cannot be created or must not be replaced."""

    exit_code = 73


class WriteError(GeosegError, OSError):
    """The disk or the file system failed while an output was written."""

    exit_code = 74


class LockedError(GeosegError, RuntimeError):
    """Another process is at work on the same output."""

    exit_code = 75


class IncompleteError(LockedError):
    """Blocks of a run are missing, which other processes compute."""


class RunError(GeosegError, RuntimeError):
    """A run directory belongs to another scene, model or setting."""

    exit_code = 78


class ElsewhereError(GeosegError):
    """Another process of the same work failed, and tells why.

    Args:
        exit_code: The exit status of that process.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__("another process of this work failed, and tells why")
        self.exit_code = exit_code


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class name where it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def raise_together(errors: Mapping[Any, GeosegError], summary: str) -> None:
    """Raise one error for several things that failed, if there are any.

    Its details have one line for each, and its status is theirs; if their statuses differ, it is an InputError.

    Args:
        errors: What failed -> its error.
        summary: The message.
    """
    if not errors:
        return
    found = list(errors.values())
    kind = type(found[0]) if len({error.exit_code for error in found}) == 1 else InputError
    raised = kind(summary)
    raised.details = tuple(named(name, error) for name, error in errors.items())
    raise raised


def named(name: Any, error: GeosegError) -> str:
    """Return the message of an error on one line, with the name of what it belongs to."""
    text = " ".join(str(error).split())
    return text if str(name) in text else f"{name}: {text}"
