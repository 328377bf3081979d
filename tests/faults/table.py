"""Every trial of the long form, row by row; run by the soak tests and by `python benchmarks/faults`."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from faults.bad_models import flips, refusals
from faults.cases import CASES, Bench, Case, Tally
from faults.interference import at_once, damaged_parts, neighbours, planted, stops
from faults.trials import ERRORS, crashes, failures, full_disks, kills, limited, losses, points

PREDICT, IDS, CUT, POLYGONS, FLAT, CHANGE, TRAIN = CASES
"""The commands: predict with every output, superpixels to a raster and a GeoPackage, polygonize to a GeoPackage and a
FlatGeobuf, change, train."""

SHARES = (0, 0.02, 0.1, 0.3, 0.6, 0.94)
"""Limits on the size of files, as shares of the largest output."""

DISKS = (4, 64, 160, 280)
"""Sizes of file systems in KiB."""

MOMENTS = (("start", 1), ("part", 1), ("forward", 2), ("copy", 1), ("layer", 1))
"""When a signal arrives: at the start, after a part, in the network, in the COG copy, while polygons are written."""

WITHIN = 5.0
"""Seconds that a process may take to end after a signal."""

LONG = 12.0
"""Seconds that an interrupted call spends in C code, as the copy of a large raster does."""


@dataclass(frozen=True)
class Row:
    """A row: its name, what is done, and the function that runs the trials."""

    test: str
    done: str
    trials: Callable[[Bench], Tally]


def discarding(bench: Bench, case: Case) -> list[tuple[int, str]]:
    """Return the points at the end of a run, when all outputs are in place and the run directory is being deleted.

    The last one is the removal of the marker file that says that the run is unfinished.
    """
    last, every = len(bench.operations(case)), bench.whole(case)[1].operations
    mark = max(n for n, name in enumerate(every, 1) if name.startswith("unlink ") and name.endswith("/.placing"))
    return [(n, when) for n, when in points(every) if last < n < mark or (n == mark and when == "before")]


def _crashes(*cases: Case, old: bool = False) -> Callable[[Bench], Tally]:
    return lambda bench: _sum(crashes(bench, case, points(bench.operations(case)), old) for case in cases)


def _failures(*cases: Case, every: bool = True, old: bool = True) -> Callable[[Bench], Tally]:
    def run(bench: Bench) -> Tally:
        tally = Tally()
        for case in cases:
            numbers = range(1, len(bench.operations(case)) + 1)
            errors = itertools.cycle(ERRORS)
            chosen = itertools.product(numbers, ERRORS) if every else zip(numbers, errors, strict=False)
            tally.add(failures(bench, case, chosen, old))
        return tally

    return run


def _sum(tallies: Iterator[Tally]) -> Tally:
    tally = Tally()
    for each in tallies:
        tally.add(each)
    return tally


ROWS = (
    Row("crash points of predict", "exit at every operation; the same command again", _crashes(PREDICT)),
    Row("crash points over an old map", "the same with --overwrite, old files there", _crashes(PREDICT, old=True)),
    Row("crash points of superpixels", ".tif and .gpkg", _crashes(IDS, CUT)),
    Row("crash points of polygonize", ".gpkg and .fgb, with --overwrite", _crashes(POLYGONS, FLAT)),
    Row("crash points of change", "with polygons and --min-area, over old files", _crashes(CHANGE)),
    Row("crash points of train", "then with --resume", _crashes(TRAIN)),
    Row("crash points of train over an old model", "--overwrite, then --resume", _crashes(TRAIN, old=True)),
    Row(
        "crash points of the tidying", "exit while the run directory is deleted",
        lambda bench: _sum(crashes(bench, case, discarding(bench, case)) for case in (PREDICT, IDS, CUT)),
    ),
    Row(
        "lost writes", "the second half of each raster and layer is zeros",
        lambda bench: _sum(losses(bench, case) for case in (PREDICT, IDS, CUT, POLYGONS, FLAT)),
    ),
    Row("random SIGKILL", "50 kills at random times", lambda bench: kills(bench, PREDICT, 50)),
    Row("failing operations of predict", "ENOSPC, EIO, EACCES at every one", _failures(PREDICT)),
    Row(
        "failing operations of superpixels, polygonize", "one of the three at every one",
        _failures(IDS, CUT, POLYGONS, FLAT, every=False),
    ),
    Row("failing operations of train", "one of the three at every one", _failures(TRAIN, every=False, old=False)),
    Row(
        "RLIMIT_FSIZE", "6 sizes, old files there",
        lambda bench: _sum(limited(bench, case, SHARES) for case in (PREDICT, IDS, CUT, POLYGONS, FLAT)),
    ),
    Row(
        "full disks", "tmpfs of 4 sizes, which then grow",
        lambda bench: _sum(full_disks(bench, case, DISKS) for case in (PREDICT, CUT)) if root() else Tally(),
    ),
    Row(
        "SIGINT, SIGTERM", f"5 moments of predict, each in {LONG:.0f} s of C",
        lambda bench: stops(bench, PREDICT, MOMENTS, LONG, WITHIN),
    ),
    Row("SIGINT, SIGTERM in train", "in a step", lambda bench: stops(bench, TRAIN, [("step", 6)], 0.1, WITHIN)),
    Row(
        "two processes, one output", "a second one while the first is at work",
        lambda bench: _sum(at_once(bench, case) for case in (PREDICT, IDS, CUT)),
    ),
    Row(
        "two processes, one folder", "outputs of different names, at once",
        lambda bench: _sum(neighbours(bench, case) for case in (PREDICT, IDS, CUT, POLYGONS)),
    ),
    Row(
        "damaged parts", "each file of a part flipped, cut short, deleted",
        lambda bench: _sum(damaged_parts(bench, case) for case in (PREDICT, IDS, CUT)),
    ),
    Row(
        "planted links", "at every name in a run directory or a folder of checkpoints",
        lambda bench: _sum(planted(bench, case) for case in (PREDICT, IDS, CUT, TRAIN)),
    ),
    Row(
        "refused files", "EMFILE at every operation of superpixels",
        lambda bench: failures(
            bench, IDS, [(n, errno.EMFILE) for n in range(1, len(bench.operations(IDS)) + 1)], codes=(71, 73, 74)
        ),
    ),
    Row("bad model files", "pickles, no card, NaN, cut short, absurd cards", refusals),
    Row("a flipped bit in the weights", "200 models", lambda bench: flips(bench, 200, card=False)),
    Row("a flipped bit in the card", "200 models", lambda bench: flips(bench, 200, card=True)),
)  # fmt: skip


def root() -> bool:
    """Return whether this process may mount file systems."""
    return os.name == "posix" and os.geteuid() == 0
