"""The published objective (Skip-GANomaly's, IJCNN 2019): adversarial, reconstruction and latent losses."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from gannext.training.recipe import Recipe


@dataclass(frozen=True)
class Losses:
    """One step's losses, each a scalar tensor.

    generator = w_adv * adversarial + w_con * reconstruction + w_lat * latent, and
    discriminator = BCE(D(x), real) + BCE(D(x̂), fake) + latent.
    """

    generator: Tensor
    discriminator: Tensor
    adversarial: Tensor
    reconstruction: Tensor
    latent: Tensor


def gan_losses(recipe: Recipe, x: Tensor, x_hat: Tensor, logit: Tensor, logit_hat: Tensor, f: Tensor, f_hat: Tensor) -> Losses:
    """Both networks' losses from one forward pass of each network over each image.

    Args:
        recipe: the weights.
        x, x_hat: images and reconstructions (N, C, H, W).
        logit, logit_hat: the discriminator's logits (N,) of both.
        f, f_hat: its features (N, nz) of both.

    The latent loss belongs to the discriminator's too: it holds the discriminator back from winning
    outright, without which the generator never learns to reconstruct.
    """
    real, fake = logit.new_ones(logit.shape), logit.new_zeros(logit.shape)
    bce = F.binary_cross_entropy_with_logits
    adversarial = bce(logit_hat, real)
    reconstruction = F.l1_loss(x_hat, x)
    latent = F.mse_loss(f_hat, f)
    return Losses(
        generator=recipe.w_adv * adversarial + recipe.w_con * reconstruction + recipe.w_lat * latent,
        discriminator=bce(logit, real) + bce(logit_hat, fake) + latent,
        adversarial=adversarial,
        reconstruction=reconstruction,
        latent=latent,
    )
