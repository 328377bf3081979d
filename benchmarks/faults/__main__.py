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
import importlib
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

from faultcases import Bench, Tally  # noqa: E402
from faults import Commands, working_folder  # noqa: E402
from faulttable import ROWS, Row, root  # noqa: E402

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
        Row("bad inputs", "tests/test_bad_inputs.py, one test each", lambda _: tested("test_bad_inputs.py")),
    ]


def corrupted(bench: Bench) -> Tally:
    """The trials of tests/corruption.py, by its function `trials`, where it is there."""
    try:
        module = importlib.import_module("corruption")
    except ModuleNotFoundError:
        return Tally()
    tally: Tally = module.trials(bench) if hasattr(module, "trials") else Tally()
    return tally


def tested(name: str) -> Tally:
    """Run a file of tests; a failing one is wrong."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", str(ROOT / "tests" / name)]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        for case in ElementTree.parse(report).iter("testcase"):
            tally.trials += case.find("skipped") is None
            if case.find("failure") is not None or case.find("error") is not None:
                tally.wrong.append(f"{name}: {case.get('name')}")
    return tally


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
