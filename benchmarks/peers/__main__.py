"""The same network and the same superpixels in other tools: CPU seconds, memory, seams and nodata, side by side.

    python benchmarks/peers SCENE --model model.safetensors [--python NAME=PATH ...] [--only NAME ...] [--out FILE]

SCENE is 8-bit RGB or RGBA. Every tool runs in a process of its own, with the network of the model, windows of 1024
pixels that overlap by 128, one window at a time; geoseg also cuts superpixels, and uses the mixture if the model has
one. A tool may need another interpreter: `--python torchgeo=/path/to/bin/python`; one that is not installed is said to
be absent.

- cost: from the start of the process to its end, on SCENE, all tools in turn, `--repeat` rounds (3), medians; a tool
  that took more than `--slow` CPU seconds (20) runs once. Tools that keep the logits of a scene in memory run only on a
  piece of it, `--piece` pixels squared, as all do once.
- seams: two maps of the piece with windows of 1024 and of 768 pixels, and one where the network saw the piece at once;
  the shares of pixels that differ, and the share in the line, row or column, where most do. geoseg's blocks of 512 and
  of 2048 pixels are compared too. Its maps are by superpixels, so that of the network alone is no measure for them.
- nodata: the piece has a transparent disc; the share of its pixels that get a class (or a superpixel), and the share of
  the others that get none.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools import HERE, TOOLS, Cost, Tool, command, measured, version

WINDOWS = {"tile-size": 1024, "overlap": 128}, {"tile-size": 768, "overlap": 128}
BLOCKS = {"block-size": 512}, {"block-size": 2048}


def main() -> None:
    """Measure, print the tables, and write the figures."""
    given = _arguments()
    pythons = dict(pair.split("=", 1) for pair in given.python)
    chosen = [tool for tool in TOOLS if not given.only or tool.name in given.only]
    versions = {tool.name: version(tool, pythons.get(tool.name, sys.executable)) for tool in chosen}
    for tool in chosen:
        print(f"{tool.title}: {versions[tool.name] or 'absent'}", flush=True)
    present = [tool for tool in chosen if versions[tool.name]]
    found: dict[str, Any] = {"versions": versions, "python": platform.python_version(), "scene": str(given.scene)}
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        bench = Bench(given.scene, given.model, pythons, Path(name))
        bench.compare("piece", given.scene, bench.piece, given.piece)
        bench.compare("whole", bench.piece, given.model, bench.whole)
        for tool in (tool for tool in present if tool.package == "geoseg"):
            bench.run(tool, bench.piece)  # compiles kernels
        found["piece"] = {tool.name: bench.seams(tool) for tool in present}
        found["scene_cost"] = bench.costs([tool for tool in present if not tool.heavy], given.repeat, given.slow)
        found["failed"] = bench.failed
    if given.out:
        given.out.write_text(json.dumps(found, indent=1))
    for line in tables(found, present):
        print(line)


class Bench:
    """Runs tools on a scene and on its piece, in a folder of its own."""

    def __init__(self, scene: Path, model: Path, pythons: dict[str, str], folder: Path) -> None:
        self.scene, self.model, self.pythons, self.folder = scene, model, pythons, folder
        self.failed: dict[str, str] = {}
        (folder / "in").mkdir()
        self.piece, self.whole = folder / "in" / "piece.tif", folder / "whole.tif"
        self._count = 0

    def compare(self, *arguments: Any) -> dict[str, Any]:
        """Run `compare.py` in a process of its own: this one stays small, because a child's peak begins with it."""
        line = [sys.executable, str(HERE / "compare.py"), *map(str, arguments)]
        said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
        return json.loads(said) if said.startswith("{") else {}

    def run(self, tool: Tool, scene: Path, tiling: dict[str, int] | None = None) -> tuple[Path, Cost | None]:
        """Return the raster that a tool wrote, and what it took: nothing if it failed, which is remembered."""
        self._count += 1
        (self.folder / f"{self._count}").mkdir()
        out = self.folder / f"{self._count}" / "out.tif"
        try:
            cost = measured(command(tool, self.pythons.get(tool.name, sys.executable), scene, self.model, out, tiling))
        except RuntimeError as error:
            self.failed[tool.name] = str(error)
            return out, None
        print(f"{tool.name} {scene.stem}: {cost.cpu:.1f} CPU s, {cost.megabytes:.0f} MB", file=sys.stderr, flush=True)
        return out, cost

    def costs(self, tools: list[Tool], rounds: int, slow: float) -> dict[str, Any]:
        """Return the medians of CPU and wall seconds and of memory on the scene by tool, all tools in turn."""
        runs: dict[str, list[Cost]] = {tool.name: [] for tool in tools}
        for _ in range(rounds):
            for tool in tools:
                before = runs[tool.name]
                if tool.name in self.failed or (before and before[0].cpu > slow):
                    continue
                out, cost = self.run(tool, self.scene)
                out.unlink(missing_ok=True)
                runs[tool.name] += [cost] if cost else []
        return {
            name: {key: statistics.median(asdict(cost)[key] for cost in costs) for key in asdict(costs[0])}
            | {"runs": len(costs)}
            for name, costs in runs.items()
            if costs
        }

    def seams(self, tool: Tool) -> dict[str, Any]:
        """Return what a tool took for the piece, how two tilings differ, and what became of the transparent disc."""
        out, cost = self.run(tool, self.piece, WINDOWS[0] if tool.kind == "predict" else None)
        if cost is None:
            return {}
        found: dict[str, Any] = {"cost": asdict(cost), "whole": self.compare("differ", self.piece, out, self.whole)}
        if tool.kind == "superpixels":
            return found
        other, _ = self.run(tool, self.piece, WINDOWS[1])
        found["windows"] = self.compare("differ", self.piece, out, other) if other.exists() else {}
        if tool.name == "geoseg":
            blocks = [self.run(tool, self.piece, tiling)[0] for tiling in BLOCKS]
            found["blocks"] = self.compare("differ", self.piece, *blocks)
        return found


