"""What a training costs, in multiply-accumulates (MACs): the measure by which models of different size are compared."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from gannext.networks import NetworkConfig
from gannext.runtime import InputError
from gannext.training.objective import OBJECTIVES
from gannext.training.recipe import Recipe
from gannext.training.windows import window_sizes

BATCH = 4  # batch norm wants more than one value a channel, and a judge's generator sees one image in eight, of two for each


def training_macs(networks: NetworkConfig, recipe: Recipe) -> int:
    """MACs that one image costs in one training step: every forward pass, and both backward passes.

    They are counted, by `torch.utils.flop_counter`, while a step runs on torch's meta device; or on the CPU, where the step
    corrupts its images, by regions that depend on values. Here it leaves all of them clean: what corrupts them is of
    random size, and a budget shall buy as many steps each time. Of windows the least are counted, as all cost about the same.
    """
    clean = tuple(replace(c, clean=1.0) for c in recipe.corruptions)
    recipe = replace(recipe, corruptions=clean, windows=recipe.windows[:1])
    mapping: dict[Any, Any] = {torch.ops.aten.convolution_backward: convolution_backward_flops}
    with torch.random.fork_rng(), FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        with torch.device("cpu" if recipe.corruptions else "meta"):
            generator, discriminator = networks.build_generator(), networks.build_discriminator()
            x = torch.zeros(BATCH, networks.channels, *networks.size)
        losses = OBJECTIVES[recipe.objective](recipe, generator, discriminator, x)
        losses.generator.backward(inputs=list(generator.parameters()), retain_graph=True)
        losses.discriminator.backward(inputs=list(discriminator.parameters()))
    return round(counter.get_total_flops() / 2 / BATCH)


def convolution_backward_flops(
    gradient: list[int], x: list[int], weight: list[int], *arguments: Any, out_shape: Any = None
) -> int:
    """As many as forward for each of the two gradients asked for, of shapes given as torch's counter gives them.

    torch's own formula takes a depthwise convolution's gradient for a dense one's.
    """
    transposed, wanted = arguments[4], arguments[7]
    return conv_flop_count(x, weight, gradient, transposed) * sum(wanted[:2])


def length_of_training(
    networks: NetworkConfig,
    recipe: Recipe,
    dataset: str,
    images: int,
    epochs: int | None,
    budget: float | None,
    devices: int = 1,
) -> tuple[int, int | None]:
    """Epochs, and the step to stop after, of a training.

    Args:
        networks, recipe: what is trained, and how.
        dataset: its name, for the recipe's own number of epochs.
        images: number of training images.
        epochs: passes over the images; None for the recipe's.
        budget: MACs to spend in all; it buys at least one step.
        devices: how many train together, each with a batch of its own in every step.

    Raises:
        InputError: both epochs and a budget are given.
    """
    if epochs is not None and budget is not None:
        raise InputError("--epochs and --budget both say how long to train: leave one out")
    together = recipe.batch_size * devices
    if budget is not None:
        steps = max(1, int(budget / (together * training_macs(networks, recipe))))
    elif recipe.steps and epochs is None:
        steps = recipe.steps * len(window_sizes(networks.size, recipe.windows))
    else:
        return epochs or recipe.epochs_of.get(dataset, recipe.epochs), None
    return math.ceil(steps / max(1, images // together)), steps
