"""The collapse watch: notices when classes die or numbers stop being finite, acts, and knows when to give up.

Collapse is the disease of clustering by mutual information: all regions end in few classes. The medicine
is a larger weight of the marginal.
"""

from __future__ import annotations

from typing import Any

_PATIENCE = 30
_MAX_RAISES = 4
_MAX_SKIPS = 3
_MAX_FALLS = 3


class Watch:
    """Follows perplexity and finiteness from step to step.

    mu: weight of the marginal, raised on collapse. expected: the perplexity that class shares are asked to have, at
    most `classes`. rate_factor: the learning rate is scaled by it, halved at
    each fall back. fall_back: whether the trainer has to return to its last good state. hopeless: why
    training has to stop, or None.
    """

    def __init__(self, classes: int, mu: float, expected: float | None = None) -> None:
        self.classes = classes
        self.expected = classes if expected is None else expected
        self.mu = mu
        self.rate_factor = 1.0
        self.hopeless: str | None = None
        self._low = 0
        self._raises = 0
        self._skips = 0
        self._falls = 0

    @property
    def fall_back(self) -> bool:
        """Three steps in a row were not finite."""
        return self._skips >= _MAX_SKIPS

    @property
    def in_trouble(self) -> bool:
        """The last step was not finite: not a state to come back to."""
        return self._skips > 0

    def see(self, perplexity: float, finite: bool, warm: bool) -> str:
        """Take in one step and return what was done about it, or ''.

        perplexity: of the class shares, in [1, K]. finite: whether loss and gradient were. warm: whether
        training is far enough for a low perplexity to mean collapse.
        """
        if not finite:
            self._skips += 1
            return "loss or gradient not finite: step skipped"
        self._skips = 0
        self._low = self._low + 1 if warm and perplexity < 0.5 * self.expected else 0
        if self._low < _PATIENCE:
            return ""
        self._low = 0
        if self._raises < _MAX_RAISES:
            self._raises += 1
            self.mu *= 1.5
            return (
                f"classes are dying (perplexity {perplexity:.1f} of {self.classes}): marginal weight now {self.mu:.2f}"
            )
        if perplexity < max(1.5, 0.25 * self.expected):
            self.hopeless = (
                f"training collapsed to {perplexity:.1f} of {self.classes} classes and did not recover; "
                "ask for fewer --classes, or give more varied imagery"
            )
        return ""

    def fallen_back(self) -> None:
        """Note that the trainer returned to its last good state."""
        self._skips = 0
        self._falls += 1
        self.rate_factor *= 0.5
        if self._falls >= _MAX_FALLS:
            self.hopeless = "training left the finite numbers three times; try another --seed, or --precision float32"

    def state(self) -> dict[str, Any]:
        """Return what `load` continues from."""
        return dict(vars(self))

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        vars(self).update(state)
