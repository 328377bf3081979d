"""Crashes, kills, failing disks, signals and a second process: outputs are whole or absent, and the work goes on.

The short form; every crash point and the rest of the table: python -m pytest -m soak, or python benchmarks/faults.
"""

from __future__ import annotations

import errno
import itertools
import signal
import sys
from pathlib import Path

import pytest

from faults.bad_models import flips, refusals, worn_card
from faults.cases import CASES, Bench, Case, Tally
from faults.interference import KINDS, at_once, damaged_parts, neighbours, planted, stops
from faults.table import CHANGE, CUT, DISKS, FLAT, IDS, MOMENTS, POLYGONS, PREDICT, ROWS, TRAIN, Row, discarding, root
from faults.trials import ERRORS, crashes, failures, full_disks, limited, losses, spread

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="faults are injected by way of /proc and POSIX signals")


@pytest.fixture(scope="module")
def crashed(bench: Bench) -> Tally:
    """Predictions that ended at a dozen crash points, and were run again."""
    return crashes(bench, PREDICT, spread(bench.operations(PREDICT), 12))


def assert_all_is_well(tally: Tally, *codes: int) -> None:
    """There were trials, they ended with these statuses under the fault, and nothing is wrong."""
    assert tally.trials
    assert tally.bad == []
    assert set(tally.codes) <= set(codes)


def test_law_6_crash_points_of_predict(crashed: Tally) -> None:
    assert_all_is_well(crashed, 137)
    assert set(crashed.again) == {0}


def test_nothing_is_left_behind_by_the_dead(crashed: Tally) -> None:
    assert crashed.left == []


@pytest.mark.parametrize(
    "case",
    [
        IDS,
        CUT,
        POLYGONS,
        FLAT,
        CHANGE,
    ],
    ids=lambda case: case.name,
)
def test_law_6_crash_points(bench: Bench, case: Case) -> None:
    count = 2 if case is CHANGE else 4
    assert_all_is_well(crashes(bench, case, spread(bench.operations(case), count)), 137)


def test_law_6_crash_points_of_train(bench: Bench) -> None:
    """Somewhere, and in the midst of the model and of a checkpoint while an older one is there."""
    operations = bench.operations(TRAIN)
    writes = [(n, name) for n, name in enumerate(operations, 1) if name.startswith("write ")]
    checkpoints = [(n, "half") for n, name in writes if "step-" in name and ".tmp.pt" in name]
    tally = crashes(bench, TRAIN, [*checkpoints[-1:], (writes[-1][0], "half"), *spread(operations, 2)[:1]])
    assert tally.trials == 3
    assert_all_is_well(tally, 137)
    assert tally.left == []


@pytest.mark.parametrize("case", [IDS, TRAIN], ids=lambda case: case.name)
def test_planted_links_are_not_followed(bench: Bench, case: Case) -> None:
    tally = planted(bench, case)
    assert_all_is_well(tally, 0)
    assert tally.left == []


def test_a_refused_file_has_a_status_of_its_own(bench: Bench) -> None:
    number = next(n for n, name in enumerate(bench.operations(IDS), 1) if name.startswith("write "))
    assert_all_is_well(failures(bench, IDS, [(number, errno.EMFILE)], codes=(71,)), 71)


def test_crash_points_over_an_old_map(bench: Bench) -> None:
    tally = crashes(bench, PREDICT, spread(bench.operations(PREDICT), 3), old=True)
    assert_all_is_well(tally, 137)
    assert set(tally.again) == {0}


def test_training_over_an_old_model_goes_on(bench: Bench) -> None:
    assert_all_is_well(crashes(bench, TRAIN, spread(bench.operations(TRAIN), 1), old=True), 137)


def test_crash_points_of_the_tidying(bench: Bench) -> None:
    tally = crashes(bench, PREDICT, discarding(bench, PREDICT)[3::8])
    assert_all_is_well(tally, 137)
    assert (tally.left, set(tally.again)) == ([], {0})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_gets_its_name_is_on_disk_and_so_is_the_name(bench: Bench, case: Case) -> None:
    """Nothing but a power cut would tell: each file is synced before it takes its place, and the folder after that."""
    operations = bench.whole(case)[1].operations
    moves = {name.split()[1]: (n, name.split()[3]) for n, name in enumerate(operations) if name.startswith("replace ")}
    assert set(moves) >= {*bench.whole(case)[0]} - {"model.metrics.jsonl"}
    for name, (n, source) in moves.items():
        # What is put in place together was synced before it got its name among the hidden ones.
        before, first = moves.get(source, (n, source))
        assert f"fsync {first}" in operations[:before], f"{name} was not synced"
        synced = operations.index(f"fsync {Path(name).parent}", n)
        assert name == case.last or synced < moves[case.last][0], f"the folder of {name} was not synced in time"


