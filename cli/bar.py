"""A progress bar of one line that fits the terminal: only whole words of a message are left out."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, TextIO

from .escapes import printable
from .streams import StandardError

if TYPE_CHECKING:
    from geoseg.jobs.job import Progress

_INTERVAL = 0.1
"""Seconds between two drawings."""

_MIN_BAR, _MAX_BAR = 10, 20
_MESSAGE = 37
"""Columns that are left for the message where the bar can be shortened for it."""

_FEW = 20
"""Up to so many units, the first one counts for the estimate; of many, it is the one that compiles and loads."""


_active: list[Bar] = []


def erase_bars() -> None:
    """Make room for other text on the terminal."""
    for bar in _active:
        bar.erase()


class Bar:
    """The bar of one job. A context manager; the line stays when it ends.

    Args:
        stream: Where it is drawn.
    """

    def __init__(self, stream: StandardError | TextIO) -> None:
        self._stream, self._clock = stream, Clock()
        self._line, self._drawn = "", 0.0
        self._full = "\u2588" if "utf" in (stream.encoding or "").lower() else "#"

    def __enter__(self) -> Bar:
        _active.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _active.remove(self)
        if self._line:
            self._draw(self._line)
            self._stream.write("\n")
            self._stream.flush()

    def show(self, event: Progress) -> None:
        """Draw the state after an event; a message that is no description of a step is printed above the bar."""
        self._clock.update(event)
        if event.kind != "step" and event.message:
            self.erase()
            for line in event.message.split("\n"):
                self._stream.write(f"{printable(line)}\n")
        if event.total:
            self._line = self._text(event)
        if event.kind != "step" or time.monotonic() - self._drawn >= _INTERVAL:
            self._draw(self._line)

    def erase(self) -> None:
        """Make room for other text; the next event draws the bar below it."""
        self._stream.write("\r\033[K")
        self._drawn = 0.0

    def _draw(self, line: str) -> None:
        self._stream.write(f"\r\033[K{line}")
        self._stream.flush()
        self._drawn = time.monotonic()

    def _text(self, event: Progress) -> str:
        # A character less than the terminal has, because some begin a new line after the last one.
        width = shutil.get_terminal_size().columns - 1
        counts = f"{event.unit} {event.done}/{event.total} {event.done / event.total:4.0%} "
        times = f" {self._clock.text(event)}"
        length = max(_MIN_BAR, min(_MAX_BAR, width - len(counts) - len(times) - _MESSAGE))
        full = length * event.done // event.total
        line = f"{counts}[{self._full * full}{'.' * (length - full)}]{times}"
        for part in printable(event.message).split(", ") if event.kind == "step" else ():
            if len(line) + len(part) + 2 > width:
                break
            line += f", {part}"
        return line[:width]


class Clock:
    """Estimates the time that a job still needs. Units that an earlier process finished say nothing about it."""

    def __init__(self) -> None:
        self._since, self._before, self._kept = 0.0, 0, 0

    def update(self, event: Progress) -> None:
        """Take note of an event."""
        if event.kind == "start":
            self._kept = event.done
        first = event.kind == "step" and self._before == self._kept and event.total - self._kept > _FEW
        if event.kind == "start" or event.message == "reused" or first:
            self._since, self._before = event.seconds, event.done

    def text(self, event: Progress) -> str:
        """Return the time that has passed and, before the end, the time that is left: "0:31, 2:04 left"."""
        passed, done = event.seconds - self._since, event.done - self._before
        if event.done >= event.total or done <= 0:
            return duration(event.seconds)
        return f"{duration(event.seconds)}, {duration(passed * (event.total - event.done) / done)} left"


def duration(seconds: float) -> str:
    """Return a time as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
