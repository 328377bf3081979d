"""SIGINT and SIGTERM: the work stops within seconds, says how to go on, and exits with 130 or 143."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import click

GRACE_SECONDS = 3.5
"""What the work gets to end by itself: a call into a library cannot be interrupted, and may take minutes."""

_STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
_END = b"\0"


class Interruption:
    """Within this context a signal raises KeyboardInterrupt in the main thread, the only one that may use it. Where
    that has not ended the process in time, or at a second signal, the process ends at once: its temporaries are
    removed, and every finished part stays.

    last: the process ends with the context.
    """

    received: ClassVar[signal.Signals] = signal.SIGINT
    hint: ClassVar[Callable[[], str] | None] = None
    told: ClassVar[bool] = False

    def __init__(self, last: bool = False) -> None:
        self._last = last

    def __enter__(self) -> Interruption:
        Interruption.received, Interruption.hint, Interruption.told = signal.SIGINT, None, False
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._handlers = {number: signal.getsignal(number) for number in _STATUS}
        for number, handler in self._handlers.items():
            # Whoever starts a program in the background may have it ignore SIGINT.
            if handler is not signal.SIG_IGN:
                signal.signal(number, _interrupt)
        # The handler waits for the main thread; this is written at once, whatever that thread is at.
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._watcher = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            # All is done and said: a signal while the libraries go must not make it look like a failure.
            signal.signal(number, signal.SIG_IGN if self._last else handler)
        os.write(self._writing, _END)
        self._watcher.join()
        os.close(self._reading)
        os.close(self._writing)

    @property
    def status(self) -> int:
        """The exit status that tells of the signal."""
        return _STATUS[Interruption.received]

    def _watch(self) -> None:
        number = self._next()
        if number is None:
            return
        timer = threading.Timer(GRACE_SECONDS, _end, (number,))
        timer.daemon = True
        timer.start()
        if self._next() is not None:
            _end(number)
        timer.cancel()

    def _next(self) -> signal.Signals | None:
        """Return the next of our signals; None when the context has ended."""
        while True:
            byte = os.read(self._reading, 1)
            if byte in (_END, b""):
                return None
            if byte[0] in _STATUS:
                return signal.Signals(byte[0])


@contextmanager
def resumable(hint: Callable[[], str], quiet: bool) -> Iterator[None]:
    """Within this context an interruption is told with how to go on, by what `hint` returns then."""
    Interruption.hint = None if quiet else hint
    try:
        yield
    except KeyboardInterrupt:
        found, Interruption.hint = Interruption.hint, None
        if found is not None:
            Interruption.told = True
            click.echo(f"interrupted; {found()}", err=True)
        raise
    finally:
        Interruption.hint = None


def _interrupt(number: int, _frame: Any) -> None:
    Interruption.received = signal.Signals(number)
    raise KeyboardInterrupt


def _end(number: signal.Signals) -> None:
    """End the process, whatever its threads are at."""
    hint, Interruption.hint = Interruption.hint, None
    with contextlib.suppress(Exception):
        if hint is not None:
            sys.stderr.write(f"interrupted; {hint()}\n")
        sys.stderr.flush()
    with contextlib.suppress(Exception):
        publish = sys.modules.get("geoseg.files.atomic")
        if publish is not None:
            publish.abandon()
    os._exit(_STATUS[number])
