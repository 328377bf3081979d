"""Trials of faults from inside: commands crash, are killed or fail; then the same command runs again.

The tests ask for a few of each, the benchmark for all.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from faults.cases import Bench, Case, Tally, overwriting
from faults.commands import Ended
from faults.points import CRASHED, Fault

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)


def points(operations: Sequence[str], stride: int = 1) -> list[tuple[int, str]]:
    """Return every `stride`-th point where a process may end.

    Points lie before and after each operation, and in the middle of those that write bytes.
    """
    every = []
    for number, operation in enumerate(operations, start=1):
        halves = ["half"] if operation.startswith("write ") else []
        every += [(number, when) for when in ("before", *halves, "after")]
    return every[stride // 2 :: stride]


def spread(operations: Sequence[str], count: int) -> list[tuple[int, str]]:
    """Return about `count` of the points, evenly spaced."""
    return points(operations, max(1, len(points(operations)) // count))


def crashes(bench: Bench, case: Case, chosen: Iterable[tuple[int, str]], old: bool = False) -> Tally:
    """End the process at each of the points, then run the same command again; old: with old outputs in place."""
    tally = Tally()
    operations, names = bench.whole(case)[1].operations, bench.replaced(case)
    tried = overwriting(case) if old else case
    for number, when in chosen:
        folder = bench.folder(names if old else ())
        ended = bench.run(tried, folder, Fault(str(folder), number, when))
        label = f"{when} {number} ({operations[number - 1]})"
        tally.trials += 1
        tally.codes[ended.code] += 1
        if ended.code != CRASHED:
            tally.wrong.append(f"{case.name}, {label}: did not crash (exit {ended.code}: {ended.err.strip()})")
        tally.torn += [f"{case.name}, {label}: {name}" for name in bench.torn(case, folder)]
        bench.finish(tally, label, tried, folder)
    return tally


def kills(bench: Bench, case: Case, count: int, seed: int = 0, most: int = 4) -> Tally:
    """Kill processes at random times, up to `most` in a row in one folder, until `count` have died."""
    tally, chance = Tally(), random.Random(seed)
    usual = bench.whole(case)[1].seconds
    while tally.codes[-signal.SIGKILL] < count:
        folder, label = bench.folder(), f"kill {tally.codes[-signal.SIGKILL] + 1}"
        for _ in range(most):
            process = bench.start(case, folder)
            time.sleep(chance.uniform(0, 0.9 * usual))
            os.kill(process, signal.SIGKILL)
            ended = bench.commands.wait(process)
            tally.codes[ended.code] += 1
            tally.torn += [f"{case.name}, {label}: {name}" for name in bench.torn(case, folder)]
            if ended.code >= 0 or tally.codes[-signal.SIGKILL] == count:
                break
        tally.trials += 1
        if ended.code >= 0:
            bench.compare(tally, label, case, folder)
        else:
            bench.finish(tally, label, case, folder)
    return tally


def failures(
    bench: Bench, case: Case, chosen: Iterable[tuple[int, int]], old: bool = True, codes: Sequence[int] = (73, 74)
) -> Tally:
    """Let each operation (number, errno) fail, then run the same command again; old: with old outputs in place."""
    tally = Tally()
    operations, names = bench.whole(case)[1].operations, bench.replaced(case)
    case = overwriting(case) if old else case
    for number, error in chosen:
        folder = bench.folder(names if old else ())
        ended = bench.run(case, folder, Fault(str(folder), number, errno=error))
        label = f"{errno.errorcode[error]} at {number} ({operations[number - 1]})"
        _judge_failure(bench, tally, case, label, folder, ended, codes)
        if ended.code == 0:
            if not ended.operations[number - 1].startswith("unlink "):
                tally.wrong.append(f"{case.name}, {label}: exit 0, though more than a removal failed")
            bench.compare(tally, f"{label} (exit 0)", case, folder)
        else:
            bench.finish(tally, label, case, folder)
    return tally


def losses(bench: Bench, case: Case) -> Tally:
    """Silently lose half of each file that a library writes; only reading it back reveals that."""
    tally = Tally()
    operations, names = bench.whole(case)[1].operations, bench.replaced(case)
    case = overwriting(case)
    for number, operation in enumerate(operations, 1):
        if operation.startswith(("close ", "copy ", "layer ")):
            folder = bench.folder(names)
            ended = bench.run(case, folder, Fault(str(folder), number, "lost"))
            _judge_failure(bench, tally, case, f"lost {number} ({operation})", folder, ended, (74,))
            bench.finish(tally, f"lost {number} ({operation})", case, folder)
    return tally


def _judge_failure(
    bench: Bench, tally: Tally, case: Case, label: str, folder: Path, ended: Ended, codes: Sequence[int]
) -> None:
    tally.trials += 1
    tally.codes[ended.code] += 1
    tally.torn += [f"{case.name}, {label}: {name}" for name in bench.torn(case, folder)]
    tally.seconds = max(tally.seconds, ended.seconds)
    one = [line for line in ended.said if line.startswith("geoseg: error: ")]
    tally.noise += [f"{case.name}, {label}: {line[:200]}" for line in ended.said if line not in one]
    # A failure to tidy up may be ignored silently.
    done = ended.code == 0 and not ended.err
    if not done and (ended.code not in codes or ended.said[-1:] != one):
        tally.wrong.append(f"{case.name}, {label}: exit {ended.code}, said {ended.err.strip()!r}")


def limited(bench: Bench, case: Case, shares: Iterable[float]) -> Tally:
    """Limit the size of files to these shares of the largest output, with old outputs in place."""
    tally, names = Tally(), bench.replaced(case)
    whole = bench.folder()
    bench.run(case, whole)
    largest = max((whole / name).stat().st_size for name in names)
    case = overwriting(case)
    for share in shares:
        size, folder = int(share * largest), bench.folder(names)
        ended = bench.run(case, folder, limits={"FSIZE": size})
        label = f"files of {size} of {largest} bytes"
        _judge_failure(bench, tally, case, label, folder, ended, (74,))
        if ended.code == 0:
            tally.wrong.append(f"{case.name}, {label}: exit 0")
        bench.finish(tally, label, case, folder)
    return tally


def full_disks(bench: Bench, case: Case, sizes: Iterable[int]) -> Tally:
    """Run on file systems of these sizes in KiB, then again after they have grown; needs root."""
    tally = Tally()
    for size in sizes:
        folder = bench.folder()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", folder], check=True)
        try:
            work = folder / "work"
            work.mkdir()
            ended, label = bench.run(case, work), f"a disk of {size} KiB"
            _judge_failure(bench, tally, case, label, work, ended, (73, 74))
            subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
            if ended.code == 0:
                bench.compare(tally, label, case, work)
            else:
                bench.finish(tally, label, case, work)
        finally:
            subprocess.run(["umount", folder], check=True)
    return tally
