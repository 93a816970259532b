"""What the two networks minimise: one function an objective, from the networks and a batch to the losses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from gannext.networks import Describer, Judge
from gannext.training.contrast import contrastive_loss
from gannext.training.corruption import Corruption
from gannext.training.recipe import Recipe
from gannext.training.threads import at_once
from gannext.training.views import jittered, refocused, relit, turned_copies, view
from gannext.training.windows import windows


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

    With y the images corrupted for one expert of the judge's after the other, m their masks (M, 1, H, W) and J each
    expert's logits of its own: reconstruction = mean |G(y) - x| over every eighth, and discriminator = mean of
    w * BCE(J(y), m), where a corrupted pixel weighs the more the thinner its region is. Of large images windows are
    seen, and x is in another light and focus where the recipe says so.
    """
    assert isinstance(discriminator, Judge)
    x = refocused(relit(windows(x, recipe.windows), recipe.light), recipe.focus)

    def example(corrupt: Corruption, random: Generator) -> tuple[Tensor, Tensor, Tensor]:
        y, mask = corrupt(x, random)
        return y, mask, thinness(mask)

    each = at_once if x.device.type == "cpu" else map
    # Numbers of their own: threads would take those of one generator in any order.
    randoms = [Generator(x.device).manual_seed(int(torch.randint(1 << 62, ()))) for _ in recipe.corruptions]
    with torch.autocast(x.device.type, enabled=False):  # images, not activations
        y, mask, weight = (torch.cat(parts) for parts in zip(*each(example, recipe.corruptions, randoms), strict=True))
    clean = torch.cat([x] * len(recipe.corruptions))
    logit = discriminator.divided(y)
    nothing = logit.new_zeros(())
    return losses_of(
        recipe,
        adversarial=nothing,
        reconstruction=F.l1_loss(generator(y[::RESTORED]), clean[::RESTORED]),
        latent=nothing,
        discriminator=(weight * F.binary_cross_entropy_with_logits(logit, mask, reduction="none")).mean(),
    )


RESTORED = 8  # of so many images one is restored: only people look at that, and the judge has better use for the time
THIN = 4.0
NEIGHBOURHOOD = 9  # pixels


def thinness(mask: Tensor) -> Tensor:
    """Weights (N, 1, H, W): 1 outside a mask of 0 and 1, and inside between 1 and 1 + THIN, the less of a pixel's
    neighbourhood is corrupted too: a scratch has few pixels, and would hardly count."""
    reach = NEIGHBOURHOOD // 2
    down = F.avg_pool2d(mask, (NEIGHBOURHOOD, 1), 1, (reach, 0))  # then across: a few sums instead of a square's
    filled = F.avg_pool2d(down, (1, NEIGHBOURHOOD), 1, (0, reach))
    return 1.0 + THIN * mask * (1.0 - filled)


REAL = 0.5


def describer_losses(recipe: Recipe, generator: nn.Module, discriminator: nn.Module, x: Tensor) -> Losses:
    """The describer learns what normal images look like, and the generator restores them from their thumbnails.

    With y the images moved a little and ŷ = G(y): the generator's losses are skip_gan_losses' own, of y and ŷ, and
    discriminator = NT-Xent + rotation + 0.5 (BCE(D(y), real) + BCE(D(ŷ), fake)) / 2. In NT-Xent two views of an image
    attract; other images repel, and so do its copies turned by a quarter or more (CSI, NeurIPS 2020), and so does ŷ, the
    nearest there is to an image that looks normal and is not. rotation = cross-entropy of the number of quarters.
    """
    assert isinstance(discriminator, Describer)
    y = jittered(x)
    y_hat = generator(y)
    logit_hat, f_hat = discriminator(y_hat)
    with torch.no_grad():
        f = discriminator.features(y)
    adversarial = bce(logit_hat, real=True)
    latent = F.mse_loss(f_hat, f)

    (first, quarters), (second, _) = turned_copies(view(x)), turned_copies(view(x))
    seen = torch.cat((view(x), view(x), first, second, y, y_hat.detach()))
    f = discriminator.features(seen)  # (6 N, F), four views, then y and ŷ
    n, views = len(x), f[: 4 * len(x)]
    image, upright = torch.arange(n, device=x.device), torch.zeros_like(quarters)
    z = discriminator.project(f)
    contrast = contrastive_loss(z[: 4 * n], torch.cat((image, image, image + n, image + n)), z[5 * n :])
    rotation = F.cross_entropy(discriminator.turn(views), torch.cat((upright, upright, quarters, quarters)))
    real, fake = (bce(logit, real=r) for logit, r in zip(discriminator.real(f[4 * n :]).chunk(2), (True, False), strict=True))
    return losses_of(
        recipe,
        adversarial=adversarial,
        reconstruction=F.l1_loss(y_hat, y),
        latent=latent,
        discriminator=contrast + rotation + REAL * (real + fake) / 2,
    )


OBJECTIVES: dict[str, Objective] = {
    "skip-gan": skip_gan_losses,
    "ganomaly": ganomaly_losses,
    "judge": judge_losses,
    "describer": describer_losses,
}


def bce(logit: Tensor, *, real: bool) -> Tensor:
    """Binary cross-entropy of logits against "all real" or "all fake"."""
    return F.binary_cross_entropy_with_logits(logit, logit.new_full(logit.shape, float(real)))


def losses_of(recipe: Recipe, *, adversarial: Tensor, reconstruction: Tensor, latent: Tensor, discriminator: Tensor) -> Losses:
    """The generator's weighted sum, with its parts and the discriminator's loss."""
    generator = recipe.w_adv * adversarial + recipe.w_con * reconstruction + recipe.w_lat * latent
    return Losses(generator, discriminator, adversarial, reconstruction, latent)
