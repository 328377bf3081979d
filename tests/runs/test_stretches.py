"""Stretches of blocks: a set of numbers as short text, which is not believed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import geoseg.runs.stretches
from geoseg.runs.stretches import Stretches, gaps, shown


@given(st.lists(st.booleans(), max_size=60))
def test_stretches_are_the_set_of_what_is_marked(marks: list[bool]) -> None:
    wanted = [number for number, marked in enumerate(marks) if marked]
    found = Stretches.of(np.array(marks, np.bool_))
    assert Stretches.parse(str(found)) == found
    assert (list(found), len(found)) == (wanted, len(wanted))
    assert [number in found for number in range(len(marks) + 2)] == [*marks, False, False]
    assert ",".join(shown(gaps((i for i, marked in enumerate(marks) if not marked), len(marks)))) == str(found)


@pytest.mark.parametrize("text", [None, 7, "", "a", "3-1", "4-7,6", "4,4", "-1", "1-2-3", "5,", "1.5", ["1"]])
def test_a_text_that_is_none_of_ours_means_no_block(text: object) -> None:
    assert len(Stretches.parse(text)) == 0


def test_what_would_make_the_manifest_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = np.arange(100) % 2 == 0
    assert len(Stretches.of(marks)) == 50
    monkeypatch.setattr(geoseg.runs.stretches, "_MAX_TEXT", 100)
    assert len(Stretches.of(marks)) == 0
