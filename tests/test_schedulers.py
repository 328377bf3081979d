"""The scripts for schedulers: what they submit makes the map, with stand-ins for the schedulers' commands."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.commandline import geoseg
from helpers.rasters import landscape, make_raster

EXAMPLES = Path(__file__).parents[1] / "examples"

RECORDS = """#!/bin/bash
printf '%s\\n' "$(printf '%q ' "$@")" >> "$RECORD"
"""

SBATCH = """#!/bin/bash
first=1 last=1
while [[ $1 == --* ]]; do
    case $1 in
        --array=*) range=${1#--array=}; range=${range%%%*}; first=${range%-*}; last=${range#*-} ;;
        --dependency=after*:7*|--parsable|--kill-on-invalid-dep=yes) ;;
        *) echo "no such option: $1" >&2; exit 1 ;;
    esac
    shift
done
script=$1; shift
for task in $(seq "$first" "$last"); do SLURM_ARRAY_TASK_ID=$task bash "$script" "$@"; done
echo 71
"""

AWS = """#!/usr/bin/env python3
import json, os, subprocess, sys
given = sys.argv[1:]
assert given[:2] == ["batch", "submit-job"], given
options = dict(zip(given[2::2], given[3::2]))
assert options["--output"] == "text"
command = json.loads(options["--container-overrides"])["command"]
command = [part.replace("/opt/geoseg", os.environ["SCRIPTS"]) for part in command]
size = int(options.get("--array-properties", "size=1").removeprefix("size="))
for index in range(size):
    index = {"AWS_BATCH_JOB_ARRAY_INDEX": str(index)} if size > 1 else {}
    subprocess.run(command, check=True, env={**os.environ, **index}, stdout=sys.stderr)
print("71")
"""

Submit = Callable[..., list[list[str]]]


@pytest.fixture
def submit(tmp_path: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submit:
    """Return a function: run a script, and return the arguments of each call of geoseg."""
    make_raster(tmp_path / "scene of mine.tif", landscape(600, 700))
    (tmp_path / "m.safetensors").symlink_to(model_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in {"geoseg": RECORDS, "sbatch": SBATCH, "aws": AWS}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))

    def run(script: str, *arguments: str) -> list[list[str]]:
        path = EXAMPLES / script
        monkeypatch.setenv("SCRIPTS", str(path.parent))
        done = subprocess.run(["bash", path, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        lines = Path("record").read_text().splitlines()
        return [subprocess.run(["bash", "-c", f'printf "%s\\0" {line}'], capture_output=True, text=True, check=True)
                .stdout.rstrip("\0").split("\0") for line in lines]  # fmt: skip

    return run


@pytest.mark.skipif(os.name != "posix", reason="scripts of bash")
def test_slurm_makes_the_map(submit: Submit, capsys: pytest.CaptureFixture[str]) -> None:
    calls = submit("slurm/submit.sh", "scene of mine.tif", "m.safetensors", "map.tif", "2", "--block-size", "512")
    assert [call[0] for call in calls] == ["plan", "work", "work", "finalize"]
    assert [call[3] for call in calls[1:3]] == ["1/2", "2/2"]
    for call in calls:
        assert geoseg(capsys, *call).code == 0
    assert Path("map.geoseg.json").exists()


@pytest.mark.skipif(os.name != "posix", reason="scripts of bash")
def test_aws_batch_makes_the_map(submit: Submit, capsys: pytest.CaptureFixture[str]) -> None:
    calls = submit(
        "aws-batch/submit.sh", "queue", "geoseg", "scene of mine.tif", "m.safetensors", "map.tif", "map.run", "2"
    )
    assert [call[0] for call in calls] == ["plan", "work", "work", "finalize"]
    assert [call[3] for call in calls[1:3]] == ["1/2", "2/2"]
    for call in calls:
        assert geoseg(capsys, *call).code == 0
    assert Path("map.geoseg.json").exists()
