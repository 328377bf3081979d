"""One row of pixels in a sweep: its runs, their labels, and the sums over their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from geoseg.kernels import compiled
from geoseg.vector.sweep_kernels import (
    BEYOND,
    CONFIDENCE,
    CONFIDENT,
    EDGES,
    FREE_LABELS,
    HOLES,
    LABEL,
    LEFT,
    MERGED,
    NEW,
    NONE,
    PIXELS,
    VALUE,
    WEIGHT,
    find,
)


@compiled
def encode_row(row: Any, places: Any, values: Any) -> int:
    """Write the runs of a row of pixels, and return their number; run 0 lies left of the raster, with value 0.

    row     0 0 7 7 7 5          places[:, LEFT]   .  2  5  6  BEYOND
    run     0 0 1 1 1 2 3        values            0  7  5  0
    """
    count, before = 1, row[0]
    if before != 0:
        places[1, LEFT], values[1], count = 0, before, 2
    for col in range(1, len(row)):
        if row[col] != before:
            before = row[col]
            places[count, LEFT], values[count] = col, before
            count += 1
    if before != 0:
        places[count, LEFT], values[count] = len(row), 0
        count += 1
    places[count, LEFT] = BEYOND
    places[:count, LABEL] = NONE
    places[:count, NEW] = 0
    return count


@compiled
def settle(count: int, places: Any, values: Any, labels: Any, counters: Any) -> None:
    """Give each run of a row the label of its component; labels that were merged into others become free."""
    sums = labels.sums
    for run in range(1, count):
        if values[run] == 0:
            continue
        label: Any = np.int64(places[run, LABEL])
        if label >= 0:
            label = np.int64(find(labels.parents, label))
        else:
            counters[FREE_LABELS] -= 1
            label = np.int64(labels.free[counters[FREE_LABELS]])
            labels.parents[label] = label
            sums[label, :] = 0
            sums[label, VALUE], sums[label, HOLES] = values[run], NONE
        places[run, LABEL] = label
        sums[label, EDGES] += places[run, NEW]
    for k in range(counters[MERGED]):
        labels.free[counters[FREE_LABELS]] = labels.merged[k]
        counters[FREE_LABELS] += 1
    counters[MERGED] = 0


@compiled
def add_pixels(count: int, places: Any, values: Any, sums: Any, weights: Any) -> None:
    """Add the pixels of a row, and their weights, (1,) or (cols,), to the sums of their components."""
    for run in range(1, count):
        if values[run] == 0:
            continue
        label, start, stop = places[run, LABEL], places[run, LEFT], places[run + 1, LEFT]
        sums[label, PIXELS] += stop - start
        if len(weights) == 1:
            sums[label, WEIGHT] += weights[0] * (stop - start)
        else:
            for col in range(start, stop):
                sums[label, WEIGHT] += weights[col]


@compiled
def add_confidence(count: int, places: Any, values: Any, sums: Any, confidence: Any) -> None:
    """Add the confidence (cols,) of the pixels of a row to the sums of their components."""
    for run in range(1, count):
        if values[run] == 0:
            continue
        total = confident = np.int64(0)
        for col in range(places[run, LEFT], places[run + 1, LEFT]):
            total += np.int64(confidence[col])
            confident += confidence[col] != 0
        sums[places[run, LABEL], CONFIDENCE] += total
        sums[places[run, LABEL], CONFIDENT] += confident
