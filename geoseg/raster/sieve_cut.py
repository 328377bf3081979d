"""Regions at the sides where a raster is cut off from a larger one, for the kernels of the sieve."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from geoseg.kernels import compiled, inlined
from geoseg.raster.sieve_regions import root, run_stop


class Cut(NamedTuple):
    """The sides of a raster beyond which there is more that is not known."""

    top: bool = False
    bottom: bool = False
    left: bool = False
    right: bool = False


@compiled
def mark_cut(
    offsets: Any, starts: Any, cols: int, regions: Any, top: bool, bottom: bool, left: bool, right: bool
) -> None:
    """Set cut of the regions with a pixel at a side that is cut off."""
    rows = len(offsets) - 1
    for row in range(rows):
        begin, end = offsets[row], offsets[row + 1]
        for run in range(begin, end):
            at_side = (left and run == begin) or (right and run == end - 1)
            if at_side or (top and row == 0) or (bottom and row == rows - 1):
                regions.cut[root(regions.parents, run)] = True


@compiled
def decide_cut(offsets: Any, starts: Any, regions: Any, contacts: Any, min_area: int, doubtful: Any) -> None:
    """Mark the small regions that wait for nothing but regions at a cut, and unset cut of the latter.

    Small regions that touch each other form a group. Where no later row can change any of them, only regions at a cut
    keep a group from merging.
    """
    parents, count, cols = regions.parents, len(regions.parents), doubtful.shape[1]
    groups, waits = np.arange(count).astype(np.int32), regions.open.copy()
    for region in range(count):
        if _undecided(regions, region, min_area):
            contact = regions.contacts[region, 0]
            while contact >= 0:
                other = root(parents, contacts.runs[contact])
                if other != region and _undecided(regions, other, min_area):
                    one, two = root(groups, region), root(groups, other)
                    groups[max(one, two)] = min(one, two)
                    waits[min(one, two)] |= waits[max(one, two)]
                contact = contacts.following[contact]
    for row in range(len(offsets) - 1):
        end = offsets[row + 1]
        for run in range(offsets[row], end):
            region = root(parents, run)
            if _undecided(regions, region, min_area) and not waits[root(groups, region)]:
                doubtful[row, starts[run] : run_stop(starts, run, end, cols)] = True
    for region in range(count):
        if not waits[root(groups, region)]:
            regions.cut[region] = False


@inlined
def _undecided(regions: Any, region: int, min_area: int) -> bool:
    """Return whether a run is the first of a small region that has not merged and may still do so."""
    small = regions.parents[region] == region and regions.areas[region] < min_area
    return small and regions.values[region] != 0 and not regions.isolated[region]
