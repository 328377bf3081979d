"""What happens when something fails: every command is crashed, killed, stopped and starved, on purpose, in full.

    python benchmarks/faults [--rows TEXT ...] [--json FILE] [--details]

Makes a scene and a model of its own and prints one row for each test, in Markdown: how often something was done, how
many files at their final path were torn then, how many differed from those of an uninterrupted run after the same
command had run again, what was left beside them, what else was wrong, lines that libraries said, exit statuses under
the fault, and the worst time. Needs Linux and the extra `test`; the rows with full disks need root. Takes about half
an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from faults.bad_rasters import outcomes  # noqa: E402
from faults.cases import Bench, Tally  # noqa: E402
from faults.commands import Commands, working_folder  # noqa: E402
from faults.table import ROWS, Row, root  # noqa: E402

from geoseg.errors import InputError  # noqa: E402

_OF_ROWS = ("test_bad_inputs.py", "test_hostile.py", "test_remote.py", "test_odd_scenes.py")
_COLUMNS = ("test", "what is done", "trials", "torn", "different", "left", "wrong", "noise", "exits", "worst s")


def main() -> None:
    """Run the rows that were asked for, and print each as it comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", default=[""], help="only rows that contain one of these texts")
    parser.add_argument("--json", type=Path, help="JSON of everything that was found")
    parser.add_argument("--details", action="store_true", help="say on standard error what was wrong, line by line")
    given = parser.parse_args()
    chosen = [row for row in (*ROWS, *others()) if any(text in row.test for text in given.rows)]
    found: list[dict[str, Any]] = []
    _print("| " + " | ".join(_COLUMNS) + " |\n" + "|---" * len(_COLUMNS) + "|")
    with working_folder() as folder, Commands() as commands:
        bench = Bench(folder, commands)
        for row in chosen:
            began = time.perf_counter()
            tally = row.trials(bench)
            found.append({"test": row.test, "done": row.done, "took": time.perf_counter() - began, **vars(tally)})
            _print(line(row, tally))
            if given.details:
                sys.stderr.writelines(f"{text}\n" for text in (*tally.bad, *tally.left, *tally.noise))
            if given.json:
                given.json.write_text(json.dumps(found, indent=1))


def line(row: Row, tally: Tally) -> str:
    """Return a row of the table."""
    if not tally.trials:
        why = "needs root" if row.test == "full disks" and not root() else "not in this checkout"
        return f"| {row.test} | {row.done} | {why} |" + " |" * (len(_COLUMNS) - 3)
    counts = [len(each) for each in (tally.torn, tally.different, tally.left, tally.wrong, tally.noise)]
    exits = ", ".join(f"{code} x {count}" for code, count in sorted(tally.codes.items()))
    cells = [row.test, row.done, tally.trials, *counts, exits, f"{tally.seconds:.1f}" if tally.seconds else ""]
    return "| " + " | ".join(map(str, cells)) + " |"


def others() -> list[Row]:
    """The rows whose trials are not those of faults: corrupted rasters, and inputs that are refused."""
    return [
        Row("corrupted rasters", "6 codecs, 3 kinds of damage, 30 each", corrupted),
        Row("the forty bad inputs", "every test of a row", lambda _: rows_tested()),
    ]


def corrupted(_: Bench) -> Tally:
    """Read 540 corrupted rasters in a process with limits: each is read or refused, and nothing else."""
    tally = Tally()
    for (codec, kind), counts in outcomes(range(30)).items():
        tally.trials += counts.total()
        tally.codes.update({0: counts["read"], InputError.exit_code: counts["refused"]})
        odd = {name: count for name, count in counts.items() if name not in ("read", "refused")}
        if odd:
            tally.wrong.append(f"{codec}, {kind}: {odd}")
    return tally


def rows_tested() -> Tally:
    """Run the tests of the rows of the table of inputs; a row without a test, or with one that fails, is wrong."""
    tally, good, bad = Tally(), set(), set()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        files = [str(ROOT / "tests" / "raster" / name) for name in _OF_ROWS]
        command = [sys.executable, "-m", "pytest", "-q", "-k", "test_row", f"--junitxml={report}", *files]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        for case in ElementTree.parse(report).iter("testcase"):
            row = int(str(case.get("name")).split("_")[2])
            if case.find("failure") is not None or case.find("error") is not None:
                bad.add(row)
            elif case.find("skipped") is None:
                good.add(row)
    tally.trials = len(good - bad)
    tally.wrong = [f"row {row}" for row in range(1, 41) if row in bad or row not in good]
    return tally


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
