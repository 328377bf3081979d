"""How long training takes on an idle machine, and beside programs that keep cores busy.

    python benchmarks/busy.py FOLDER [--steps 60] [--busy 2] [--threads 2] [--rival CHECKOUT] [--rounds 3]

Trains with the default recipe but for the number of steps, alone and beside `--busy` processes that only compute.
With `--rival`, the checkout of another version of geoseg trains in turn with this one. Prints medians of wall and CPU
seconds of the whole command, and ratios to this version alone.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
START = "import sys; from geoseg.cli.main import main; main(sys.argv[1:])"


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep `count` cores busy within this context."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def training(checkout: Path, arguments: list[str]) -> tuple[float, float]:
    """Return wall and CPU seconds of a training by the geoseg of a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        (source / "geoseg").mkdir(parents=True)
        for entry in (checkout / "geoseg").iterdir():
            (source / "geoseg" / entry.name).symlink_to(entry)
        (source / "geoseg" / "cli").symlink_to(checkout / "cli")
        environment = {**os.environ, "PYTHONPATH": str(source)}
        command = [sys.executable, "-c", START, "-q", "train", *arguments, "--out", f"{folder}/m.safetensors"]
        began = time.perf_counter()
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL)
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"the training in {checkout} failed")
        return time.perf_counter() - began, used.ru_utime + used.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--busy", type=int, default=2)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rival", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    # The programs that keep cores busy end with this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    own = ["--data", str(given.data.resolve()), "--steps", str(given.steps)]
    versions = {"this": (HERE, own + (["--threads", str(given.threads)] if given.threads else []))}
    if given.rival:
        versions["rival"] = (given.rival.resolve(), own)
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(given.rounds):
        for programs in (0, given.busy):
            for name, (checkout, arguments) in versions.items():
                with busy(programs):
                    wall, cpu = training(checkout, arguments)
                found.setdefault((name, programs), []).append((wall, cpu))
                print(f"{name} beside {programs} busy: wall {wall:.1f} s, CPU {cpu:.1f} s", flush=True)
    medians = {key: [statistics.median(column) for column in zip(*runs, strict=True)] for key, runs in found.items()}
    base = medians["this", 0]
    for (name, programs), (wall, cpu) in medians.items():
        print(
            f"{name:6} beside {programs} busy: wall {wall:6.1f} s ({wall / base[0]:.2f}), "
            f"CPU {cpu:6.1f} s ({cpu / base[1]:.2f})"
        )


if __name__ == "__main__":
    main()
