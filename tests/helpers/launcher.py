"""Several processes that train together, as torchrun starts them, but forked from one that has imported everything.

`python -m helpers.launcher` reads a JSON object {"name", "size", "restarts", "trouble", "arguments" or "compare"} per
line, starts that many processes, and answers with their exit statuses once all have ended. What they say is in the
files NAME-RANK.err and NAME-RANK.out.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

RECIPE = {"checkpoint_every": 2, "mixture_superpixels": 500}


def trouble(kind: str, rank: int, step: int) -> None:
    """Have the process of a rank killed, or fail, when it comes to a step."""
    from geoseg.errors import InputError
    from geoseg.learning.step import Step
    from geoseg.learning.trainer import Trainer

    advance = Trainer.advance

    def troubled(self: Trainer, *given: Any) -> Step:
        if self.step + 1 == step:
            if kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise InputError("scene.tif: changed while it was read")
        return advance(self, *given)

    if os.environ.get("RANK") == str(rank) and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        Trainer.advance = troubled  # type: ignore[method-assign]


def work(request: dict[str, Any]) -> None:
    """Do the work of one process."""
    if request.get("trouble"):
        trouble(*request["trouble"])
    if "compare" in request:
        from helpers.together import compare

        compare(Path(request["folder"]), request["name"], **request["compare"])
        return
    from geoseg.cli.main import main
    from helpers.commandline import training_with

    training_job: Any = importlib.import_module("geoseg.jobs.train")
    training_job.TrainJob = training_with(**RECIPE)
    main(request["arguments"])


def start(request: dict[str, Any], rank: int, port: int) -> int:
    """Fork one process; return its id."""
    process = os.fork()
    if process:
        return process
    for number, kind in ((1, "out"), (2, "err")):
        name = f"{request['folder']}/{request['name']}-{rank}.{kind}"
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if request["size"] > 1:
        given = {
            "RANK": rank, "WORLD_SIZE": request["size"], "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": request["size"],
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "none",
            "TORCHELASTIC_RESTART_COUNT": request.get("restarts", 0),
        }  # fmt: skip
        os.environ.update({name: str(value) for name, value in given.items()})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code: Any = 0
    try:
        work(request)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


def warm() -> None:
    """Import and compile what a training uses, leaving no thread behind: a fork would lose it."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    for name in ("sklearn.mixture", "sklearn.cluster", "geoseg.jobs.train", "geoseg.cli.main", "helpers.together"):
        importlib.import_module(name)
    from geoseg.learning.imagery import Imagery
    from geoseg.learning.patches import PatchSampler
    from geoseg.raster.scene import Scene
    from geoseg.raster.statistics import band_stats
    from geoseg.recipes import SuperpixelConfig
    from helpers.rasters import landscape, make_raster

    with (
        tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as threads,
        Scene(make_raster(Path(folder) / "scene.tif", landscape(64, 96))) as scene,
    ):  # fmt: skip
        sampler = PatchSampler(
            Imagery([scene]), band_stats([scene]), SuperpixelConfig(8), (None, None), 64, 0, start="surroundings"
        )
        sampler.batch(0, 1, threads)


def serve() -> None:
    """Answer requests until standard input ends."""
    warm()
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        processes = [start(request, rank, port) for rank in range(request["size"])]
        codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
        print(json.dumps(codes), flush=True)
    os._exit(0)


if __name__ == "__main__":
    serve()
