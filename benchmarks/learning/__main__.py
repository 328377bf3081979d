"""The ladder: what each part of InMARS, and each addition of ours, contributes on labelled aerial images.

    python benchmarks/learning DATA [--seeds 5] [--jobs 2] [--out ladder.json] [--rows TEXT ...] [--also NAME=FOLDER]
    python benchmarks/learning DATA --table
    python benchmarks/learning DATA --picture sheet.png

DATA holds `images` (RGB) and `labels` (PNG of the same names, 0 for no label, classes from 1), such as dubai72: 72
tiles named tileS_partP of eight scenes S. All images are used for training, without labels, scaled to 512 px on the
longer side. All labelled pixels are scored at full size, with one global match of clusters to classes. Settings were
chosen by the scores of scenes 1 to 4 ("tuned"); the scores of scenes 5 to 8 are given beside them. --also adds sets of
the same form, on which only the starts for few classes are compared.

What differs in training is trained from scratch for every seed, on one thread; rows that differ in prediction share a
training. Results are written to --out as they come, and what is found there with the same settings is not run again;
versions of geoseg are not told apart. A training that collapses leaves its seed out. The tables in Markdown come at the
end; --table prints those of the results that there are. --quick tries everything on three images, for ten steps.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from data import Data, prepare
from pictures import draw
from rows import PATCH, STEPS, STEPS_MANY, fingerprint, parts, starts
from table import summary, tables
from tasks import Task, images, measure

_QUICK_IMAGES = 3


def main() -> None:
    """Run what is missing, and print the tables."""
    given = _arguments()
    sets = {given.data.name: given.data, **dict(given.also)}
    header = {"steps": [STEPS, STEPS_MANY], "patch": PATCH, "quick": given.quick}
    known = _known(given.out, header)
    if given.table:
        sys.stdout.write(tables(_in_order(known, list(sets), given.quick)))
        return
    with tempfile.TemporaryDirectory() as folder:
        loaded: dict[str, tuple[str, str, Data]] = {}
        for name, source in sets.items():
            scaled = Path(folder) / name
            prepare(source, scaled, _QUICK_IMAGES if given.quick else None)
            loaded[name] = str(source), str(scaled), images(str(source), str(scaled))
        if given.picture:
            draw(loaded[given.data.name][2], given.picture, given.quick)
            return
        missing = [task for task in _tasks(loaded, given) if task.key not in known]
        with get_context("spawn").Pool(given.jobs) as processes:
            for index, (task, found) in enumerate(processes.imap_unordered(measure, missing), start=1):
                known[task.key] = found
                _write(given.out, {"settings": header, "tasks": known})
                for each in found:
                    sys.stdout.write(f"{index}/{len(missing)} {task.data} {summary(each['row'], [each])}\n")
                sys.stdout.flush()
    sys.stdout.write("\n" + tables(_in_order(known, list(sets), given.quick)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rows", nargs="*", help="run only parts with a row that contains one of these texts")
    parser.add_argument("--out", type=Path, default=Path("ladder.json"), help="JSON file of the results")
    parser.add_argument(
        "--also", nargs="*", default=[], type=_named, metavar="NAME=FOLDER", help="more sets to compare starts on"
    )
    parser.add_argument("--table", action="store_true", help="print the tables of the results in --out; run nothing")
    parser.add_argument("--picture", type=Path, help="draw maps of some rows to this PNG file; no table")
    parser.add_argument("--quick", action="store_true", help="three images and ten steps, to try that all of it runs")
    return parser.parse_args()


def _named(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not folder:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER")
    return name, Path(folder)


def _tasks(sets: dict[str, tuple[str, str, Data]], given: argparse.Namespace) -> list[Task]:
    """Return all tasks, seed by seed, so that every row has some result early."""
    tasks = []
    for seed in range(given.seeds):
        for name, (source, scaled, data) in sets.items():
            chosen = (parts if name == given.data.name else starts)(data.classes, given.quick)
            for part, content in chosen.items():
                if given.rows is None or any(text in row.name for text in given.rows for row in content.rows):
                    tasks.append(Task(name, source, scaled, part, fingerprint(content), seed, given.quick))
    return tasks


def _known(path: Path, header: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the results in a file by the key of their task."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text())
    if found["settings"] != header:
        sys.exit(f"{path}: holds results of other settings, {found['settings']}; give another file with --out")
    return dict(found["tasks"])


def _write(path: Path, content: dict[str, Any]) -> None:
    """Replace a file at once, so that an interruption leaves the old or the new one."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(content, indent=1))
    new.replace(path)


def _in_order(known: dict[str, list[dict[str, Any]]], sets: list[str], quick: bool) -> list[dict[str, Any]]:
    """Return the results with the present settings, in the order of the tables."""
    ordered = []
    for name in sets:
        results = [each for found in known.values() for each in found if each["data"] == name]
        for classes in {each["classes"] for each in results}:
            for part in parts(classes, quick).values():
                current = [each for each in results if each["settings"] == fingerprint(part)]
                ordered += [each for row in part.rows for each in current if each["row"] == row.name]
    return ordered


if __name__ == "__main__":
    main()
