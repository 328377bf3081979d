"""Threads that share the patches of a step on a CPU, whose number does not change the weights.

torch's own threads do: they divide sums among themselves, and another division has other last bits. They also meet some
thousand times a step, and spin while they wait: where two threads find one free core, a step takes ten times as long.

Here the recipe divides a step, into groups of patches. Each group has a thread, in which torch uses no others, and a
replica of the network. They meet some fifty times a step, where a sum is over all patches (`World.sum`), sleep while
they wait, and add up in the order of the groups. How many of them run at once makes no difference.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from geoseg.launch import Launch
from geoseg.learning.distributed import World
from geoseg.model.network import SegmentationNetwork
from geoseg.recipes import COMPACT, Recipe

T = TypeVar("T")

_GROUP_PIXELS = 2 * 192 * 192
"""Fewest pixels of a group: two patches of the default recipe. One patch each would take 1.5 times the CPU time."""

_MAX_GROUPS = 8


def forms_groups(network: SegmentationNetwork, device: torch.device) -> bool:
    """Return whether the patches of a step form groups, each with one thread of torch's: one group or more.

    They do not beside a GPU, and with an encoder, which may draw random numbers from torch's one generator.
    """
    return device.type == "cpu" and network.spec.encoder == COMPACT


def groups_of(network: SegmentationNetwork, recipe: Recipe, device: torch.device, processes: int) -> int:
    """Return the number of groups of patches in each process; 1 where there are none."""
    if not forms_groups(network, device):
        return 1
    pixels = recipe.batch_size * recipe.patch_size**2 // processes
    return max(1, min(pixels // _GROUP_PIXELS, _MAX_GROUPS, recipe.batch_size // processes))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with `count` threads of its own within this context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Team:
    """The groups of a process, and the threads that they run in.

    Args:
        groups: Number of groups.
        threads: How many of them run at once.
        world: The processes that train together.

    Attributes:
        worlds: The world that each group is in: that of all groups of all processes.
    """

    def __init__(self, groups: int, threads: int, world: World) -> None:
        self._world = world
        self._turns = threading.Semaphore(threads)
        self._meeting = threading.Barrier(groups, self._finish_all)
        self._brought = [torch.empty(0)] * groups
        self._finish: Callable[[list[Tensor]], Any] = list
        self._found: Any = None
        self.worlds = [_Group(self, group, groups, world) for group in range(groups)]
        # Started when the first step is taken; they end with this object.
        self._threads = ThreadPoolExecutor(groups, thread_name_prefix="group")

    def run(self, work: Callable[[int], T]) -> list[T]:
        """Call `work` with the number of each group, in a thread of its own; return the results by group.

        After an error in one of them, no group can meet another again.
        """
        futures = [self._threads.submit(self._run, work, group) for group in range(len(self.worlds))]
        wait(futures)
        errors = [error for error in (future.exception() for future in futures) if error is not None]
        for error in errors:
            if not isinstance(error, threading.BrokenBarrierError):
                raise error
        return [future.result() for future in futures]

    def meet(self, group: int, tensor: Tensor, finish: Callable[[list[Tensor]], T]) -> T:
        """Return what `finish` makes of the tensors of all groups, once all have brought theirs.

        It is called once, and all groups get the same result.
        """
        self._brought[group], self._finish = tensor, finish
        self._turns.release()
        try:
            self._meeting.wait()
        finally:
            self._turns.acquire()
        return cast(T, self._found)

    def _run(self, work: Callable[[int], T], group: int) -> T:
        with self._turns:
            try:
                return work(group)
            except BaseException:
                self._meeting.abort()
                raise

    def _finish_all(self) -> None:
        """Do what the groups have met for, in one thread while the others wait."""
        self._found = self._finish(self._brought)


class _Group(World):
    """One group of patches among those of all processes: every `groups`-th of the patches of its process."""

    def __init__(self, team: Team, group: int, groups: int, world: World) -> None:
        super().__init__(Launch(world.rank + world.size * group, world.size * groups), collective=True)
        self._team, self._group, self._processes = team, group, world

    def add_up(self, tensor: Tensor) -> Tensor:
        def add(tensors: list[Tensor]) -> Tensor:
            total = tensors[0].clone()
            for other in tensors[1:]:
                total += other
            return self._processes.add_up(total)

        return tensor.copy_(self._team.meet(self._group, tensor, add))

    def meet(self, row: Tensor, finish: Callable[[Tensor], T]) -> T:
        def gather(rows: list[Tensor]) -> T:
            return finish(self._processes.add_rows(torch.stack(rows)))

        return self._team.meet(self._group, row, gather)


def replica(network: SegmentationNetwork) -> SegmentationNetwork:
    """Return a copy of a network that shares its weights, has gradients of its own, and keeps no running statistics."""
    copied = copy.deepcopy(network)
    for module in copied.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.track_running_stats = False
    for own, shared in zip(copied.parameters(), network.parameters(), strict=True):
        own.data = shared.data
    return copied


def add_gradients(network: nn.Module, replicas: list[SegmentationNetwork]) -> None:
    """Add the gradients of replicas to those of a network, in their order."""
    for each in replicas:
        for parameter, other in zip(network.parameters(), each.parameters(), strict=True):
            if parameter.grad is not None and other.grad is not None:
                parameter.grad += other.grad
