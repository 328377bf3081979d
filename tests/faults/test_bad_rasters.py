"""Damaged rasters of every codec are read or refused: no signal, no hang, no exception of another kind."""

from __future__ import annotations

import pytest

from faults.bad_rasters import CODECS, FINE, KINDS, REFUSED, damaged, outcomes, sound, table


def _assert_read_or_refused(seeds: int) -> None:
    found = outcomes(range(seeds))
    assert sum(sum(counts.values()) for counts in found.values()) == len(CODECS) * len(KINDS) * seeds
    assert not [counts for counts in found.values() if set(counts) - {FINE, REFUSED}], table(found)
    # What is cut short is never taken for whole.
    assert all(set(found[codec, "truncated"]) == {REFUSED} for codec in CODECS), table(found)


def test_damage_is_what_it_says() -> None:
    for codec in CODECS:
        assert damaged(codec, "flipped", 1) != sound(codec)
        assert len(damaged(codec, "truncated", 1)) < len(sound(codec))
        assert damaged(codec, "zeroed", 1) == damaged(codec, "zeroed", 1)


def test_damaged_rasters_are_read_or_refused() -> None:
    _assert_read_or_refused(2)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_many_damaged_rasters_are_read_or_refused() -> None:
    _assert_read_or_refused(30)
