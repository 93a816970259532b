"""Split-conformal calibration: from a raw score to a p-value and a verdict.

With n scores of normal images that training never saw, a new image of score s has

    p = (1 + #{held-out scores >= s}) / (n + 1)

and if the new image is normal too, P(p <= a) <= a for every a (Vovk et al., 2005; Bates et al.,
"Testing for outliers with conformal p-values", 2023). Calling images with p <= a abnormal thus
raises false alarms at a rate of at most a, whatever the distribution of the scores.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gannext.runtime.errors import InputError


@dataclass(frozen=True)
class Calibration:
    """Held-out normal scores, and the false-positive rate that was asked for.

    Attributes:
        scores: scores of held-out normal images, in any order; at least one, all finite.
        fpr: the false-positive rate asked for, between 0 and 1.
    """

    scores: tuple[float, ...]
    fpr: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 < self.fpr < 1.0:
            raise InputError(f"a false-positive rate of {self.fpr} is impossible: it lies between 0 and 1, as 0.05")
        if not self.scores or not np.isfinite(self.scores).all():
            raise InputError("calibration needs at least one held-out normal score, and all of them finite")
        object.__setattr__(self, "scores", tuple(sorted(float(s) for s in self.scores)))

    @property
    def smallest_fpr(self) -> float:
        """The smallest rate that so few held-out images can promise: 1 / (n + 1)."""
        return 1.0 / (len(self.scores) + 1)

    @property
    def effective_fpr(self) -> float:
        """The rate that the threshold keeps: the one asked for, or the smallest possible where that is larger."""
        return max(self.fpr, self.smallest_fpr)

    @property
    def shortfall(self) -> str | None:
        """A sentence where the held-out images are too few for the rate asked for, else None."""
        if self.fpr >= self.smallest_fpr:
            return None
        needed = int(np.ceil(1.0 / self.fpr - 1e-9)) - 1
        return (
            f"{len(self.scores)} held-out normal images cannot promise a false-positive rate of {self.fpr:g}, which takes "
            f"{needed}: the threshold keeps {self.smallest_fpr:.3g} instead"
        )

    @property
    def threshold(self) -> float:
        """The score above which p <= effective_fpr: scores strictly greater are abnormal."""
        n = len(self.scores)
        allowed = int(np.floor(self.effective_fpr * (n + 1) + 1e-9)) - 1  # held-out scores >= s that p may count
        return self.scores[n - 1 - allowed] if allowed < n else -np.inf

    def p_values(self, scores: ArrayLike) -> NDArray[np.float64]:
        """The conformal p-value of each score, in (0, 1]; small means abnormal."""
        below = np.searchsorted(np.asarray(self.scores), np.asarray(scores, dtype=np.float64), side="left")
        return np.asarray((1 + len(self.scores) - below) / (len(self.scores) + 1))

    def is_abnormal(self, scores: ArrayLike) -> NDArray[np.bool_]:
        """The verdict on each score."""
        return np.asarray(np.asarray(scores, dtype=np.float64) > self.threshold)
