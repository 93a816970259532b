"""Scores by memory: how far an image lies from the normal images of the training, as a describer sees them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gannext.detection.score import Description, describe, normalise
from gannext.networks import PROJECTED
from gannext.runtime import InputError

SMALLEST = 1e-6
RIDGE = 0.02  # share of the mean variance that is added to every direction's before it is divided by


@dataclass(frozen=True)
class Neighbours:
    """What a score by memory is made of. The first five are weights of its parts; `NeighbourScoring` says what these are.

    Attributes:
        density, nearest, local, real, restored: weights.
        width: of the kernel of `density`, in cosines.
        near: neighbours whose distance counts.
        around: neighbours that say how far apart images are thereabouts.
        most: training images that are remembered, at most.
    """

    density: float = 1.0
    nearest: float = 1.0
    local: float = 0.5
    real: float = 0.5
    restored: float = 0.5
    width: float = 0.02
    near: int = 5
    around: int = 20
    most: int = 5120

    @property
    def weights(self) -> tuple[float, ...]:
        """The parts' weights, in their order."""
        return self.density, self.nearest, self.local, self.real, self.restored


class NeighbourScoring(nn.Module):
    """A(x) = the weighted sum of five numbers, each standardised by its mean and deviation on held-out normal images.

    With F the unit features of an image's four quarter turns side by side, z_k its unit projection after k
    quarter turns, w its unit whitened features, and the same of M training images:

        density   -log sum_i exp(F . F_i / width)      a kernel's (von Mises and Fisher) density
        nearest   sum over k of the mean distance of z_k to the `near` nearest
        local     mean distance of w to its `near` nearest, by the mean of the `around` nearest's own
                  (a simple local outlier factor, SIGMOD 2000)
        real      minus the discriminator's logit
        restored  log mean |x - x̂|, where the generator saw a thumbnail of x alone

    Args:
        plan: the weights, and how many neighbours.
        tensors: the memory, by the names in `TENSORS`.
    """

    TENSORS = ("turns", "projections", "mean", "whiten", "white", "spread", "location", "deviation")

    def __init__(self, plan: Neighbours, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.plan = plan
        for name in self.TENSORS:
            self.register_buffer(name, tensors[name])

    turns: Tensor  # (M, 4 F)
    projections: Tensor  # (4, M, P)
    mean: Tensor  # (F,)
    whiten: Tensor  # (F, F)
    white: Tensor  # (M, F)
    spread: Tensor  # (M,)
    location: Tensor  # (5,)
    deviation: Tensor  # (5,)

    @classmethod
    def fit(
        cls,
        plan: Neighbours,
        generator: nn.Module,
        discriminator: nn.Module,
        normal: Iterable[Tensor],
        held_out: Iterable[Tensor],
    ) -> "NeighbourScoring":
        """Remembers training images, and measures the parts on held-out ones.

        Args:
            plan: see above.
            generator, discriminator: trained, in evaluation mode; the discriminator is a `Describer`.
            normal, held_out: batches of bytes (n, C, H, W).

        Raises:
            InputError: there are fewer than two of either.
        """
        device = next(discriminator.parameters()).device

        def described(batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Description]]:
            for batch in batches:
                with torch.inference_mode():  # left before yielding, or it would reach whoever takes what is yielded
                    x = normalise(batch.to(device))
                    description = describe(generator, discriminator, x)
                yield x, description

        known = [d.f for _, d in described(normal)]
        if sum(map(len, known)) < 2:
            raise InputError("the training images are too few to compare others with: add some")
        f, z, _ = split_description(torch.cat(known))
        upright = f[:, 0]
        mean = upright.mean(0)
        covariance = (upright - mean).T @ (upright - mean) / len(upright)
        ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), device=device)
        values, vectors = torch.linalg.eigh((covariance + ridge).double().cpu())
        whiten = (vectors * values.clamp_min(SMALLEST).rsqrt()).float().to(device)
        white = F.normalize((upright - mean) @ whiten, dim=1)
        near = min(plan.near, len(white) - 1)
        own = torch.cat([distances(some, white, near + 1)[0][:, 1:].mean(1) for some in white.split(1024)])
        tensors = {
            "turns": side_by_side(f),
            "projections": z.transpose(0, 1).contiguous(),
            "mean": mean,
            "whiten": whiten,
            "white": white,
            "spread": own.clamp_min(SMALLEST),
            "location": torch.zeros(len(plan.weights), device=device),
            "deviation": torch.ones(len(plan.weights), device=device),
        }
        scoring = cls(plan, tensors)
        with torch.no_grad():  # reconstructions are made only now
            measured = [scoring.parts(x, d) for x, d in described(held_out)]
        values = torch.cat(measured) if measured else torch.empty(0, device=device)
        if len(values) < 2:
            raise InputError("the held-out images are too few to compare others with: add some")
        scoring.location, scoring.deviation = values.mean(0), values.std(0).clamp_min(SMALLEST)
        return scoring

    def parts(self, x: Tensor, described: Description) -> Tensor:
        """The five numbers (N, 5) of images (N, C, H, W), not yet standardised."""
        f, z, logit = split_description(described.f)
        p, known = self.plan, len(self.white)
        density = -torch.logsumexp(side_by_side(f) @ self.turns.T / p.width, 1)
        near = min(p.near, known)
        nearest = torch.stack([distances(z[:, k], self.projections[k], near)[0].mean(1) for k in range(z.shape[1])]).sum(0)
        white = F.normalize((f[:, 0] - self.mean) @ self.whiten, dim=1)
        found, which = distances(white, self.white, min(p.around, known))
        local = found[:, :near].mean(1) / self.spread[which].mean(1)
        restored = (x - described.x_hat).abs().flatten(1).mean(1).clamp_min(SMALLEST).log()
        return torch.stack((density, nearest, local, -logit, restored), 1)

    def forward(self, x: Tensor, described: Description) -> Tensor:
        """Scores (N,) of images (N, C, H, W) in [-1, 1]; 0 is the held-out images' mean, and more is more abnormal."""
        standardised = (self.parts(x, described) - self.location) / self.deviation
        return standardised @ standardised.new_tensor(self.plan.weights)


def split_description(described: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What `Describer.describe` put side by side: features (N, 4, F), projections (N, 4, P), and the upright logits (N,)."""
    f, z, logit = described.split((described.shape[2] - PROJECTED - 1, PROJECTED, 1), 2)
    return f, z, logit[:, 0, 0]


def side_by_side(f: Tensor) -> Tensor:
    """Features (N, 4, F) as (N, 4 F) whose scalar product is the mean cosine over the turns."""
    return F.normalize(f, dim=2).flatten(1) / f.shape[1] ** 0.5


def distances(queries: Tensor, known: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Euclidean distances (N, count) of unit vectors (N, F) to the nearest of (M, F), the least first, and which these are."""
    which = (queries @ known.T).topk(count, dim=1).indices
    # Not from the cosines: near 1 these have too few digits left for the distance.
    return (queries[:, None] - known[which]).square().sum(2).sqrt(), which
