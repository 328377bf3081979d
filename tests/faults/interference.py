"""Trials of interference from outside: signals, a second process, a damaged part."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from faults.cases import Bench, Case, Tally
from faults.commands import hashes
from faults.points import CRASHED, Fault

KINDS = ("flipped", "cut short", "deleted")
"""Ways to damage a part."""

_PATIENCE = 60.0

_RESUME = "to continue: geoseg "
"""Part of the message of an interrupted command."""


def stops(
    bench: Bench, case: Case, moments: Iterable[tuple[str, int]], hold: float = 0.1, within: float = 60,
    signals: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
) -> Tally:  # fmt: skip
    """Send each signal at each (moment, call), during a call that spends `hold` seconds in C; then resume.

    The process has to end within `within` seconds of the signal.
    """
    tally = Tally()
    for moment, at in moments:
        for number in signals:
            folder, label = bench.folder(), f"{number.name} at {moment} {at}"
            fault = Fault(str(folder), at, signal=number, moment=moment, hold=hold)
            ended = bench.run(case, folder, fault, quiet=False, cold=moment == "start")
            tally.trials += 1
            tally.codes[ended.code] += 1
            tally.torn += [f"{case.name}, {label}: {name}" for name in bench.torn(case, folder)]
            taken = ended.ended - (ended.since or 0.0)
            tally.seconds = max(tally.seconds, taken)
            if ended.code != 128 + number or ended.late or taken > within:
                tally.wrong.append(f"{case.name}, {label}: exit {ended.code} after {taken:.1f} s ({ended.err.strip()})")
            kept = len(list(folder.glob("*.run/part-*.json")))
            works = any(folder.iterdir())
            if works and _RESUME not in ended.err:
                tally.wrong.append(f"{case.name}, {label}: does not say how to continue ({ended.err.strip()})")
            again = bench.finish(tally, label, case, folder, quiet=False)
            if kept and not any(line.startswith(f"{kept} of ") and "finished before" in line for line in again.said):
                tally.wrong.append(f"{case.name}, {label}: {kept} parts were there ({again.err.strip()})")
    return tally


def at_once(bench: Bench, case: Case) -> Tally:
    """Start a second process while the first one is working on the same output."""
    tally, folder = Tally(1), bench.folder()
    first = bench.start(case, folder, Fault(str(folder), 1, moment="part", hold=1))
    deadline = time.monotonic() + _PATIENCE
    while not list(folder.glob("*.run/part-*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    second = bench.run(case, folder)
    ended = bench.commands.wait(first)
    tally.codes.update((ended.code, second.code))
    if (ended.code, second.code) != (0, 75) or len(second.said) != 1:
        tally.wrong.append(f"{case.name}, at once: exits {ended.code}, {second.code} ({second.err.strip()})")
    elif os.uname().nodename not in second.err or str(first) not in second.err:
        tally.wrong.append(f"{case.name}, at once: says {second.err.strip()!r}")
    _compare(bench, tally, case, "at once", folder)
    return tally


def neighbours(bench: Bench, case: Case) -> Tally:
    """Run two processes at once whose outputs have different names in one folder."""
    tally, folder = Tally(1), bench.folder()
    others = tuple(part.replace("{folder}/", "{folder}/other-") for part in case.arguments)
    other = replace(case, name=f"other {case.name}", arguments=others)
    processes = [bench.start(each, folder) for each in (case, other)]
    for process in processes:
        ended = bench.commands.wait(process)
        tally.codes[ended.code] += 1
        if ended.code or ended.err:
            tally.wrong.append(f"{case.name}, neighbours: exit {ended.code} ({ended.err.strip()})")
    _compare(bench, tally, case, "neighbours", folder, other)
    return tally


def planted(bench: Bench, case: Case) -> Tally:
    """Plant links to a file elsewhere at every name in the folder of unfinished work, as somebody else could.

    A run directory holds its manifest already: without it, a folder with such files is refused.
    """
    tally, folder, elsewhere = Tally(1), bench.folder(), bench.folder()
    victim = elsewhere / "precious.txt"
    victim.write_bytes(b"precious")
    targets = {
        operation.split()[1]: number
        for number, operation in enumerate(bench.operations(case), 1)
        if operation.startswith("replace ")
    }
    names = [name for name in targets if "/" in name and not name.startswith(".")]
    begun = [name for name in names if name.endswith("/manifest.json")]
    for name in begun:
        bench.run(case, folder, Fault(str(folder), targets[name], "after"))
    for name in {*names, f"{Path(names[0]).parent}/lock"} - {*begun}:
        link = folder / name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(victim)
    ended = bench.run(case, folder)
    tally.codes[ended.code] += 1
    if [path.read_bytes() for path in elsewhere.iterdir()] != [b"precious"]:
        tally.wrong.append(f"{case.name}, planted links: were followed")
    bench.compare(tally, f"planted links (exit {ended.code}: {ended.err.strip()})", case, folder)
    return tally


def _compare(bench: Bench, tally: Tally, case: Case, label: str, folder: Path, *others: Case) -> None:
    wanted = {name: digest for each in (case, *others) for name, digest in bench.whole(each)[0].items()}
    found = hashes(folder)
    for name in sorted({*wanted, *found}):
        if wanted.get(name) != found.get(name):
            kept = tally.different if name in wanted else tally.left
            kept.append(f"{case.name}, {label}: {name}")
    shutil.rmtree(folder)


def damaged_parts(bench: Bench, case: Case, kinds: Sequence[str] = KINDS) -> Tally:
    """Damage each file of a finished part in each way, one at a time, and resume."""
    tally, operations = Tally(), bench.operations(case)
    # All parts are finished once the first old output is removed.
    number = next(n for n, name in enumerate(operations, 1) if name.startswith("unlink ") and "/" not in name)
    names = [name for name in _parts_at(bench, case, number) if name.startswith("part-000001")]
    for name in names:
        for kind in kinds:
            folder, label = bench.folder(), f"{name} {kind}"
            bench.run(case, folder, Fault(str(folder), number))
            damage(next(folder.glob("*.run")) / name, kind)
            again = bench.finish(tally, label, case, folder, quiet=False)
            tally.trials += 1
            if "2 of 3 blocks were finished before" not in again.said:
                tally.wrong.append(f"{case.name}, {label}: {again.err.strip()}")
    return tally


def _parts_at(bench: Bench, case: Case, number: int) -> list[str]:
    folder = bench.folder()
    ended = bench.run(case, folder, Fault(str(folder), number))
    assert ended.code == CRASHED, ended.err
    return sorted(path.name for path in folder.glob("*.run/part-*"))


def damage(path: Path, kind: str) -> None:
    """Flip a bit in the middle of the file, cut it in half, or delete it."""
    content = path.read_bytes()
    middle = len(content) // 2
    if kind == "flipped":
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif kind == "cut short":
        path.write_bytes(content[:middle])
    else:
        path.unlink()
