"""From an image and its reconstruction to one number: the anomaly score."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gannext.networks import Describer, Encoded, Judge, Levels


@dataclass(frozen=True)
class Description:
    """What a score is made of: features (N, F) of x and of its reconstruction x̂, and x̂ (N, C, H, W) itself.

    Of a judge, f are its logits (N, K, H, W), and of a describer what its `describe` gives (N, 4, F + P + 1); x̂ is
    then not described. Nor is it made before somebody asks for it: a judge's score does without.
    """

    f: Tensor
    f_hat: Tensor | None
    reconstruct: Callable[[], Tensor]

    @cached_property
    def x_hat(self) -> Tensor:
        """The reconstruction (N, C, H, W)."""
        return self.reconstruct()


ScoreFunction: TypeAlias = Callable[[Tensor, Description], Tensor]
"""From images (N, C, H, W) in [-1, 1] and their description to scores (N,), larger where more is wrong."""


@dataclass(frozen=True)
class Scoring:
    """The published score, A(x) = pixel * mean (x - x̂)^2 + feature * mean (f(x) - f(x̂))^2.

    The later revision of the paper's code uses 0.95 and 0.05. With 0 and 1, and latents for features,
    it is GANomaly's. The score is raw: it is never scaled by the images that happen to be scored
    along with it.
    """

    pixel: float = 0.9
    feature: float = 0.1

    def __call__(self, x: Tensor, described: Description) -> Tensor:
        """Scores (N,), at least 0, of images (N, C, H, W) in [-1, 1]."""
        assert described.f_hat is not None
        pixels = (x - described.x_hat).square().flatten(1).mean(1)
        features = (described.f - described.f_hat).square().flatten(1).mean(1)
        return self.pixel * pixels + self.feature * features


@dataclass(frozen=True)
class JudgeScoring:
    """The judge's score: -log(1 - p), where each expert has the mean logit of the pixels that it thinks most likely to be out
    of place, and the odds of these add up to p / (1 - p).

    One pixel may be odd by chance. Even a short scratch covers some dozens.
    """

    pixels: int = 1

    def __call__(self, x: Tensor, described: Description) -> Tensor:
        """Scores (N,), at least 0, of images (N, C, H, W) in [-1, 1]."""
        logits = described.f.flatten(2)  # (N, K, H * W)
        return surprise(logits.topk(min(self.pixels, logits.shape[2])).values.mean(2))


def surprise(logits: Tensor) -> Tensor:
    """-log(1 - p), at least 0, where the odds p / (1 - p) are the sum of those of logits (N, K, ...): (N, ...)."""
    return F.softplus(logits.logsumexp(1))


def normalise(images: Tensor, levels: Levels = ()) -> Tensor:
    """Bytes (N, C, H, W) as floats in [-1, 1], which is what the networks see."""
    if not levels:
        return images.float().div_(127.5).sub_(1.0)
    middle, half = middle_and_half(levels, images.device)
    return ((images.float() - middle) / half).clamp(-1.0, 1.0)


def denormalise(x: Tensor, levels: Levels = ()) -> Tensor:
    """Floats (N, C, H, W) back as bytes; what lies outside 0..255 is clipped."""
    if not levels:
        return x.float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    middle, half = middle_and_half(levels, x.device)
    return (x.float() * half + middle).round().clamp(0, 255).to(torch.uint8)


def middle_and_half(levels: Levels, device: torch.device) -> tuple[Tensor, Tensor]:
    """The byte (C, 1, 1) that is seen as 0, and how many bytes from there to what is seen as 1."""
    black, white = torch.tensor(levels, device=device).view(-1, 2, 1, 1).unbind(1)
    return (white + black) / 2, (white - black) / 2


def describe(generator: nn.Module, discriminator: nn.Module, x: Tensor) -> Description:
    """Reconstructs images (N, C, H, W) in [-1, 1]; the features are the discriminator's, or, where the generator encodes
    image and reconstruction itself as GANomaly's does, those latents."""
    if isinstance(discriminator, Judge):
        return Description(discriminator(x), None, lambda: generator(x))
    if isinstance(discriminator, Describer):
        return Description(discriminator.describe(x), None, lambda: generator(x))
    made = generator(x)
    if isinstance(made, Encoded):
        return Description(made.z, made.z_hat, lambda: made.x_hat)
    f, f_hat = features(discriminator, x, made)
    return Description(f, f_hat, lambda: made)


def features(discriminator: nn.Module, x: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor]:
    """A discriminator's features (N, F) of x and of x̂ (N, C, H, W): in one pass, unless it has batch norms that normalise by
    the batch at hand, which x̂ would change for x."""
    if any(isinstance(m, nn.BatchNorm2d) and m.training for m in discriminator.modules()):
        return discriminator(x)[1], discriminator(x_hat)[1]
    both = discriminator(torch.cat((x, x_hat)))[1]
    f, f_hat = both.view(2, x.shape[0], -1)  # not len, which would have an exported graph take one number of images
    return f, f_hat


def score_batch(
    generator: nn.Module, discriminator: nn.Module, scoring: ScoreFunction, images: Tensor, levels: Levels = ()
) -> tuple[Tensor, Description]:
    """Scores (N,) of bytes (N, C, H, W), and what they were made of.

    The networks run in whatever mode they are in: evaluation is the caller's to choose.
    """
    x = normalise(images, levels)
    described = describe(generator, discriminator, x)
    return scoring(x, described), described


def score_batches(
    generator: nn.Module, discriminator: nn.Module, scoring: ScoreFunction, batches: Iterable[Tensor], levels: Levels = ()
) -> NDArray[np.float64]:
    """Scores (N,) of all images of an iterable of byte batches, on the networks' device."""
    device = next(generator.parameters()).device
    with torch.inference_mode():
        scores = (score_batch(generator, discriminator, scoring, b.to(device), levels)[0] for b in batches)
        parts = [score.cpu().double() for score in scores]
    return torch.cat(parts).numpy() if parts else np.empty(0)
