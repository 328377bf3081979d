"""Several processes that train together do what one would do, fail together, and go on after one was killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.rasters import landscape, make_raster
from safetensors.torch import load_file

from geoseg.model.file import load_model

OPTIONS = (
    "--steps", "9", "--batch-size", "3", "--patch-size", "64", "--classes", "4", "--precision", "float32", "--device",
    "cpu",
)  # fmt: skip
TESTS = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}

Launch = Callable[..., list[int]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two scenes that have little in common, half of one of them without data."""
    path = tmp_path_factory.mktemp("data")
    make_raster(path / "a.tif", landscape(160, 160, seed=1))
    dark = landscape(160, 160, seed=2) // 3 + 1
    dark[:, 20:120:3, 40:] = 0
    make_raster(path / "b.tif", dark, nodata=0)
    return path


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what the processes write and say."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def launch(folder: Path, work: Path) -> Iterator[Launch]:
    """Return a function that runs processes and returns their exit statuses."""
    command = [sys.executable, "-m", "helpers.launcher"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def run(name: str, size: int = 2, out: str = "", options: tuple[str, ...] = (), **request: Any) -> list[int]:
            assert server.stdin is not None
            assert server.stdout is not None
            if "compare" not in request:
                model = str(work / f"{out or name}.safetensors")
                request["arguments"] = ["train", "--data", str(folder), "--out", model, *OPTIONS, *options]
            server.stdin.write(json.dumps({"name": name, "size": size, "folder": str(work), **request}) + "\n")
            server.stdin.flush()
            codes: list[int] = json.loads(server.stdout.readline())
            return codes

        yield run
        server.stdin.close()


def said(work: Path, name: str, size: int = 2) -> list[list[str]]:
    """The lines of standard error, by rank."""
    return [(work / f"{name}-{rank}.err").read_text().splitlines() for rank in range(size)]


def lines(work: Path, name: str) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    found = [json.loads(line) for line in (work / f"{name}.metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line.pop("images_per_second")]


@pytest.fixture(scope="module")
def whole(launch: Launch, work: Path) -> bytes:
    """The model of two processes that nothing interrupts."""
    assert launch("whole") == [0, 0], said(work, "whole")
    return (work / "whole.safetensors").read_bytes()


def compared(launch: Launch, folder: Path, work: Path, name: str, size: int = 2, **settings: Any) -> dict[str, Any]:
    """How a training in several processes differs from one in one process."""
    settings["data"] = str(folder)
    assert launch(name, size, compare=settings) == [0] * size, said(work, name, size)
    found: dict[str, Any] = json.loads((work / f"{name}.json").read_text())
    assert max(found["gradients"]) < 1e-9
    assert max(found[key] for key in ("weights", "averages", "p_bar", "values")) < 1e-9
    assert found["apart"] == 0
    return found


def test_two_processes_learn_what_one_does(launch: Launch, folder: Path, work: Path) -> None:
    """Gradients of each step and phase, the weights at the end, their averages and the criterion."""
    found = compared(launch, folder, work, "two")
    assert found["phases"] == [0, 0, 1, 1, 2, 2]
    assert len(set(found["regions"])) == 2, "the processes should have different numbers of superpixels"


def test_a_process_may_have_no_patch_for_the_adversary(launch: Launch, folder: Path, work: Path) -> None:
    found = compared(launch, folder, work, "few", 3, batch_size=4, steps=3)
    assert found["phases"] == [0, 1, 2]


def test_a_step_that_one_process_spoils_is_skipped_by_all(launch: Launch, folder: Path, work: Path) -> None:
    """And after three of them, all go back to the same state."""
    found = compared(launch, folder, work, "spoilt", batch_size=2, steps=7, poisoned=[1, 3, 4, 5])
    skipped = [bool(note) for note in found["notes"][0]]
    assert skipped == [False, True, False, True, True, True, False]
    assert found["notes"][0] == found["notes"][1]
    assert found["rate"] == 0.5


def test_two_processes_make_the_model_of_one(launch: Launch, work: Path, whole: bytes) -> None:
    """In single precision, to rounding. Only the first process speaks and writes."""
    assert launch("one", 1) == [0]
    first, second = said(work, "whole")
    assert first[0].startswith("learning 4 classes from 2 scenes on cpu in 2 processes (float32), at most 9 steps")
    assert second == []
    assert (work / "whole-0.out").read_text() == f"{work / 'whole.safetensors'}\n"
    assert (work / "whole-1.out").read_text() == ""
    one, two = (lines(work, name) for name in ("one", "whole"))
    for expected, found in zip(one, two, strict=True):
        assert expected.keys() == found.keys()
        for key in ("step", "phase", "note"):
            assert found[key] == expected[key]
        for key in ("loss", "information", "anchor", "geometric", "perplexity", "criterion"):
            assert (found[key] is None) == (expected[key] is None)
            assert found[key] is None or found[key] == pytest.approx(expected[key], rel=1e-3, abs=1e-3)
    weights = [load_file(work / f"{name}.safetensors") for name in ("one", "whole")]
    for key, value in weights[0].items():
        np.testing.assert_allclose(weights[1][key], value, rtol=0.01, atol=0.01)
    models = [load_model(work / f"{name}.safetensors") for name in ("one", "whole")]
    assert [model.provenance.get("processes") for model in models] == [None, 2]
    assert models[0].stats == models[1].stats
    assert not (work / "whole.training").exists()


def test_law_8_a_killed_process_that_is_started_again(launch: Launch, work: Path, whole: bytes) -> None:
    """The first one, which holds the lock and the checkpoints."""
    ended = launch("killed", trouble=["kill", 0, 6])
    assert ended == [-9, 69]
    (line,) = said(work, "killed")[1]
    assert line.startswith("geoseg: error: contact with another process of this training is lost")
    assert sorted(path.stem for path in (work / "killed.training").glob("*.pt")) == ["step-000002", "step-000004"]
    # A new training, started by somebody else, does not take it for its own.
    assert launch("stranger", out="killed") == [73, 73]
    assert "--resume continues it" in said(work, "stranger")[0][0]
    assert launch("again", out="killed", restarts=1) == [0, 0]
    assert "continues after step 4" in said(work, "again")[0][0]
    assert (work / "killed.safetensors").read_bytes() == whole
    assert lines(work, "killed") == lines(work, "whole")


def test_an_error_of_one_process_ends_all_with_one_line(launch: Launch, work: Path) -> None:
    assert launch("fault", trouble=["fault", 1, 4], options=("-q",)) == [65, 65]
    assert said(work, "fault") == [[], ["geoseg: error: scene.tif: changed while it was read"]]
    # What was done until then is kept, and continued in one process as well.
    assert launch("resumed", 1, out="fault", options=("--resume",)) == [0]
    assert "continues after step 2" in said(work, "resumed", 1)[0][0]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--steps", "many"), 2, "--steps"),
        (("--classes", "1"), 78, "classes is 1"),
        (("--batch-size", "1"), 78, "a step has 1 patches, fewer than there are processes (2)"),
        (("--data", "nothing"), 66, "nothing"),
    ],
)
def test_what_is_wrong_everywhere_is_told_once(
    launch: Launch, work: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    assert launch("wrong", options=options) == [code, code]
    (line,) = [line for lines in said(work, "wrong") for line in lines]
    assert words in line


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_restarts_a_killed_process(launch: Launch, folder: Path, work: Path, whole: bytes, rank: int) -> None:
    """The real one, whose store keeps what the dead have left in it."""
    out = work / f"torchrun-{rank}.safetensors"
    script = work / "killed.py"
    script.write_text(
        "import sys\nfrom helpers import launcher\nlauncher.work({"
        f"'trouble': ['kill', {rank}, 6], 'arguments': sys.argv[1:]"
        "})\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    command = [*torchrun, str(script), "train", "--data", str(folder), "--out", str(out), *OPTIONS]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "continues after step 4" in ended.stderr
    assert out.read_bytes() == whole
