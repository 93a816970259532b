"""What the two networks minimise: one function an objective, from the networks and a batch to the losses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

from gannext.training.recipe import Recipe


@dataclass(frozen=True)
class Losses:
    """One step's losses, each a scalar tensor.

    generator = w_adv * adversarial + w_con * reconstruction + w_lat * latent.
    """

    generator: Tensor
    discriminator: Tensor
    adversarial: Tensor
    reconstruction: Tensor
    latent: Tensor


Objective: TypeAlias = Callable[[Recipe, nn.Module, nn.Module, Tensor], Losses]
"""From a recipe's weights, a generator, a discriminator and images x (N, C, H, W) in [-1, 1] to both networks' losses.

Each network runs once over each image: the discriminator's judgement of the reconstruction serves
both losses, and whoever takes the gradients keeps each loss's out of the other network's weights.
"""


def skip_gan_losses(recipe: Recipe, generator: nn.Module, discriminator: nn.Module, x: Tensor) -> Losses:
    """Skip-GANomaly's (IJCNN 2019), GanNeXt's and the transformer GAN's: the latents are the discriminator's features f.

    adversarial = BCE(D(x̂), real), reconstruction = mean |x - x̂|, latent = mean (f(x) - f(x̂))^2, and
    discriminator = BCE(D(x), real) + BCE(D(x̂), fake) + latent. The latent term there holds the
    discriminator back from winning outright, without which the generator never learns to reconstruct.
    """
    x_hat = generator(x)
    logit_hat, f_hat = discriminator(x_hat)
    logit, f = discriminator(x)
    latent = F.mse_loss(f_hat, f)
    return losses_of(
        recipe,
        adversarial=bce(logit_hat, real=True),
        reconstruction=F.l1_loss(x_hat, x),
        latent=latent,
        discriminator=bce(logit, real=True) + bce(logit_hat, real=False) + latent,
    )


def ganomaly_losses(recipe: Recipe, generator: nn.Module, discriminator: nn.Module, x: Tensor) -> Losses:
    """GANomaly's (ACCV 2018): the latents are the generator's, z of x and ẑ of x̂.

    adversarial = mean (f(x) - f(x̂))^2 (feature matching), reconstruction = mean |x - x̂|,
    latent = mean (z - ẑ)^2, and discriminator = (BCE(D(x), real) + BCE(D(x̂), fake)) / 2.
    """
    x_hat, z, z_hat = generator(x)
    logit_hat, f_hat = discriminator(x_hat)
    logit, f = discriminator(x)
    return losses_of(
        recipe,
        adversarial=F.mse_loss(f_hat, f),
        reconstruction=F.l1_loss(x_hat, x),
        latent=F.mse_loss(z_hat, z),
        discriminator=(bce(logit, real=True) + bce(logit_hat, real=False)) / 2,
    )


def judge_losses(recipe: Recipe, generator: nn.Module, discriminator: nn.Module, x: Tensor) -> Losses:
    """The judge finds what was corrupted, and the generator restores it.

    With y the corrupted images, m their masks (N, 1, H, W) and J the judge's logits: reconstruction =
    mean |G(y) - x| over every fourth image, and discriminator = mean of w * BCE(J(y), m), where a corrupted
    pixel weighs the more the thinner its region is.
    """
    assert recipe.corruption is not None
    y, mask = recipe.corruption(x)
    logit = discriminator(y)
    nothing = logit.new_zeros(())
    return losses_of(
        recipe,
        adversarial=nothing,
        reconstruction=F.l1_loss(generator(y[::RESTORED]), x[::RESTORED]),
        latent=nothing,
        discriminator=(thinness(mask) * F.binary_cross_entropy_with_logits(logit, mask, reduction="none")).mean(),
    )


RESTORED = 4  # of so many images one is restored: only people look at that, and the judge has better use for the time
THIN = 4.0
NEIGHBOURHOOD = 9  # pixels


def thinness(mask: Tensor) -> Tensor:
    """Weights (N, 1, H, W): 1 outside a mask of 0 and 1, and inside between 1 and 1 + THIN, the less of a pixel's
    neighbourhood is corrupted too: a scratch has few pixels, and would hardly count."""
    filled = F.avg_pool2d(mask, NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2)
    return 1.0 + THIN * mask * (1.0 - filled)


OBJECTIVES: dict[str, Objective] = {"skip-gan": skip_gan_losses, "ganomaly": ganomaly_losses, "judge": judge_losses}


def bce(logit: Tensor, *, real: bool) -> Tensor:
    """Binary cross-entropy of logits (N,) against "all real" or "all fake"."""
    return F.binary_cross_entropy_with_logits(logit, logit.new_full(logit.shape, float(real)))


def losses_of(recipe: Recipe, *, adversarial: Tensor, reconstruction: Tensor, latent: Tensor, discriminator: Tensor) -> Losses:
    """The generator's weighted sum, with its parts and the discriminator's loss."""
    generator = recipe.w_adv * adversarial + recipe.w_con * reconstruction + recipe.w_lat * latent
    return Losses(generator, discriminator, adversarial, reconstruction, latent)
