"""One training in several processes: they meet, add up tensors, wait for the first of them, and fail together.

Each process holds the whole network and learns from its share of the patches of a step. A loss is a sum over
superpixels divided by their area in *all* patches, so the losses of the processes add up to the loss of one process
with all patches; and so do the gradients, once every sum that a loss takes over all patches is differentiable
(`World.sum`). A mean of the processes' own losses would be another loss: superpixels of a process with few of them
would count more, and each process would balance the classes of its own patches.

A process that fails leaves a word in the store at which the processes met; the others find it there when they wait for,
or lose contact with, a process. So the reason is told once, and all end with its exit status.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from geoseg.errors import ElsewhereError, GeosegError, RunError, SettingError, UnavailableError
from geoseg.launch import Launch

T = TypeVar("T")

_WORD_SECONDS = 5.0
"""Time to wait for the word of a process with which contact is lost."""

_POLL_SECONDS = 0.05
_FAILURES, _FAILURE, _HEARD = "failures", "failure", "heard"
_MAX_READERS = 8


class World:
    """The processes of one training, of which this is one. Alone, everything is a plain call and leaves values as is.

    Args:
        launch: The place of this process among them.
        device: On which they train; by default the CPU.
        store: Where they met; None for a process alone.
        collective: Whether there are others to talk to; by default if there is more than one process.
    """

    def __init__(
        self,
        launch: Launch | None = None,
        device: torch.device | None = None,
        store: Any = None,
        collective: bool | None = None,
    ) -> None:
        self.launch = Launch() if launch is None else launch
        self.rank, self.size = self.launch.rank, self.launch.size
        self.collective = self.size > 1 if collective is None else collective
        self._device = torch.device("cpu") if device is None else device
        self._store = store
        self._waits = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks and writes for all."""
        return self.rank == 0

    @property
    def reading_threads(self) -> int:
        """Number of threads that read patches here: those of the machine, divided among its processes."""
        cores = os.cpu_count() or 1
        return min(_MAX_READERS, max(1, cores // self.launch.local_size))

    def share(self, count: int) -> range:
        """Return which of `count` samples are this process's: every `size`-th, so that any half is divided too."""
        return range(self.rank, count, self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes. Gradients flow to the tensors of all of them.

        The losses of the processes count as parts of one loss, their sum.
        """
        if not self.collective:
            return tensor
        return cast(Tensor, _Sum.apply(tensor, self))

    def add_up(self, tensor: Tensor) -> Tensor:
        """Replace a contiguous tensor by its sum over all processes, in place, and return it; without gradients."""
        if self.collective:
            with self._contact():
                dist.all_reduce(tensor)
        return tensor

    def meet(self, row: Tensor, finish: Callable[[Tensor], T]) -> T:
        """Return what `finish` makes of the rows (n,) of all processes, given as (rows, n); without gradients."""
        return finish(self.add_rows(row[None]))

    def add_rows(self, rows: Tensor) -> Tensor:
        """Return the rows (n, m) of all processes, by rank; each has equally many."""
        if not self.collective:
            return rows
        # A sum with zeros is exact.
        everywhere = rows.new_zeros(self.size, *rows.shape)
        everywhere[self.rank] = rows
        return self.add_up(everywhere).flatten(0, 1)

    def add_gradients(self, parameters: Iterator[torch.nn.Parameter], values: Tensor) -> Tensor:
        """Replace gradients by their sums over all processes, in one message, and return the sums of `values` (n,).

        One buffer for all of them costs one round for a network of a few megabytes. DistributedDataParallel would
        hide it behind the backward pass, but averages, which has to be undone; expects one forward pass for each
        backward pass, of which a step here has up to four; and would wait for gradients of the perturbed passes.
        """
        if not self.collective:
            return values
        gradients = [each.grad for each in parameters if each.grad is not None]
        parts = [*(each.flatten() for each in gradients), values.to(gradients[0].dtype)]
        together = self.add_up(torch.cat(parts))
        *summed, sums = torch.split(together, [len(part) for part in parts])
        for gradient, found in zip(gradients, summed, strict=True):
            gradient.copy_(found.view_as(gradient))
        return sums.to(values.dtype)

    def count(self, number: int) -> int:
        """Return the sum of the numbers of all processes."""
        return int(self.add_up(torch.tensor([number]))) if self.collective else number

    def of_first(self, value: float) -> float:
        """Return the number of the first process."""
        if not self.collective:
            return value
        return float(self.add_up(torch.tensor([value if self.first else 0.0], dtype=torch.float64)))

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, by rank, to each of them."""
        if not self.collective:
            return [value]
        found: list[Any] = [None] * self.size
        with self._contact():
            dist.all_gather_object(found, value)
        return found

    def from_first(self, work: Callable[[], T]) -> T:
        """Return what `work` returns in the first process, to all of them. The others wait, however long it takes."""
        if not self.collective:
            return work()
        self._waits += 1
        done = f"done-{self._waits}"
        value: list[Any] = [work() if self.first else None]
        with self._contact():
            if self.first:
                self._store.set(done, "1")
            while not self._store.check([done]):
                self._raise_failure()
                time.sleep(_POLL_SECONDS)
            dist.broadcast_object_list(value)
        return cast(T, value[0])

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Check that all processes have the same facts.

        Raises:
            RunError: They have not; the message names what differs, and where.
        """
        if not self.collective:
            return
        mine = json.loads(json.dumps(facts))
        (_, expected), *others = self.gather((socket.gethostname(), mine))
        for rank, (host, found) in enumerate(others, 1):
            differing = [key for key in expected if found.get(key) != expected[key]]
            if differing:
                raise RunError(
                    f"process {rank} on {host} has different {', '.join(differing)} than process 0; all processes need "
                    "the same data, settings and kind of device"
                )

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Tell the other processes of an error in this context, and raise ElsewhereError if one of them was earlier."""
        try:
            yield
        except ElsewhereError:
            raise
        except Exception as error:
            if not self.collective:
                raise
            if isinstance(error, SettingError) and not self.first:
                # Settings are wrong in all processes, with few exceptions, and the first one tells it.
                self._raise_failure(_WORD_SECONDS)
                error = RunError(f"process {self.rank} on {socket.gethostname()}: {error}")
            status = error.exit_code if isinstance(error, GeosegError) else GeosegError.exit_code
            if not self._leave_word(status):
                raise ElsewhereError(self._failure() or status) from error
            self._part()
            raise error

    def leave(self) -> None:
        """Part from the other processes once all are done."""
        if self.collective and dist.is_initialized():
            with self._contact():
                dist.barrier()
            dist.destroy_process_group()

    def _leave_word(self, status: int) -> bool:
        """Leave word of a failure; return False if there is word of an earlier one."""
        try:
            if self._store.add(_FAILURES, 1) > 1:
                return False
            self._store.set(_FAILURE, str(status))
        except RuntimeError:
            # Whoever kept the store is gone.
            pass
        return True

    def _part(self) -> None:
        """Leave the others, who may be waiting for this process, and let them find the word of it."""
        try:
            if self._device.type == "cpu":
                # NCCL would wait for what is under way on the GPU; there, the launcher ends the others.
                dist.destroy_process_group()
            if self.first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
                # The store ends with this process.
                until = time.monotonic() + _WORD_SECONDS
                while self._store.add(_HEARD, 0) < self.size - 1 and time.monotonic() < until:
                    time.sleep(_POLL_SECONDS)
        except RuntimeError:
            pass

    def _failure(self, seconds: float = _WORD_SECONDS) -> int | None:
        """Return the exit status of the process that failed first; None if there is no word of it within some time."""
        until = time.monotonic() + seconds
        try:
            while self._store is not None:
                if self._store.check([_FAILURE]):
                    status = int(self._store.get(_FAILURE))
                    self._store.add(_HEARD, 1)
                    return status
                if time.monotonic() >= until:
                    break
                time.sleep(_POLL_SECONDS)
        except RuntimeError:
            pass
        return None

    def _raise_failure(self, seconds: float = 0.0) -> None:
        status = self._failure(seconds)
        if status is not None:
            raise ElsewhereError(status)

    @contextmanager
    def _contact(self) -> Iterator[None]:
        """Turn the loss of contact within this context into the failure that caused it.

        Raises:
            ElsewhereError: Another process failed.
            UnavailableError: Another process is gone, or cannot be reached.
        """
        try:
            yield
        except GeosegError:
            raise
        except RuntimeError as error:
            self._raise_failure(_WORD_SECONDS)
            reason = str(error).strip().splitlines()[0]
            raise UnavailableError(
                f"contact with another process of this training is lost ({reason}); --resume continues it"
            ) from error


ALONE = World()
"""The world of a process that no launcher started."""


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, world: World) -> Tensor:
        ctx.world = world
        return world.add_up(tensor.detach().clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return ctx.world.add_up(gradient.clone(memory_format=torch.contiguous_format)), None
