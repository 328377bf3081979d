"""When something was taken: what is written is what is meant, to the second, in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import SettingError
from geoseg.units import Area, Period, stamp


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2020-07-14T10:30:00Z", "2020-07-14T10:30:00Z"),
        ("2020-07-14T10:30:00", "2020-07-14T10:30:00Z"),
        ("2020-07-14T10:30", "2020-07-14T10:30:00Z"),
        ("2020-07-14T10:30:59.9Z", "2020-07-14T10:30:59Z"),
        ("2020-07-14T10:30:00+02:00", "2020-07-14T08:30:00Z"),
        ("2020-07-14", "2020-07-14T00:00:00Z/2020-07-14T23:59:59Z"),
        ("2020-02", "2020-02-01T00:00:00Z/2020-02-29T23:59:59Z"),
        ("2020-12", "2020-12-01T00:00:00Z/2020-12-31T23:59:59Z"),
        ("2020-08-31", "2020-08-31T00:00:00Z/2020-08-31T23:59:59Z"),
        ("2020-02-29", "2020-02-29T00:00:00Z/2020-02-29T23:59:59Z"),
        ("2021-01-29", "2021-01-29T00:00:00Z/2021-01-29T23:59:59Z"),
        ("2020-12-31", "2020-12-31T00:00:00Z/2020-12-31T23:59:59Z"),
        ("2021-12", "2021-12-01T00:00:00Z/2021-12-31T23:59:59Z"),
        ("2020", "2020-01-01T00:00:00Z/2020-12-31T23:59:59Z"),
        ("2020-05/2020-09", "2020-05-01T00:00:00Z/2020-09-30T23:59:59Z"),
        ("2020-07-14T10:30:00Z/2020-07-14", "2020-07-14T10:30:00Z/2020-07-14T23:59:59Z"),
        ("2020-07-14 10:30:00", "2020-07-14T10:30:00Z"),
        ("2020-07-14t10:30:00z", "2020-07-14T10:30:00Z"),
        ("2020-07-14T10:30:00,5Z", "2020-07-14T10:30:00Z"),
        ("2020-07-14T10:30+0530", "2020-07-14T05:00:00Z"),
        ("2020-12-31T23:30-02:00", "2021-01-01T01:30:00Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
        ("2020-08-31/2020-09-30", "2020-08-31T00:00:00Z/2020-09-30T23:59:59Z"),
        ("9999", "9999-01-01T00:00:00Z/9999-12-31T23:59:59Z"),
        (" 2020 / 2021 ", "2020-01-01T00:00:00Z/2021-12-31T23:59:59Z"),
    ],
)
def test_a_period_reads_as_it_is_meant(text: str, meant: str) -> None:
    assert str(Period.parse(text)) == meant


@pytest.mark.parametrize("year", [2020, 2021])
def test_every_day_of_a_leap_year_and_of_a_common_year_is_a_day(year: int) -> None:
    first, following = date(year, 1, 1), date(year + 1, 1, 1)
    for number in range((following - first).days):
        day = first + timedelta(days=number)
        assert str(Period.parse(day.isoformat())) == f"{day}T00:00:00Z/{day}T23:59:59Z"
        assert str(Period.parse(f"{day}/{day + timedelta(days=1)}")).startswith(f"{day}T00:00:00Z/")
        if (day + timedelta(days=1)).day == 1:
            assert str(Period.parse(f"{day:%Y-%m}")) == f"{day:%Y-%m}-01T00:00:00Z/{day}T23:59:59Z"
            with pytest.raises(SettingError):
                Period.parse(f"{day:%Y-%m}-{day.day + 1}")


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))
def test_an_instant_comes_back(time: datetime) -> None:
    instant = Period(time.replace(microsecond=0, tzinfo=UTC), time.replace(microsecond=0, tzinfo=UTC))
    assert Period.parse(str(instant)) == instant
    assert Period.parse(f"{stamp(time)}/{stamp(time)}") == instant


@pytest.mark.parametrize(
    "text",
    ["", "/", "2020/", "/2020", "yesterday", "14.7.2020", "2020-13", "2020-02-30", "20", "2020-7", "0000",
     "2020-07-14T25:00:00Z", "2020-07-14T10:30:60Z", "2020-07-14T10", "2020/2021/2022", "2021/2020", "1900-02-29",
     "2021-04-31", "2021-06-31/2021-07", "2020-W10-1", "2020-00-01", "2020-01-00",
     "\u0662\u0660\u0662\u0660", "0001-01-01T00:00+02:00"],
)  # fmt: skip
def test_what_is_no_time_is_refused_and_named(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        Period.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("tag", "meant"),
    [
        ("2020:07:14 10:30:00", "2020-07-14T10:30:00Z"),
        ("2020-07-14 10:30:00", "2020-07-14T10:30:00Z"),
        ("2020-07-14T10:30:00.25Z", "2020-07-14T10:30:00Z"),
        ("0000:00:00 00:00:00", "None"),
        ("    :  :     :  :  ", "None"),
        ("2020:02:30 10:30:00", "None"),
        ("", "None"),
        ("July", "None"),
    ],
)
def test_a_tag_is_an_instant_or_none(tag: str, meant: str) -> None:
    assert str(Period.from_tag(tag)) == meant


@pytest.mark.parametrize(
    ("text", "area"),
    [("50", Area(50)), ("50 m²", Area(50)), ("0.5ha", Area(5000)), ("2 HA", Area(20_000)), ("12px", Area(12, "px"))],
)
def test_areas_have_units(text: str, area: Area) -> None:
    assert Area.parse(text) == area


@pytest.mark.parametrize("text", ["", "ha", "-1ha", "1km2", "1 2", "0px"])
def test_other_areas_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match="area is"):
        Area.parse(text)
