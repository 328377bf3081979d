"""The results as tables in Markdown."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rows import is_start

Result = dict[str, Any]
Pick = Callable[[Result], float]

_HEADER = (
    "| method | seeds | accuracy | mIoU | scenes 1-4 | scenes 5-8 | {other} | IoU by class | regions per Mpx "
    "| CPU s per Mpx | training CPU s | clusters used |"
)


def tables(results: Sequence[Result]) -> str:
    """Return the tables: one for each number of clusters, calibration, and starts.

    Args:
        results: Of all data sets; the first one's are the ladder.
    """
    if not results:
        return "no results yet\n"
    main = results[0]["data"]
    lines = []
    own = _grouped([each for each in results if each["data"] == main])
    for clusters in sorted({found[0]["clusters"] for found in own.values()}):
        rows = {name: found for name, found in own.items() if found[0]["clusters"] == clusters}
        many = clusters > next(iter(rows.values()))[0]["classes"]
        first, second = ("many to one", "one to one") if many else ("one to one", "many to one")
        header = _HEADER.format(other=second)
        lines += [f"### {main}, K = {clusters}, {first}; mean ± standard deviation over seeds, in %", "", header]
        lines += ["|" + "---|" * (header.count("|") - 1)]
        lines += [_line(name.partition(": ")[2], found, many) for name, found in rows.items()]
        lines += [""]
    lines += [*_against_mixtures(own), *_calibration(own), *_starts(results)]
    return "\n".join(lines) + "\n"


def summary(name: str, found: Sequence[Result]) -> str:
    """Return one line that tells of a row while others are still running."""
    many = found[0]["clusters"] > found[0]["classes"]
    accuracy, miou = (_spread(found, pick) for pick in _picks("all", many))
    return f"{name:90s} {len(found)} seeds {accuracy} / {miou}  {_mean(found, lambda each: each['seconds']):.0f} s"


def _grouped(results: Sequence[Result]) -> dict[str, list[Result]]:
    rows = defaultdict(list)
    for each in results:
        rows[each["row"]].append(each)
    return dict(rows)


def _picks(part: str, many: bool) -> tuple[Pick, Pick]:
    prefix = "many_" if many else ""
    return (lambda each: each[part][prefix + "accuracy"]), (lambda each: each[part][prefix + "miou"])


def _line(name: str, found: Sequence[Result], many: bool) -> str:
    cells = [name, str(len(found)), *(_spread(found, pick) for pick in _picks("all", many))]
    cells += [_pair(found, part, many) for part in ("tuned", "other")]
    cells += [_pair(found, "all", not many)]
    key = "many_ious" if many else "ious"
    count = len(found[0]["all"][key])
    ious = (_mean(found, lambda each, i=i: each["all"][key][i]) for i in range(count))  # type: ignore[misc]
    cells += [" / ".join(f"{iou:.0f}" for iou in ious)]
    cells += [f"{_mean(found, lambda each: each['regions_per_mpx']):.0f}"]
    cells += [f"{_mean(found, lambda each: each['cpu_per_mpx']):.2f}"]
    cells += [f"{_mean(found, lambda each: each['training_cpu']):.0f}"]
    cells += [str(min(each["all"]["used"] for each in found))]
    return "| " + " | ".join(cells) + " |"


def _pair(found: Sequence[Result], part: str, many: bool) -> str:
    if any(part not in each for each in found):
        return ""
    return " / ".join(f"{_mean(found, pick):.1f}" for pick in _picks(part, many))


def _against_mixtures(rows: dict[str, list[Result]]) -> Iterator[str]:
    """Yield the table that compares geoseg with the mixture that it started from, seed by seed."""
    lines = []
    for name, found in rows.items():
        prefix, _, method = name.partition(": ")
        mixture = {each["seed"]: each for each in rows.get(f"{prefix}: mixture by {found[0].get('start')}", [])}
        pairs = [(each, mixture[each["seed"]]) for each in found if each["seed"] in mixture]
        if not pairs or not method.startswith("geoseg"):
            continue
        many = found[0]["clusters"] > found[0]["classes"]
        cells = [name]
        for pick in _picks("all", many):
            gains = [pick(each) - pick(start) for each, start in pairs]
            above = sum(gain > 0 for gain in gains)
            cells.append(f"{statistics.fmean(gains):+.1f} ± {statistics.pstdev(gains):.1f}; {above} of {len(gains)}")
        lines.append("| " + " | ".join(cells) + " |")
    if lines:
        yield from ("### Gain over the mixture that training started from, and seeds with a gain", "")
        yield from ("| method | accuracy | mIoU |", "|---|---|---|", *lines, "")


def _calibration(rows: dict[str, list[Result]]) -> Iterator[str]:
    found = {name: each for name, each in rows.items() if each[0]["ece"]}
    if not found:
        return
    yield from ("### Expected calibration error in %, 20 bins", "", "| method | before the temperature | after |")
    yield "|---|---|---|"
    for name, each in found.items():
        before, after = (_spread(each, lambda one, key=key: one["ece"][key]) for key in ("before", "after"))  # type: ignore[misc]
        yield f"| {name} | {before} | {after} |"
    yield ""


def _starts(results: Sequence[Result]) -> Iterator[str]:
    """Yield the table of starts for few classes: a row for each data set and start."""
    found = [each for each in results if is_start(each["row"]) and each["clusters"] <= each["classes"]]
    if not found:
        return
    yield from ("### Starts for few classes; accuracy / mIoU, one to one, in %", "")
    yield "| imagery | start | colourfulness | accuracy | mIoU | auto starts from |"
    yield "|---|---|---|---|---|---|"
    for data, of_data in _by(found, "data").items():
        chosen = {each["start"] for each in of_data if "by auto" in each["row"]}
        for row, each in _by(of_data, "row").items():
            accuracy, miou = (_spread(each, pick) for pick in _picks("all", False))
            name, colour = row.partition("mixture by ")[2], f"{_mean(each, lambda one: one['colourfulness']):.4f}"
            yield f"| {data} | {name} | {colour} | {accuracy} | {miou} | {', '.join(sorted(chosen))} |"
    yield ""


def _by(results: Sequence[Result], key: str) -> dict[str, list[Result]]:
    found = defaultdict(list)
    for each in results:
        found[each[key]].append(each)
    return dict(found)


def _mean(found: Sequence[Result], pick: Pick) -> float:
    return statistics.fmean(map(pick, found))


def _spread(found: Sequence[Result], pick: Pick) -> str:
    return f"{_mean(found, pick):.1f} ± {statistics.pstdev(map(pick, found)):.1f}"
