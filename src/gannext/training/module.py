"""The one LightningModule: a step of both networks, and what is logged of it."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.swa_utils import AveragedModel

from gannext.detection import normalise
from gannext.networks import NetworkConfig, reconstruct
from gannext.runtime import InputError
from gannext.training.fused import fuse
from gannext.training.objective import OBJECTIVES
from gannext.training.recipe import Recipe


class Diverged(InputError):
    """A loss or a weight is no longer finite."""


def running_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """The exponential running average of weights, for `AveragedModel`: it begins as nearly their mean, or a short training
    would end with much of what it began with."""

    def update(averages: list[Tensor], weights: list[Tensor], count: Tensor) -> None:
        new = 1.0 - min(decay, (1.0 + float(count)) / (10.0 + float(count)))
        if averages[0].is_floating_point():  # all of one kind come together
            torch._foreach_lerp_(averages, weights, new)
        else:  # a batch norm's count of batches
            torch._foreach_copy_(averages, weights)

    return update


def several() -> bool:
    """Whether processes train together."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


class GanModule(LightningModule):
    """Trains a generator and a discriminator against each other by a recipe.

    Args:
        networks: how to build them.
        recipe: how to train them.
        total_steps: how long, for a learning rate that falls until the end.
        seed: of what is random in a step.
    """

    def __init__(self, networks: NetworkConfig, recipe: Recipe, total_steps: int = 1, seed: int = 0) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.networks = networks
        self.recipe = recipe
        # Channels last is how the processors' convolutions want it: measured 1.3 times faster on a CPU.
        self.generator: nn.Module = fuse(networks.build_generator()).to(memory_format=torch.channels_last)
        self.discriminator: nn.Module = fuse(networks.build_discriminator()).to(memory_format=torch.channels_last)
        self.averages: nn.ModuleList | None = None
        if recipe.averaging:
            average = running_average(recipe.averaging)
            both = self.generator, self.discriminator
            self.averages = nn.ModuleList(AveragedModel(n, multi_avg_fn=average, use_buffers=True) for n in both)
        self.total_steps = total_steps
        self.seed = seed
        self.steps = 0
        self.seconds = 0.0  # of training in all, over the runs that went on from one another

    def detecting_networks(self) -> tuple[nn.Module, nn.Module]:
        """The generator and the discriminator that detect: the running averages where the recipe keeps them."""
        if self.averages is None:
            return self.generator, self.discriminator
        generator, discriminator = (average.get_submodule("module") for average in self.averages)
        return generator, discriminator

    def normalised(self, images: Tensor) -> Tensor:
        """Bytes (N, C, H, W) as the networks see them."""
        return normalise(images, self.networks.levels)

    def configure_optimizers(self) -> list[Optimizer]:
        betas = (self.recipe.beta1, self.recipe.beta2)
        return [Adam(n.parameters(), self.recipe.lr, betas, fused=True) for n in (self.generator, self.discriminator)]

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        """One step of the generator, then one of the discriminator, on bytes (N, C, H, W).

        The discriminator has not changed between the two steps, so that one forward pass serves both
        losses. `inputs=` keeps each backward pass out of the other network's weights.
        """
        # A step's randomness depends on its number alone, so that a resumed run repeats it.
        torch.manual_seed((self.seed * 1_000_003 + self.steps) * self.trainer.world_size + self.global_rank)
        losses = OBJECTIVES[self.recipe.objective](self.recipe, self.generator, self.discriminator, self.normalised(batch))

        optimisers = self.optimizers()
        assert isinstance(optimisers, list)
        steps = (
            (losses.generator, optimisers[0], self.generator, True),
            (losses.discriminator, optimisers[1], self.discriminator, False),
        )
        rate = self.recipe.learning_rate(self.steps, self.total_steps)
        for loss, optimiser, network, again in steps:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad()
            self.manual_backward(loss, inputs=optimiser.param_groups[0]["params"], retain_graph=again)
            self._average_gradients(network)
            optimiser.step()
        for average, network in zip(self.averages or (), (self.generator, self.discriminator), strict=False):
            average.update_parameters(network)  # type: ignore[operator]
        self.steps += 1

        values = {name: value.detach() for name, value in vars(losses).items()}
        self._watch(values)
        self.log_dict({f"loss/{name}": value for name, value in values.items()}, on_step=True, on_epoch=True)
        self.log("G", values["generator"], prog_bar=True, logger=False)
        self.log("D", values["discriminator"], prog_bar=True, logger=False)
        self.log("lr", optimisers[0].param_groups[0]["lr"])

    def _average_gradients(self, network: nn.Module) -> None:
        """Over the processes that train together, in one exchange."""
        if several():
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            flat = torch.cat([g.flatten() for g in gradients])
            torch.distributed.all_reduce(flat)
            means = flat.div_(self.trainer.world_size).split([g.numel() for g in gradients])
            for gradient, mean in zip(gradients, means, strict=True):
                gradient.copy_(mean.view_as(gradient))

    def _watch(self, losses: dict[str, Tensor]) -> None:
        """Stops on a loss that is not finite, and revives a discriminator that has won outright."""
        both = torch.stack((losses["generator"], losses["discriminator"]))
        if several():  # which must decide alike
            torch.distributed.all_reduce(both.div_(self.trainer.world_size))
        loss_g, loss_d = both.tolist()
        for name, loss in (("generator", loss_g), ("discriminator", loss_d)):
            if not -float("inf") < loss < float("inf"):
                raise Diverged(f"the {name}'s loss became {loss} at step {self.steps} (epoch {self.current_epoch + 1})")
        if loss_d < self.recipe.restart_below:
            fresh = self.networks.build_discriminator().to(self.device)
            self.discriminator.load_state_dict(fresh.state_dict())
            if several():  # whose random numbers differ
                for value in self.discriminator.state_dict().values():
                    torch.distributed.broadcast(value, 0)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Reconstruction of held-out normal images, in evaluation mode."""
        x = self.normalised(batch)
        self.log("loss/held_out_l1", F.l1_loss(reconstruct(self.detecting_networks()[0], x), x), on_epoch=True, prog_bar=True)

    def on_train_epoch_end(self) -> None:
        # The last step may have spoilt the weights without a loss to show it: such a state is not worth saving.
        if not all(bool(torch.isfinite(p).all()) for p in self.parameters()):
            raise Diverged(f"a weight became infinite or NaN at step {self.steps} (epoch {self.current_epoch + 1})")

    def on_train_start(self) -> None:
        self._started = time.perf_counter() - self.seconds

    def on_train_end(self) -> None:
        self.seconds = time.perf_counter() - self._started

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["gannext"] = {
            "networks": asdict(self.networks),
            "steps": self.steps,
            "seconds": time.perf_counter() - self._started,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["gannext"]
        self.steps = state["steps"]
        self.seconds = state.get("seconds", 0.0)
