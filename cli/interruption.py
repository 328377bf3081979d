"""What happens on Ctrl-C (SIGINT) and on SIGTERM; on Windows also on Ctrl-Break, and when the console is closed.

1. The signal raises KeyboardInterrupt in the main thread, as soon as that thread runs Python code. If it is inside a
   call of GDAL or torch, that call finishes first.
2. `resumable` prints one line: what is kept, and the command that continues the work. On the way out, temporary files
   are removed and locks released; finished blocks and checkpoints stay.
3. `main` exits with status 130 (SIGINT) or 143 (SIGTERM, and SIGBREAK of Windows, which is what a program can send
   there: SIGTERM ends the process at once).

A library call may take minutes, and must not delay this. So a second thread, the watcher, is woken by the signal at the
same moment, whatever the main thread is doing. If steps 1 to 3 take longer than `GRACE_SECONDS`, or if another signal
arrives, then

4. the watcher prints the line of step 2 unless it was printed already, removes the temporary files of this process, and
   ends the process with the same status (os._exit).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .streams import tell

GRACE_SECONDS = 3.5
"""Time from the signal to the forced end, in seconds."""

INTERRUPTED = 130
"""Exit status after SIGINT."""

_EXIT_STATUS = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: 143}
if hasattr(signal, "SIGBREAK"):
    _EXIT_STATUS[signal.SIGBREAK] = 143
_NO_MORE_SIGNALS = b"\0"
"""Written to the watcher's pipe, which otherwise gets the number of each signal."""


@dataclass
class _State:
    """What the signal handler, the watcher and `resumable` share; signal handlers belong to the process.

    Attributes:
        received: The signal that arrived, SIGINT until then.
        hint: Returns the line that says what is kept and how to continue; None if nothing is to be printed, or it was
            printed already.
        announced: Whether the interruption was printed.
    """

    received: signal.Signals = signal.SIGINT
    hint: Callable[[], str] | None = None
    announced: bool = False

    def take_hint(self) -> Callable[[], str] | None:
        """Return the hint and clear it, so that it is printed once."""
        hint, self.hint = self.hint, None
        return hint


_state = _State()


class Interruption:
    """A context in which SIGINT and SIGTERM end the work as described at the top of this module.

    Only the main thread may enter it.

    Args:
        process_ends: The process exits right after the context, so signals stay ignored then.
        grace_seconds: Time that the work has to end by itself.
    """

    def __init__(self, process_ends: bool = False, grace_seconds: float = GRACE_SECONDS) -> None:
        self._process_ends, self._grace_seconds = process_ends, grace_seconds

    def __enter__(self) -> Interruption:
        _state.received, _state.hint, _state.announced = signal.SIGINT, None, False
        self._reader, self._writer = os.pipe()
        if hasattr(os, "set_blocking"):  # Windows has it for pipes from Python 3.12 on, and does without.
            os.set_blocking(self._writer, False)
        self._handlers = {number: signal.getsignal(number) for number in _EXIT_STATUS}
        for number, handler in self._handlers.items():
            # A shell that starts a program in the background may have it ignore SIGINT; that stays so.
            if handler is not signal.SIG_IGN:
                signal.signal(number, _raise)
        # Python runs the handler once the main thread is free; the number is written to the pipe at once.
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._watcher = threading.Thread(target=self._watch, name="signals", daemon=True)
        # Without a thread to be had, a signal still ends the work, but not in the middle of a library call.
        self._watching = _starts(self._watcher)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            # The work is done: a signal while the libraries shut down must not look like a failure.
            signal.signal(number, signal.SIG_IGN if self._process_ends else handler)
        os.write(self._writer, _NO_MORE_SIGNALS)
        if self._watching:
            self._watcher.join()
        os.close(self._reader)
        os.close(self._writer)

    @property
    def exit_status(self) -> int:
        """The exit status after the signal that arrived: 130 or 143."""
        return interruption_status()

    def _watch(self) -> None:
        number = self._next_signal()
        if number is None:
            return
        timer = threading.Timer(self._grace_seconds, _exit_now, (number,))
        timer.daemon = True
        _starts(timer)
        if self._next_signal() is not None:
            _exit_now(number)
        timer.cancel()

    def _next_signal(self) -> signal.Signals | None:
        """Wait for SIGINT or SIGTERM and return it; None if the context ends first."""
        while True:
            byte = os.read(self._reader, 1)
            if byte in (_NO_MORE_SIGNALS, b""):
                return None
            if byte[0] in _EXIT_STATUS:
                return signal.Signals(byte[0])


def interruption_status() -> int:
    """Return the exit status after the signal that arrived last: 130 or 143."""
    return _EXIT_STATUS[_state.received]


def take_announcement() -> bool:
    """Return whether the interruption is still to be printed; from then on, it counts as printed."""
    due, _state.announced = not _state.announced, True
    return due


@contextmanager
def resumable(hint: Callable[[], str] | None) -> Iterator[None]:
    """Print a line if the work in this context is interrupted.

    Args:
        hint: Called on an interruption; returns the line, which says what is kept and how to continue. None prints
            nothing.
    """
    _state.hint, _state.announced = hint, False
    try:
        yield
    except BaseException as error:
        if not is_interruption(error):
            raise
        found = _state.take_hint()
        if found is not None:
            _state.announced = True
            tell(found())
        raise KeyboardInterrupt from None
    finally:
        _state.hint = None


def is_interruption(error: BaseException | None) -> bool:
    """Return whether an error is a KeyboardInterrupt, or was caused by one.

    If the signal handler runs inside a call of a C extension that does not expect exceptions, such as numba's
    dispatcher, Python raises a SystemError whose cause is the KeyboardInterrupt.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def _starts(thread: threading.Thread) -> bool:
    """Start a thread; return whether the system allowed it."""
    try:
        thread.start()
    except RuntimeError:
        return False
    return True


def _raise(number: int, _frame: Any) -> None:
    _state.received = signal.Signals(number)
    raise KeyboardInterrupt


def _exit_now(number: signal.Signals) -> None:
    """End the process, whatever its other threads are doing."""
    hint = _state.take_hint()
    with contextlib.suppress(Exception):
        if hint is not None:
            sys.stderr.write(f"{hint()}\n")
        sys.stderr.flush()
    with contextlib.suppress(Exception):
        # A command that has written nothing has not imported it.
        atomic = sys.modules.get("geoseg.files.atomic")
        if atomic is not None:
            atomic.abandon()
    os._exit(_EXIT_STATUS[number])
