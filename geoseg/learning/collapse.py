"""The collapse watch: detects dying classes and non-finite steps, reacts, and decides when training has failed.

Clustering by mutual information can collapse: all regions end up in a few classes. The remedy is a larger weight of
the marginal term.
"""

from __future__ import annotations

from typing import Any

_MAX_RAISES = 4
_MAX_SKIPS = 3
_MAX_ROLLBACKS = 3


class CollapseWatch:
    """Follows the perplexity of the classes, and whether loss and gradients are finite, from step to step.

    Attributes:
        classes: Number of classes K.
        expected: Perplexity that the class prior has, at most K. Collapse is measured against it.
        patience: Steps in a row with a low perplexity that count as a collapse.
        mu: Weight of the marginal term; raised by half on every collapse, at most four times.
        rate_factor: Factor on the learning rate; halved by every rollback.
        failure: Why training has to stop, or None.
    """

    def __init__(self, classes: int, mu: float, expected: float | None = None, patience: int = 30) -> None:
        self.classes = classes
        self.expected = classes if expected is None else expected
        self.patience = patience
        self.mu = mu
        self.rate_factor = 1.0
        self.failure: str | None = None
        self._low_steps = 0
        self._raises = 0
        self._skips = 0
        self._rollbacks = 0

    @property
    def needs_rollback(self) -> bool:
        """Whether the last three steps were not finite, so that the trainer must restore its last good state."""
        return self._skips >= _MAX_SKIPS

    @property
    def stable(self) -> bool:
        """Whether the last step was finite: only then is the state one to return to."""
        return self._skips == 0

    def update(self, perplexity: float, finite: bool, past_start: bool) -> str:
        """Take in one step.

        Args:
            perplexity: Of the class shares, in [1, K].
            finite: Whether loss and gradients were finite.
            past_start: Whether training is far enough for a low perplexity to mean collapse.

        Returns:
            What was done about the step, for the log; empty in most cases.
        """
        if not finite:
            self._skips += 1
            return "loss or gradient not finite: step skipped"
        self._skips = 0
        self._low_steps = self._low_steps + 1 if past_start and perplexity < 0.5 * self.expected else 0
        if self._low_steps < self.patience:
            return ""
        self._low_steps = 0
        if self._raises < _MAX_RAISES:
            self._raises += 1
            self.mu *= 1.5
            found = f"perplexity {perplexity:.1f} of {self.classes}"
            return f"classes are dying ({found}): marginal weight raised to {self.mu:.2f}"
        if perplexity < max(1.5, 0.25 * self.expected):
            self.failure = (
                f"training collapsed to {perplexity:.1f} of {self.classes} classes and did not recover; "
                "ask for fewer --classes, or add more varied imagery"
            )
        return ""

    def rolled_back(self) -> None:
        """Record that the trainer restored its last good state."""
        self._skips = 0
        self._rollbacks += 1
        self.rate_factor *= 0.5
        if self._rollbacks >= _MAX_ROLLBACKS:
            self.failure = (
                "training diverged three times (loss or gradient not finite); try another --seed, or "
                "--precision float32"
            )

    def state(self) -> dict[str, Any]:
        """Return the state that `load` restores."""
        return dict(vars(self))

    def load(self, state: dict[str, Any]) -> None:
        """Restore a state that `state` returned."""
        vars(self).update(state)
