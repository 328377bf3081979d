"""Values with a unit: an area, and the time when a scene was taken."""

from __future__ import annotations

import calendar
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from geoseg.errors import SettingError

_M2_PER_HA = 10_000


@dataclass(frozen=True)
class Area:
    """An area, on the ground or in the raster.

    Attributes:
        value: A finite number greater than 0.
        unit: 'm2', square metres, or 'px', pixels.

    Raises:
        SettingError: The value or the unit is something else.
    """

    value: float
    unit: Literal["m2", "px"] = "m2"

    def __post_init__(self) -> None:
        if not 0 < self.value < math.inf:
            raise SettingError(f"area is {self.value}; it must be a finite number greater than 0")
        if self.unit not in ("m2", "px"):
            raise SettingError(f"unit of area is {self.unit!r}; choose one of m2, px")

    @classmethod
    def parse(cls, text: str) -> Area:
        """Return the area written as 50, 50m2, 0.5ha or 12px. Without a unit, the number is in square metres.

        Raises:
            SettingError: The text is something else.
        """
        match = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?) ?(m2|m²|ha|px)?", text.strip().lower())
        try:
            if match is None:
                raise ValueError(text)
            value = float(match[1])
            return cls(value, "px") if match[2] == "px" else cls(value * (_M2_PER_HA if match[2] == "ha" else 1))
        except ValueError:
            raise SettingError(f"area is {text!r}; write it as 50, 50m2, 0.5ha or 12px") from None

    def __str__(self) -> str:
        return f"{self.value:g}{self.unit}"


@dataclass(frozen=True)
class Period:
    """A period of time, to the second.

    Attributes:
        start: Its first second, in UTC.
        end: Its last second, in UTC; the same as `start` for an instant.
    """

    start: datetime
    end: datetime

    @classmethod
    def parse(cls, text: str) -> Period:
        """Return the period written as 2020, 2020-07, 2020-07-14, 2020-07-14T10:30:00Z, or two of these with a slash.

        A year, a month or a day stands for all of it. A time without an offset is in UTC.

        Raises:
            SettingError: The text is something else, or the period ends before it starts.
        """
        first, slash, last = text.partition("/")
        try:
            start = _span(first)
            period = cls(start[0], _span(last)[1] if slash else start[1])
        except (ValueError, OverflowError):
            raise SettingError(
                f"datetime is {text!r}; write 2020, 2020-07, 2020-07-14, 2020-07-14T10:30:00Z, or START/END"
            ) from None
        if period.end < period.start:
            raise SettingError(f"datetime is {text!r}; it ends before it starts")
        return period

    @classmethod
    def from_tag(cls, text: str) -> Period | None:
        """Return the instant that a tag of a raster holds, taken as UTC; None if it holds no valid time.

        Args:
            text: A TIFF DateTime, such as 2020:07:14 10:30:00, or GDAL's ACQUISITIONDATETIME.
        """
        match = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d:\d\d:\d\d)", text.strip())
        try:
            return cls.parse("{}-{}-{}T{}Z".format(*match.groups())) if match else None
        except SettingError:
            return None

    def __str__(self) -> str:
        return stamp(self.start) if self.start == self.end else f"{stamp(self.start)}/{stamp(self.end)}"


def stamp(time: datetime) -> str:
    """Format a time in UTC by RFC 3339, to the second: 2020-07-14T10:30:00Z."""
    return time.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _span(text: str) -> tuple[datetime, datetime]:
    """The first and the last second that `text` stands for."""
    text = text.strip().upper()
    match = re.fullmatch(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", text, re.ASCII)
    if match is not None:
        year, month, day = (None if part is None else int(part) for part in match.groups())
        assert year is not None
        start = datetime(year, 1 if month is None else month, 1 if day is None else day, tzinfo=UTC)
        last_month = 12 if month is None else month
        last_day = calendar.monthrange(year, last_month)[1] if day is None else day
        return start, datetime(year, last_month, last_day, 23, 59, 59, tzinfo=UTC)
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(.*)", text, re.ASCII)
    if match is None:
        raise ValueError(text)
    date, minute, second, rest = match.groups()
    # datetime knows no leap second.
    second = ":59" if second == ":60" and minute.endswith("59") else second or ""
    time = datetime.fromisoformat(f"{date}T{minute}{second}{rest}")
    time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
    return time, time
