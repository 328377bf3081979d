"""Settings of the engine: where blocks are computed, and by how many processes and threads."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

from geoseg.errors import SettingError
from geoseg.recipes import check_choice, check_range

Engine = Literal["local", "dask"]

_DEVICE_HINT = "choose GPUs with CUDA_VISIBLE_DEVICES; each worker gets one"


@dataclass(frozen=True, kw_only=True)
class Computing:
    """Where blocks are computed. Every command that works block by block has these settings; none changes a result.

    Attributes:
        engine: local: threads of this process. dask: processes of a Dask cluster.
        workers: Of the local engine, the number of threads; None is the number of cores, at most 8. Of the dask engine,
            the number of processes to start on this machine; None is the number of GPUs, or as many as there are cores
            for their threads.
        scheduler: Address of the scheduler of a cluster that runs already; without it and `scheduler_file`, workers
            are started on this machine.
        scheduler_file: File that such a scheduler wrote, instead of its address.
        threads: Threads of each process of the dask engine; None is 1, and with a GPU the number of cores, at most 16.
        tls_ca_file: Certificate of the authority that the scheduler's is signed by, in PEM; None leaves it to Dask's
            configuration, as with the other two.
        tls_cert: Certificate to show to the scheduler.
        tls_key: Its key, if that is not in the same file.
    """

    engine: Engine = "local"
    workers: int | None = None
    scheduler: str | None = None
    scheduler_file: Path | None = None
    threads: int | None = None
    tls_ca_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @property
    def has_scheduler(self) -> bool:
        """Whether the cluster runs already."""
        return self.scheduler is not None or self.scheduler_file is not None

    def threads_with(self, gpu: bool) -> int | None:
        """Return the number of threads in each process that computes blocks, with a GPU or without; None is default."""
        if self.engine == "local":
            return self.workers
        return self.threads or (None if gpu else 1)

    def within_worker(self, gpu: bool) -> Self:
        """Return the settings for a process that computes blocks of the same job, with a GPU or without."""
        settings: dict[str, Any] = {entry.name: entry.default for entry in fields(Computing)}
        return replace(self, **settings | {"workers": self.threads_with(gpu)})

    def check_engine(self, device: str = "cpu") -> None:
        """Raise SettingError where these settings contradict one another.

        Args:
            device: What the network runs on.
        """
        check_choice("engine", self.engine, get_args(Engine))
        given = {
            "scheduler": self.scheduler, "scheduler file": self.scheduler_file, "threads": self.threads,
            "tls ca file": self.tls_ca_file, "tls cert": self.tls_cert, "tls key": self.tls_key,
        }  # fmt: skip
        for name, value in given.items():
            if value is None:
                continue
            if self.engine != "dask":
                more = ", or --workers, the number of threads without it" if name == "threads" else ""
                raise SettingError(f"{name} is {value}, a setting of the dask engine: give --engine dask too{more}")
            if name.startswith("tls") and not self.has_scheduler:
                raise SettingError(
                    f"{name} is {value}, for a scheduler that runs already; give --scheduler or --scheduler-file too"
                )
        if self.threads is not None:
            check_range("threads", self.threads, 1, 1024)
        if self.scheduler is not None and self.scheduler_file is not None:
            raise SettingError(
                f"scheduler is {self.scheduler}, and {self.scheduler_file} names one as well: choose one of "
                "--scheduler and --scheduler-file"
            )
        if self.has_scheduler and self.workers is not None:
            raise SettingError(
                f"workers is {self.workers}, to be started on this machine, and the cluster of "
                f"{self.scheduler or self.scheduler_file} has its own: choose one of --workers and a scheduler"
            )
        if self.scheduler is not None and not self.scheduler.strip():
            raise SettingError("scheduler is empty; give its address, such as tcp://10.0.0.1:8786")
        if self.engine == "dask" and ":" in device:
            raise SettingError(f"device is {device}, and the dask engine has workers on several; {_DEVICE_HINT}")
