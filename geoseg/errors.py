"""Every error geoseg raises on purpose.

    GeosegError
    ├── SettingError (ValueError)            78  a setting or a combination of settings that cannot work
    ├── InputMissingError (FileNotFoundError) 66  nothing at that path
    ├── InputError (ValueError)              65  a file that is not what it should be
    │   └── BandError                        65  the bands of a scene and of a model do not match
    ├── UnavailableError (RuntimeError)      69  a device or service that is not here
    ├── DivergedError (ArithmeticError)      70  training collapsed or left the finite numbers
    ├── OutputError (OSError)                73  an output that cannot or must not be created
    ├── WriteError (OSError)                 74  the disk failed while writing
    ├── LockedError (RuntimeError)           75  another process is at work there; try later
    └── RunError (RuntimeError)              78  a run directory that belongs to something else

The number is the exit status the command line ends with (sysexits.h); 2 is wrong usage, 130 and 143
are signals. A message is one line: the path, what is wrong, and the way out.
"""

from __future__ import annotations


class GeosegError(Exception):
    """Base of every error geoseg raises on purpose; `exit_code` is its exit status.

    details: lines to show before the message, where one thing is wrong in many places.
    """

    exit_code = 70
    details: tuple[str, ...] = ()


class SettingError(GeosegError, ValueError):
    """A setting, or a combination of settings, that cannot work."""

    exit_code = 78


class InputMissingError(GeosegError, FileNotFoundError):
    """There is nothing at the path that was given."""

    exit_code = 66


class InputError(GeosegError, ValueError):
    """A file that exists but is not what it should be."""

    exit_code = 65


class BandError(InputError):
    """The bands of a scene do not match what is needed."""


class UnavailableError(GeosegError, RuntimeError):
    """A device or a service that was asked for is not available here."""

    exit_code = 69


class DivergedError(GeosegError, ArithmeticError):
    """Training collapsed to few classes or left the finite numbers."""

    exit_code = 70


class OutputError(GeosegError, OSError):
    """An output that cannot be created, or that must not be replaced."""

    exit_code = 73


class WriteError(GeosegError, OSError):
    """Writing began and the disk or the file system failed."""

    exit_code = 74


class LockedError(GeosegError, RuntimeError):
    """Another process is at work on the same output."""

    exit_code = 75


class RunError(GeosegError, RuntimeError):
    """A run directory that belongs to another scene, model or setting."""

    exit_code = 78


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class name where it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
