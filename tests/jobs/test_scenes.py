"""Many scenes as independent units: what stops all, what is told at the end, and what other processes have in hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from geoseg.errors import GeosegError, InputError, InputMissingError, LockedError, OutputError, WriteError
from geoseg.files.lock import OutputLocks
from geoseg.jobs.job import Job
from geoseg.jobs.scene_results import Facts
from geoseg.jobs.scenes import Scenes

Fault = Callable[[], Exception]


class FakeJob(Job[int]):
    """A scene that fails as it is told to, once or always."""

    stage, unit, total = "predict", "block", 1

    def __init__(self, owner: FakeScenes, number: int) -> None:
        self.owner, self.number = owner, number
        owner.open_now += 1
        owner.most_open = max(owner.most_open, owner.open_now)

    def close(self) -> None:
        self.owner.open_now -= 1

    def run(self, command: str = "") -> Generator[int]:
        self.owner.raise_fault("run", self.number)
        self.owner.done.append(self.number)
        yield 1


class FakeScenes(Scenes[FakeJob]):
    """Scenes without files.

    Args:
        count: Number of scenes.
        faults: ("open" or "run", number) -> the errors, of which each is raised once and the last one for ever.
        finished: Scenes that were finished before.
    """

    verb = "mapped"

    def __init__(
        self, count: int, faults: dict[tuple[str, int], list[Exception]] | None = None, finished: tuple[int, ...] = (),
        stops: Callable[[BaseException], bool] | None = None,
    ) -> None:  # fmt: skip
        super().__init__([Path(f"{number}.tif") for number in range(count)], stops=stops)
        self.faults, self.finished, self.done = faults or {}, finished, list[int]()
        self.opened = self.open_now = self.most_open = 0

    def raise_fault(self, where: str, number: int) -> None:
        left = self.faults.get((where, number), [])
        if left:
            error = left[0] if len(left) == 1 else left.pop(0)
            if str(error) != "free":
                raise error

    def outputs(self, number: int) -> tuple[Path, ...]:
        return (Path(f"{number}-classes.tif"),)

    def record(self, number: int) -> Path:
        return Path(f"{number}-classes.geoseg.json")

    def open(self, number: int) -> FakeJob | None:
        self.opened += 1
        self.raise_fault("open", number)
        return None if number in self.finished else FakeJob(self, number)

    def facts(self, job: FakeJob) -> Facts:
        return Facts(100, ("water",))


FREE = Exception("free")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs are locked in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("geoseg.jobs.scenes._FIRST_PAUSE", 0.01)


def run(scenes: FakeScenes) -> list[str]:
    """Do all the work; return the status of each scene."""
    try:
        for job in scenes.jobs():
            with scenes.sparing_others(job), job:
                for _ in job.run():
                    pass
    finally:
        statuses = [result.status for result in scenes.results()]
        assert scenes.open_now == 0
    return statuses


def test_failing_scenes_in_the_middle_stop_nothing_and_are_told_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    scenes = FakeScenes(
        5, {("open", 1): [InputError("1.tif: is damaged")], ("run", 3): [InputError("a block\n is broken")]}, (4,)
    )
    assert run(scenes) == ["done", "failed", "done", "failed", "done before"]
    assert caplog.messages == ["not mapped: 1.tif: is damaged", "not mapped: 3.tif: a block is broken"]
    with pytest.raises(
        InputError, match=r"2 of 5 scenes could not be mapped, 3 finished; .*only what is missing"
    ) as told:
        scenes.finish()
    assert told.value.details == ("1.tif: is damaged", "3.tif: a block is broken")


def test_the_table_as_json() -> None:
    scenes = FakeScenes(3, {("open", 1): [InputMissingError("no such file")]})
    run(scenes)
    content = scenes.to_json()
    first, second, _ = content.pop("scenes")
    assert content == {
        "done": 2, "done_before": 0, "failed": 1, "not_done": 0, "pixels": 200, "error": None, "exit_code": 66,
    }  # fmt: skip
    assert first.pop("seconds") >= 0
    assert first == {
        "scene": "0.tif", "outputs": ["0-classes.tif", "0-classes.geoseg.json"], "status": "done", "error": None,
        "exit_code": 0, "pixels": 100, "classes": ["water"],
    }  # fmt: skip
    assert (second["status"], second["error"], second["exit_code"]) == ("failed", "no such file", 66)


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([InputMissingError("a"), InputMissingError("b")], 66),
        ([InputMissingError("a"), InputError("b")], 65),
        ([OutputError("a"), InputError("b")], 65),
        ([OutputError("a"), OutputError("b")], 73),
    ],
)
def test_the_status_is_that_of_the_failures_if_these_agree(errors: list[Exception], code: int) -> None:
    scenes = FakeScenes(3, {("open", number): [error] for number, error in enumerate(errors)})
    run(scenes)
    assert scenes.exit_code == code
    with pytest.raises(GeosegError) as told:
        scenes.finish()
    assert told.value.exit_code == code


@pytest.mark.parametrize("where", ["open", "run"])
def test_a_full_disk_stops_all_and_the_rest_is_not_done(where: str) -> None:
    scenes = FakeScenes(4, {(where, 1): [WriteError("no space left")]})
    with pytest.raises(WriteError):
        run(scenes)
    assert [result.status for result in scenes.results()] == ["done", "failed", "not done", "not done"]
    content = scenes.to_json("no space left", 74)
    assert (content["error"], content["exit_code"], content["not_done"]) == ("no space left", 74, 2)
    assert content["scenes"][3]["exit_code"] is None


def test_an_error_that_nobody_foresaw_is_that_of_its_scene_unless_it_concerns_all() -> None:
    faults = {("run", 0): [ZeroDivisionError("odd")], ("open", 2): [MemoryError("much")]}
    scenes = FakeScenes(4, faults, stops=lambda error: isinstance(error, MemoryError))
    with pytest.raises(MemoryError):
        run(scenes)
    assert [result.status for result in scenes.results()] == ["failed", "done", "not done", "not done"]
    (first, *_) = scenes.results()
    assert first.error is not None
    assert first.error.startswith("internal error: ZeroDivisionError: odd")
    assert first.exit_code == 70
    with pytest.raises(ZeroDivisionError):
        run(FakeScenes(3, faults))


def test_the_error_of_the_only_scene_is_raised_as_it_is() -> None:
    for where in ("open", "run"):
        scenes = FakeScenes(1, {(where, 0): [LockedError("0.tif: in use")]})
        with pytest.raises(LockedError, match=r"0\.tif: in use"):
            run(scenes)
        assert scenes.to_json()["scenes"][0]["status"] == "failed"


def test_what_another_process_has_in_hand_is_tried_again_after_the_others() -> None:
    busy = LockedError("in use")
    taken = FakeScenes(3, {("run", 0): [busy, FREE]})
    assert run(taken) == ["done"] * 3
    assert taken.done == [1, 2, 0]
    # It takes the scene again whenever it is free.
    still = FakeScenes(3, {("run", 0): [busy, busy, busy, FREE]})
    assert run(still) == ["done"] * 3
    refused = FakeScenes(3, {("run", 0): [OutputError("the folder cannot be made")]})
    assert run(refused) == ["failed", "done", "done"]
    assert refused.exit_code == 73
    # It has finished the scene since this process opened it.
    meanwhile = FakeScenes(3, {("run", 1): [OutputError("exists already")]})
    jobs = meanwhile.jobs()
    for job in jobs:
        with meanwhile.sparing_others(job), job:
            list(job.run())
        meanwhile.finished = (1,)
    assert [result.status for result in meanwhile.results()] == ["done", "done before", "done"]


class OutputScenes(FakeScenes):
    """Scenes with outputs in the working folder, which are finished when they have a record."""

    def open(self, number: int) -> FakeJob | None:
        if self.record(number).exists():
            return None
        if self.outputs(number)[0].exists():
            raise OutputError(f"{number}: exists already")
        return super().open(number)

    def raise_fault(self, where: str, number: int) -> None:
        if where == "run":
            with OutputLocks(*self.outputs(number)):
                pass
        super().raise_fault(where, number)


@pytest.mark.parametrize("there", [False, True])
def test_what_another_process_publishes_is_waited_for_and_done_before(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = OutputScenes(3)
    output, record = Path("1-classes.tif"), Path("1-classes.geoseg.json")
    if there:
        output.touch()
    locks, warned = OutputLocks(output), threading.Event()

    def publish() -> None:
        warned.wait(20)
        output.touch()
        record.touch()
        locks.release()

    told: list[str] = []

    def warn(message: str, *arguments: object) -> None:
        told.append(message % arguments)
        warned.set()

    monkeypatch.setattr("geoseg.jobs.scenes.log.warning", warn)
    other = threading.Thread(target=publish)
    other.start()
    try:
        assert run(scenes) == ["done", "done before", "done"]
    finally:
        warned.set()
        other.join()
    assert scenes.done == [0, 2]
    assert scenes.exit_code == 0
    (line,) = told
    assert line.startswith("1-classes.tif: process ")
    assert line.endswith("is at work there; waiting until it is done")


def test_an_output_of_other_work_is_refused_at_once(tmp_path: Path) -> None:
    Path("1-classes.tif").touch()
    scenes = OutputScenes(3)
    assert run(scenes) == ["done", "failed", "done"]
    assert scenes.exit_code == 73
    assert not list(tmp_path.glob(".*"))


def test_an_interruption_is_no_fault_of_a_scene() -> None:
    scenes = FakeScenes(2)
    jobs = scenes.jobs()
    job = next(jobs)
    with pytest.raises(KeyboardInterrupt), scenes.sparing_others(job), job:
        raise KeyboardInterrupt
    assert [result.status for result in scenes.results()] == ["not done", "not done"]


def test_thousands_of_scenes_are_opened_one_at_a_time_and_once_each() -> None:
    scenes = FakeScenes(2000, {("open", number): [InputError("damaged")] for number in range(0, 2000, 100)})
    assert run(scenes).count("done") == 1980
    assert (scenes.opened, scenes.most_open) == (2000, 1)


def test_jobs_may_be_given_out_before_others_are_done() -> None:
    scenes = FakeScenes(4, {("run", 2): [InputError("damaged")]})
    held = list(scenes.jobs())
    for job in reversed(held):
        with scenes.sparing_others(job), job:
            list(job.run())
    assert [result.status for result in scenes.results()] == ["done", "done", "failed", "done"]
