"""Run `geoseg` under faults, each time in a process of its own, and hash what it left behind.

A server that has imported and compiled everything forks the processes, so a trial costs a fraction of a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faults.points import Fault

EPOCH = "1700000000"
"""SOURCE_DATE_EPOCH of every run: outputs must not depend on the time of day."""

_TESTS = Path(__file__).resolve().parents[1]
_TIMEOUT = 120.0


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit status; negative if a signal ended the process.
        out: standard output.
        err: standard error.
        operations: what it did to files, in order, such as "replace map.tif from .map.tif.tmp".
        seconds: run time.
        ended: when it ended, on the clock of `time.monotonic`.
        since: when it received its signal, on that clock; None without a signal.
        late: it ran past the timeout and was killed.
    """

    code: int
    out: str
    err: str
    operations: tuple[str, ...]
    seconds: float
    ended: float
    since: float | None
    late: bool

    @property
    def said(self) -> list[str]:
        """Lines of standard error."""
        return self.err.splitlines()


class Commands:
    """Runs commands; a context manager, because the server is a process."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(_TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        ones = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        # Arrow's own allocator keeps a thread, which no fork may lose.
        others = {"JE_ARROW_MALLOC_CONF": "background_thread:false", "SOURCE_DATE_EPOCH": EPOCH}
        # The harness comes from here, and geoseg from where it is installed, not from the checkout.
        others |= {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
        environment = {**os.environ, **ones, **others}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "faults.server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self._answer()

    def __enter__(self) -> Commands:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate(timeout=_TIMEOUT)

    def start(
        self, arguments: Sequence[object], fault: Fault | None = None, *, cold: bool = False,
        limits: Mapping[str, int] | None = None, recipe: Mapping[str, Any] | None = None,
    ) -> int:  # fmt: skip
        """Start `geoseg ARGUMENTS` and return its process id.

        Args:
            arguments: of the command line.
            fault: what goes wrong.
            cold: start a new interpreter instead of forking the server.
            limits: resource limits in bytes, by their names in `resource` without "RLIMIT_".
            recipe: values of the recipe of `geoseg train` that no option has.
        """
        request = {
            "arguments": [str(argument) for argument in arguments], "fault": asdict(fault) if fault else None,
            "cold": cold, "limits": dict(limits or {}), "recipe": dict(recipe or {}), "environment": {},
        }  # fmt: skip
        process: int = self._ask(request)["process"]
        return process

    def wait(self, process: int, timeout: float = _TIMEOUT) -> Ended:
        """Wait until the process has ended; kill it after `timeout` seconds."""
        answer = self._ask({"wait": process, "timeout": timeout})
        lines = answer["events"].splitlines()
        since = next((float(line.split()[1]) for line in lines if line.startswith("signal ")), None)
        operations = tuple(line for line in lines if not line.startswith("signal "))
        seconds = answer["ended"] - answer["began"]
        return Ended(
            answer["code"], answer["out"], answer["err"], operations, seconds, answer["ended"], since, answer["late"]
        )

    def run(
        self, arguments: Sequence[object], fault: Fault | None = None, timeout: float = _TIMEOUT, **options: Any
    ) -> Ended:  # fmt: skip
        """Start a command and wait until it has ended."""
        return self.wait(self.start(arguments, fault, **options), timeout)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError("the fault server has ended; its messages are on standard error")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def working_folder() -> Iterator[Path]:
    """Yield a temporary folder, in memory if possible: no trial cuts the power, and a disk takes twice as long."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file under `folder` by relative path; a training log is hashed without its times."""
    return {str(path.relative_to(folder)): _hash(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _hash(path: Path) -> str:
    content = path.read_bytes()
    if path.name.endswith(".metrics.jsonl"):
        try:
            steps = [json.loads(line) for line in content.splitlines()]
        except ValueError:
            return "torn"
        content = json.dumps([{**step, "images_per_second": 0} for step in steps]).encode()
    return hashlib.sha256(content).hexdigest()
