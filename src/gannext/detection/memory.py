"""Scores by memory: how far an image lies from the normal images of the training, as a describer and fixed filters see them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gannext.detection.score import Description, describe, normalise
from gannext.networks import PROJECTED, Levels, layout
from gannext.runtime import InputError

SMALLEST = 1e-6
OWN_AT_ONCE = 256  # of the remembered, whose nearest take room
RIDGE = 0.02  # share of the directions' mean variance that is added to every direction's before it is divided by


@dataclass(frozen=True)
class Neighbours:
    """What a score by memory is made of. The first four are weights of its parts; `NeighbourScoring` says what these are.

    Attributes:
        features, detail, real, restored: weights.
        near: neighbours whose distance counts in `detail`.
        around: neighbours whose distance counts in `features`, and that say in both how far apart images are thereabouts.
        directions: principal directions in which detail is compared, at most.
        most: training images that are remembered, at most.
    """

    features: float = 2.0
    detail: float = 2.0
    real: float = 0.75
    restored: float = 0.5
    near: int = 5
    around: int = 20
    directions: int = 160
    most: int = 5120

    @property
    def weights(self) -> tuple[float, ...]:
        """The parts' weights, in their order."""
        return self.features, self.detail, self.real, self.restored


class NeighbourScoring(nn.Module):
    """A(x) = the weighted sum of four numbers, each standardised by its mean and deviation on held-out normal images.

    With u the unit vector of what the discriminator says of an image in its four quarter turns, and w that of its
    `layout`, whitened:

        features  log of the mean distance of u to the `around` nearest training images', by the square root of the mean of
                  these images' own such distances
        detail    log of the mean distance of w to the `near` nearest, by the mean of the `around` nearest's own
                  (a simple local outlier factor, SIGMOD 2000)
        real      minus the discriminator's logit
        restored  log mean |x - x̂|, where the generator saw a thumbnail of x alone

    The two memories err differently, which is why there are two: docs/robust.md.

    Args:
        plan: the weights, and how many neighbours.
        tensors: the memory, by the names in `TENSORS`.
    """

    TENSORS = ("features", "features_spread", "mean", "whiten", "detail", "detail_spread", "location", "deviation")

    def __init__(self, plan: Neighbours, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.plan = plan
        for name in self.TENSORS:
            self.register_buffer(name, tensors[name])

    features: Tensor  # (M, 4 (F + P))
    features_spread: Tensor  # (M,)
    mean: Tensor  # (L,)
    whiten: Tensor  # (L, K)
    detail: Tensor  # (M, K)
    detail_spread: Tensor  # (M,)
    location: Tensor  # (4,)
    deviation: Tensor  # (4,)

    @classmethod
    def fit(
        cls,
        plan: Neighbours,
        generator: nn.Module,
        discriminator: nn.Module,
        normal: Iterable[Tensor],
        held_out: Iterable[Tensor],
        levels: Levels = (),
    ) -> "NeighbourScoring":
        """Remembers training images, and measures the parts on held-out ones.

        Args:
            plan: see above.
            generator, discriminator: trained, in evaluation mode; the discriminator is a `Describer`.
            normal, held_out: batches of bytes (n, C, H, W).
            levels: the networks'.

        Raises:
            InputError: there are fewer than two of either.
        """
        device = next(discriminator.parameters()).device

        def described(batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Description]]:
            for batch in batches:
                with torch.inference_mode():  # left before yielding, or it would reach whoever takes what is yielded
                    x = normalise(batch.to(device), levels)
                    description = describe(generator, discriminator, x)
                yield x, description

        known = [(side_by_side(d.f), layout(x)) for x, d in described(normal)]
        if sum(len(u) for u, _ in known) < 2:
            raise InputError("the training images are too few to compare others with: add some")
        features, layouts = (torch.cat(of_batches) for of_batches in zip(*known, strict=True))
        mean = layouts.mean(0)
        whiten = whitening(layouts - mean, plan.directions)
        detail = F.normalize((layouts - mean) @ whiten, dim=1)
        tensors = {
            "features": features,
            "features_spread": own_distances(features, plan.around),
            "mean": mean,
            "whiten": whiten,
            "detail": detail,
            "detail_spread": own_distances(detail, plan.near),
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
        """The four numbers (N, 4) of images (N, C, H, W), not yet standardised."""
        known = len(self.features)
        near, around = min(self.plan.near, known), min(self.plan.around, known)
        found, which = distances(side_by_side(described.f), self.features, around)
        features = found.mean(1) / self.features_spread[which].mean(1).sqrt()
        w = F.normalize((layout(x) - self.mean) @ self.whiten, dim=1)
        found, which = distances(w, self.detail, around)
        detail = found[:, :near].mean(1) / self.detail_spread[which].mean(1)
        restored = (x - described.x_hat).abs().flatten(1).mean(1)
        logit = described.f[:, 0, -1]
        features, detail, restored = (part.clamp_min(SMALLEST).log() for part in (features, detail, restored))
        return torch.stack((features, detail, -logit, restored), 1)

    def forward(self, x: Tensor, described: Description) -> Tensor:
        """Scores (N,) of images (N, C, H, W) in [-1, 1]; 0 is the held-out images' mean, and more is more abnormal."""
        standardised = (self.parts(x, described) - self.location) / self.deviation
        return standardised @ standardised.new_tensor(self.plan.weights)


def side_by_side(described: Tensor) -> Tensor:
    """What `Describer.describe` says of images, (N, 4, F + P + 1), as unit vectors (N, 4 (F + P)).

    Their scalar product is the mean of eight cosines: of the features and of the projections, after each turn.
    """
    f, z = described[..., :-1].split((described.shape[2] - PROJECTED - 1, PROJECTED), 2)
    both = torch.cat((F.normalize(f, dim=2), F.normalize(z, dim=2)), 2)
    return both.flatten(1) / (2 * described.shape[1]) ** 0.5


def whitening(centred: Tensor, directions: int) -> Tensor:
    """A matrix (L, K) that takes centred vectors (M, L) to their K greatest principal directions, each of variance 1 but for
    a ridge that keeps the least of them from becoming noise."""
    x = centred.cpu().double()  # Apple's GPUs have no 64 bits
    few = len(x) < x.shape[1]  # then the images' scalar products are the smaller matrix, of the same principal directions
    values, vectors = torch.linalg.eigh((x @ x.T if few else x.T @ x) / len(x))  # the least first
    kept = min(directions, len(x) - 1, len(values))
    values, vectors = values[-kept:], vectors[:, -kept:]
    if few:
        vectors = F.normalize(x.T @ vectors, dim=0)
    scale = (values + RIDGE * values.mean()).clamp_min(SMALLEST).rsqrt()
    return (vectors * scale).to(centred)


def distances(queries: Tensor, known: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Euclidean distances (N, count) of unit vectors (N, F) to the nearest of (M, F), the least first, and which these are."""
    which = (queries @ known.T).topk(count, dim=1).indices
    # Not from the cosines: near 1 these have too few digits left for the distance.
    return (queries[:, None] - known[which]).square().sum(2).sqrt(), which


def own_distances(known: Tensor, count: int) -> Tensor:
    """How far each of unit vectors (M, F) lies from the `count` nearest of the others, on average, (M,); never 0."""
    count = min(count, len(known) - 1)
    own = [distances(some, known, count + 1)[0][:, 1:].mean(1) for some in known.split(OWN_AT_ONCE)]
    return torch.cat(own).clamp_min(SMALLEST)
