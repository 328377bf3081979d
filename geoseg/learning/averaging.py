"""Moving averages of a network's weights: the latest one, and the one with the best criterion so far."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Averages:
    """Exponential moving averages of a network's parameters (Tarvainen and Valpola 2017).

    Args:
        network: Its parameters are averaged; buffers are not.
        decay: In [0, 1); 0 keeps the current weights themselves.

    Attributes:
        last: The average up to the latest step, by parameter name.
        selected: The average with the highest criterion so far, as a dict of `weights`, `step` and `criterion`; None
            until `consider` has been called.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self.last = self._copy()
        self.selected: dict[str, Any] | None = None

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update `last` with the weights after `step`; the decay starts small, so that the initial weights fade."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in self._network.named_parameters():
            self.last[name].lerp_(value, 1 - decay)

    def consider(self, criterion: float, step: int) -> None:
        """Make a copy of `last` the selected average if its criterion is higher than that of the selected one."""
        if self.selected is None or criterion > self.selected["criterion"]:
            weights = {name: value.clone() for name, value in self.last.items()}
            self.selected = {"weights": weights, "step": step, "criterion": criterion}

    @contextmanager
    def applied(self, selected: bool = False) -> Iterator[None]:
        """Give the network averaged weights within this context.

        Args:
            selected: Use `selected` instead of `last`, unless nothing is selected yet.
        """
        own = self._copy()
        self._set(self.selected["weights"] if selected and self.selected is not None else self.last)
        try:
            yield
        finally:
            self._set(own)

    def state(self) -> dict[str, Any]:
        """Return the state that `load` restores."""
        return {"last": self.last, "selected": self.selected}

    def load(self, state: dict[str, Any]) -> None:
        """Restore a state that `state` returned."""
        self.last = {name: value.to(self.last[name].device) for name, value in state["last"].items()}
        self.selected = state["selected"]

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self._network.named_parameters()}

    @torch.no_grad()
    def _set(self, weights: dict[str, Tensor]) -> None:
        for name, value in self._network.named_parameters():
            value.copy_(weights[name])
