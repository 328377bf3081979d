"""The ladder: what each part of InMARS, and each addition of ours, contributes on labelled aerial images.

    python benchmarks/learning DATA [--seeds 5] [--jobs 2] [--rows TEXT ...] [--out ladder.json]
    python benchmarks/learning DATA --picture sheet.png

DATA holds `images` (RGB) and `labels` (PNG of the same names, 0 for no label, classes from 1), such as dubai72: 72
tiles named tileS_partP of eight scenes S. All images are used for training, without labels, scaled to 512 px on the
longer side. All labelled pixels are scored at full size, with one global match of clusters to classes. Settings were
chosen by the scores of scenes 1 to 4 ("tuned"); the scores of scenes 5 to 8 ("other") are the unbiased ones. Every row
is trained from scratch for every seed, on one thread; means and standard deviations are printed as rows finish.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from data import prepare
from ladder import data, line, measure, rows
from pictures import draw


def main() -> None:
    """Run the rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rows", nargs="*", help="run only the rows that contain one of these texts")
    parser.add_argument("--out", type=Path, help="write all measurements to this JSON file")
    parser.add_argument("--picture", type=Path, help="draw maps of some rows to this PNG file; no table")
    given = parser.parse_args()
    chosen = [name for name in rows() if given.rows is None or any(text in name for text in given.rows)]
    with tempfile.TemporaryDirectory() as scaled:
        prepare(given.data, Path(scaled))
        if given.picture:
            draw(data(str(given.data), scaled), given.picture)
            return
        tasks = [(name, seed, str(given.data), scaled) for name in chosen for seed in range(given.seeds)]
        results: list[dict[str, Any]] = []
        with get_context("spawn").Pool(given.jobs) as processes:
            for index, found in enumerate(processes.imap(measure, tasks), start=1):
                results += found
                if given.out:
                    given.out.write_text(json.dumps(results, indent=1))
                if index % given.seeds == 0:
                    _print(results, chosen[index // given.seeds - 1])


def _print(results: list[dict[str, Any]], name: str) -> None:
    table = defaultdict(list)
    for each in results:
        if each["row"] == name or (each["row"].startswith(f"{name},") and each["row"] not in rows()):
            table[each["row"]].append(each)
    for row, found in table.items():
        sys.stdout.write(line(row, found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