def tables(found: dict[str, Any], tools: list[Tool]) -> list[str]:
    """Return the lines of the tables in Markdown."""
    lines = []
    for kind in ("predict", "superpixels"):
        lines += ["", f"| {kind} | CPU s | MB | piece: CPU s | MB |", "|---|---|---|---|---|"]
        for tool in (tool for tool in tools if tool.kind == kind):
            costs = found["scene_cost"].get(tool.name), found["piece"][tool.name].get("cost")
            cells = [f"{cost['cpu']:.1f} | {cost['megabytes']:.0f}" if cost else " | " for cost in costs]
            lines.append(f"| {tool.title} {found['versions'][tool.name]} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| % of pixels | between windows | worst line | from the whole | worst line "
        "| transparent with a class | others without |",
        "|---|---|---|---|---|---|---|",
    ]
    for tool in tools:
        row = found["piece"][tool.name]
        by_superpixels = tool.kind == "superpixels" or tool.name == "geoseg"
        cells = [_percent(row.get("windows"), key) for key in ("differ", "worst_line")]
        cells += ["", ""] if by_superpixels else [_percent(row.get("whole"), key) for key in ("differ", "worst_line")]
        cells += [_percent(row.get("whole"), key) for key in ("invalid_with_value", "valid_without")]
        lines.append(f"| {tool.title} | " + " | ".join(cells) + " |")
        if "blocks" in row:
            cells = [_percent(row["blocks"], key) for key in ("differ", "worst_line")]
            lines.append(f"| geoseg, blocks of 512 and 2048 | {' | '.join(cells)} | | | | |")
    lines += [f"{name} failed: {error}" for name, error in found["failed"].items()]
    return lines


def _percent(row: dict[str, float] | None, key: str) -> str:
    return f"{100 * row[key]:.3f}" if row else ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--only", nargs="+", choices=[tool.name for tool in TOOLS])
    parser.add_argument("--repeat", type=int, default=3, help="rounds on the scene; 0 measures the piece alone")
    parser.add_argument("--slow", type=float, default=20)
    parser.add_argument("--piece", type=int, default=2048)
    parser.add_argument("--folder", type=Path, help="for what is written (the system's folder of temporary files)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