@pytest.mark.parametrize(
    ("case", "count"), [(PREDICT, 5), (CUT, 2), (POLYGONS, 2)], ids=["predict", "superpixels", "polygonize"]
)
def test_a_failing_operation_is_one_line_and_the_work_goes_on(bench: Bench, case: Case, count: int) -> None:
    numbers = [number for number, _ in spread(bench.operations(case), count)]
    tally = failures(bench, case, zip(numbers, itertools.cycle(ERRORS), strict=False))
    # Only a removal may fail without a word, and then the outputs are those of an uninterrupted run.
    assert_all_is_well(tally, 0, 73, 74)
    assert tally.codes[0] < tally.trials
    assert tally.left == []


@pytest.mark.parametrize("case", [pytest.param(PREDICT, marks=pytest.mark.soak), CUT, FLAT], ids=lambda case: case.name)
def test_what_a_library_lost_is_noticed(bench: Bench, case: Case) -> None:
    assert_all_is_well(losses(bench, case), 74)


@pytest.fixture(scope="module")
def too_large(bench: Bench) -> Tally:
    """Predictions that could not write what they had."""
    return limited(bench, PREDICT, (0, 0.02, 0.3))


def test_a_limit_on_files(too_large: Tally) -> None:
    assert_all_is_well(too_large, 74)
    assert too_large.left == []


def test_a_limit_on_files_is_one_line(too_large: Tally) -> None:
    assert too_large.noise == []


def test_a_limit_just_below_the_size_of_a_geopackage(bench: Bench) -> None:
    assert_all_is_well(limited(bench, POLYGONS, (0.94,)), 74)


@pytest.mark.skipif(not root(), reason="only root may mount a small file system")
def test_a_full_disk(bench: Bench) -> None:
    assert_all_is_well(full_disks(bench, PREDICT, DISKS[1:3]), 74)


@pytest.mark.parametrize(
    ("moment", "number"),
    list(zip(MOMENTS, itertools.cycle((signal.SIGINT, signal.SIGTERM)), strict=False)),
    ids=lambda value: value.name if isinstance(value, signal.Signals) else value[0],
)
def test_a_signal_ends_the_work_and_it_goes_on(bench: Bench, moment: tuple[str, int], number: signal.Signals) -> None:
    assert_all_is_well(stops(bench, PREDICT, [moment], signals=[number]), 128 + number)


def test_a_signal_ends_training_and_it_goes_on(bench: Bench) -> None:
    assert_all_is_well(stops(bench, TRAIN, [("step", 6)], signals=[signal.SIGTERM]), 143)


@pytest.mark.parametrize("case", [PREDICT, CUT], ids=lambda case: case.name)
def test_a_second_process_with_the_same_output_is_told_to_wait(bench: Bench, case: Case) -> None:
    assert_all_is_well(at_once(bench, case), 0, 75)


@pytest.mark.parametrize("case", [PREDICT, CUT], ids=lambda case: case.name)
def test_processes_with_different_outputs_do_not_meet(bench: Bench, case: Case) -> None:
    tally = neighbours(bench, case)
    assert_all_is_well(tally, 0)
    assert tally.left == []


@pytest.mark.parametrize(("case", "kinds"), [(PREDICT, KINDS[:1]), (CUT, KINDS[1:])], ids=["predict", "superpixels"])
def test_a_damaged_part_is_computed_again_and_no_other(bench: Bench, case: Case, kinds: tuple[str, ...]) -> None:
    assert_all_is_well(damaged_parts(bench, case, kinds))


ABSURD = ("windows of 2^40", "ten thousand bands", "statistics without an end", "no band")


@pytest.fixture(scope="module")
def refused(bench: Bench) -> Tally:
    """Predictions with bad models."""
    return refusals(bench)


def test_bad_models_are_refused_and_nothing_is_executed(refused: Tally) -> None:
    assert refused.trials > 20
    assert [line for line in refused.wrong if not line.startswith(ABSURD)] == []


def test_absurd_cards_are_refused(refused: Tally) -> None:
    assert refused.wrong == []


def test_a_flipped_bit_is_noticed(bench: Bench) -> None:
    assert_all_is_well(flips(bench, 5, card=False), 65)


def test_a_flipped_bit_in_the_card_is_noticed(bench: Bench) -> None:
    assert_all_is_well(worn_card(bench), 65)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.test)
def test_the_whole_table(bench: Bench, row: Row) -> None:
    tally = row.trials(bench)
    assert [*tally.bad, *tally.left, *tally.noise] == []


def test_a_harness_that_finds_nothing_would_be_worthless(bench: Bench) -> None:
    """A torn file, one that is not the same, and a leftover are each found out."""
    folder, tally = bench.folder(), Tally()
    bench.run(IDS, folder)
    ids = folder / "ids.tif"
    ids.write_bytes(ids.read_bytes()[:-1])
    (folder / ".ids.host.1.tmp.tif").write_bytes(b"half")
    assert bench.torn(IDS, folder) == ["ids.tif"]
    bench.compare(tally, "by hand", IDS, folder)
    assert tally.different == ["superpixels .tif, by hand: ids.tif"]
    assert tally.left == ["superpixels .tif, by hand: .ids.host.1.tmp.tif"]
