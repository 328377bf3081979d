"""The average of a network's weights over the steps of a training: up to the last step, and up to the best judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Averages:
    """Exponential moving averages of the parameters of `network` (Tarvainen and Valpola 2017), of `decay` in [0, 1); 0
    is the weights themselves.

    last: up to the last step. selected: a dict of `weights`, of their `step` and of their `criterion`; None at first.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self.last = self._copy()
        self.selected: dict[str, Any] | None = None

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take in the weights after `step`; at first in larger steps, so that it is forgotten where they began."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in self._network.named_parameters():
            self.last[name].lerp_(value, 1 - decay)

    def consider(self, criterion: float, step: int) -> None:
        """Select the average as it is now if its criterion is higher than that of what is selected."""
        if self.selected is None or criterion > self.selected["criterion"]:
            weights = {name: value.clone() for name, value in self.last.items()}
            self.selected = {"weights": weights, "step": step, "criterion": criterion}

    @contextmanager
    def applied(self, selected: bool = False) -> Iterator[None]:
        """Within this context the network has the last average for weights; or what is selected, if anything is."""
        own = self._copy()
        self._set(self.selected["weights"] if selected and self.selected is not None else self.last)
        try:
            yield
        finally:
            self._set(own)

    def state(self) -> dict[str, Any]:
        """Return what `load` continues from."""
        return {"last": self.last, "selected": self.selected}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.last = {name: value.to(self.last[name].device) for name, value in state["last"].items()}
        self.selected = state["selected"]

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self._network.named_parameters()}

    @torch.no_grad()
    def _set(self, weights: dict[str, Tensor]) -> None:
        for name, value in self._network.named_parameters():
            value.copy_(weights[name])
