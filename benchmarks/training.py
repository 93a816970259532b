"""How fast networks are trained: a plain implementation of the published recipe against `fit`, and what each choice brings.

    python benchmarks/training.py            # writes results/performance/training.csv, choices.csv and experts.csv
    python benchmarks/training.py --rounds 1 --steps 3 --dim 4 --batch 16           # whether it works

The plain one is eager and contiguous, makes every forward pass that the published code makes, and decodes each image by
itself in a DataLoader. Both train from the same PNG files, each time in a new process; the seconds counted are those between
the ends of two steps.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch._functorch.config as functorch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from gannext.data import Cache, DataConfig, load_split
from gannext.detection import normalise, slow_in_bf16
from gannext.networks import NetworkConfig
from gannext.training import RECIPES, TrainConfig, fit, fused, objective, threads
from gannext.training.fused import fuse
from gannext.training.module import GanModule
from gannext.training.objective import OBJECTIVES
from gannext.training.threads import threads_for_pieces
from measuring import Spread, add_arguments, apart, called, in_turn, pictures, timing, write_pictures, write_table

PLAIN = "plain PyTorch"
SPARING = "plain PyTorch, no pass for nothing"
SIDE = 32
JUDGED = 64  # the side of a judge's images
WARM_UP = 2  # steps of a run that do not count


class Pictures(Dataset[Tensor]):
    """PNG files, decoded one by one as a DataLoader asks for them."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.prepare = transforms.Compose(
            [transforms.Resize(SIDE), transforms.CenterCrop(SIDE), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as image:
            return self.prepare(image.convert("RGB"))


def plain_steps(networks: NetworkConfig, batch: int, paths: list[Path], workers: int, sparing: bool) -> Iterator[None]:
    """The published recipe as its formulas read, a step each time; epochs follow on one another.

    The published code passes images and reconstructions through the discriminator once more, before it computes a loss,
    and uses nothing of it (a step has five passes of the discriminator then). `sparing` leaves these out.
    """
    generator, discriminator = networks.build_generator(), networks.build_discriminator()
    optimisers = [torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (generator, discriminator)]
    real, fake = torch.ones(batch), torch.zeros(batch)
    bce = F.binary_cross_entropy_with_logits
    while True:
        for x in DataLoader(Pictures(paths), batch, shuffle=True, drop_last=True, num_workers=workers):
            x_hat = generator(x)
            if not sparing:
                discriminator(x), discriminator(x_hat)
            logit, f = discriminator(x)
            logit_hat, f_hat = discriminator(x_hat)
            loss = bce(logit_hat, real) + 50 * F.l1_loss(x_hat, x) + F.mse_loss(f_hat, f)
            optimisers[0].zero_grad()
            loss.backward(retain_graph=True)
            optimisers[0].step()

            logit_hat, f_hat = discriminator(x_hat.detach())
            loss = bce(logit, real) + bce(logit_hat, fake) + F.mse_loss(f_hat, f)
            optimisers[1].zero_grad()
            loss.backward()
            optimisers[1].step()
            yield


class Clock(Callback):
    """Notes when each step has ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """Mean seconds a step, after the first ones."""
        return (self.ends[-1] - self.ends[WARM_UP - 1]) / (len(self.ends) - WARM_UP)


def plain_run(networks: NetworkConfig, args: argparse.Namespace, paths: list[Path], sparing: bool) -> float:
    """Seconds an image of the plain implementation."""
    clock = Clock()
    steps = plain_steps(networks, args.batch, paths, args.workers, sparing)
    for _, _ in zip(range(WARM_UP + args.steps), steps, strict=False):
        clock.on_train_batch_end()
    return clock.seconds / args.batch


def our_run(networks: NetworkConfig, args: argparse.Namespace, paths: list[Path], precision: str, cache: Cache) -> float:
    """Seconds an image of `fit`."""
    split = load_split(DataConfig("pictures", paths[0].parent, size=(SIDE, SIDE), cache=cache))
    recipe = replace(RECIPES["published"], batch_size=args.batch)
    epochs = 1 + (WARM_UP + args.steps) * args.batch // len(split.train)
    config = TrainConfig(networks, recipe, epochs, accelerator="cpu", precision=precision, workers=args.workers,
                         max_steps=WARM_UP + args.steps)  # fmt: skip
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        fit(config, split, Path(folder), callbacks=[clock], progress=False)
    return clock.seconds / args.batch


RUNS: dict[str, Callable[[NetworkConfig, argparse.Namespace, list[Path]], float]] = {
    PLAIN: partial(plain_run, sparing=False),
    SPARING: partial(plain_run, sparing=True),
    "fit, fp32": partial(our_run, precision="32-true", cache="auto"),
    "fit, fp32, streaming": partial(our_run, precision="32-true", cache="stream"),
    "fit, bf16": partial(our_run, precision="bf16-mixed", cache="auto"),
}


def alone(name: str, *arguments: Any) -> float:
    """A run in a new process."""
    with apart([name]) as processes:
        return called(processes[name], RUNS[name], *arguments)


def time_trainings(networks: NetworkConfig, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each way to train."""
    names = [name for name in RUNS if not ("bf16" in name and slow_in_bf16())]
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pictures(Path(folder) / "pictures", args.images, SIDE)
        seconds = in_turn({name: partial(alone, name, networks, args, paths) for name in names}, args.rounds, warm_up=False)
    return [row_of(name, seconds[name], seconds[PLAIN], args) for name in names]


@dataclass(frozen=True)
class Choice:
    """How a step is computed. The defaults are `fit`'s; whatever is computed, it is the same step.

    Attributes:
        channels_last: the memory layout of the networks and the images.
        fused: the networks' parts as in `gannext.training.fused`, rather than as they are written.
        once: one pass of the discriminator over the reconstruction serves both losses, rather than one for each.
        apart: each loss's gradients go into its own network's weights alone.
        adam: Adam's loop over the weights: fused, foreach or neither.
        compiled: by torch.compile.
        bf16: autocast to bfloat16.
    """

    channels_last: bool = True
    fused: bool = True
    once: bool = True
    apart: bool = True
    adam: str = "fused"
    compiled: bool = False
    bf16: bool = False


CHOICES = {
    "as fit does": Choice(),
    "contiguous, not channels last": Choice(channels_last=False),
    "the networks as they are written": Choice(fused=False),
    "a pass of the discriminator for each loss": Choice(once=False),
    "gradients into both networks' weights": Choice(apart=False),
    "Adam weight by weight": Choice(adam="loop"),
    "Adam foreach": Choice(adam="foreach"),
    "bf16 autocast": Choice(bf16=True),
    "bf16 autocast, the networks as they are written": Choice(bf16=True, fused=False),
}
COMPILED = {
    "torch.compile": Choice(compiled=True),
    "torch.compile, bf16 autocast": Choice(compiled=True, bf16=True),
}


def make_step(choice: Choice, networks: NetworkConfig) -> Callable[[Tensor], None]:
    """A function that makes a step on bytes (N, C, H, W)."""
    torch.manual_seed(0)
    recipe = RECIPES["published"]
    layout = torch.channels_last if choice.channels_last else torch.contiguous_format
    written = networks.build_generator(), networks.build_discriminator()
    generator, discriminator = ((fuse(n) if choice.fused else n).to(memory_format=layout) for n in written)
    loops = {"fused": choice.adam == "fused", "foreach": choice.adam == "foreach"}
    optimisers = [torch.optim.Adam(n.parameters(), recipe.lr, (0.5, 0.999), **loops) for n in (generator, discriminator)]
    weights = [list(n.parameters()) if choice.apart else None for n in (generator, discriminator)]
    g, d = (torch.compile(n) if choice.compiled else n for n in (generator, discriminator))

    def step(images: Tensor) -> None:
        x = normalise(images)
        with torch.autocast("cpu", torch.bfloat16, enabled=choice.bf16):
            losses = OBJECTIVES[recipe.objective](recipe, g, d, x)  # type: ignore[arg-type]
        optimisers[0].zero_grad()
        losses.generator.backward(inputs=weights[0], retain_graph=True)
        loss = losses.discriminator
        if not choice.once:
            with torch.no_grad():
                x_hat = generator(x)
            loss = loss + 0 * d(x_hat)[0].sum()  # the pass more, which changes nothing else
        optimisers[0].step()
        optimisers[1].zero_grad()
        loss.backward(inputs=weights[1])
        optimisers[1].step()

    return step


def row_of(name: str, seconds: Any, baseline: Any, args: argparse.Namespace) -> dict[str, Any]:
    """A row of a table, printed too; `seconds` are an image's, (rounds,)."""
    rate, faster = Spread.of(1 / seconds), Spread.of(baseline / seconds)
    print(f"  {name:<44} {rate} images/s, {faster} times as fast")
    return {"training": name, "dim": args.dim, "batch": args.batch, **rate.columns("images_per_second"),
            **faster.columns("times"), "rounds": args.rounds}  # fmt: skip


def time_choices(networks: NetworkConfig, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each choice, against the step as `fit` makes it."""
    images = torch.from_numpy(pictures(args.batch, SIDE)).permute(0, 3, 1, 2).contiguous()
    choices = CHOICES | (COMPILED if args.compile else {})
    steps = {name: timing(make_step(choice, networks), images, items=args.batch) for name, choice in choices.items()}
    seconds = in_turn(steps, args.rounds)
    return [row_of(name, seconds[name], seconds[next(iter(steps))], args) for name in steps]


@contextmanager
def one_after_the_other() -> Iterator[None]:
    """Within it nothing of a judge's training is done at once."""
    with ExitStack() as stack:
        for module in (threads, fused, objective):
            stack.enter_context(patch.object(module, "at_once", lambda *call: list(map(*call))))
        yield


def time_experts(networks: NetworkConfig, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows for a step of robust-textures: its pieces one after the other, those side by side, and as `fit` takes it."""
    recipe = RECIPES["robust-textures"]
    judges = recipe.networks("gannext", (JUDGED, JUDGED), 1, {})
    x = normalise(torch.from_numpy(pictures(recipe.batch_size, JUDGED)).permute(0, 3, 1, 2)[:, :1])
    module = GanModule(judges, recipe).train()
    optimisers = module.configure_optimizers()

    def step(way: Callable[[], AbstractContextManager[Any]]) -> None:
        with way():
            losses = OBJECTIVES[recipe.objective](recipe, module.generator, module.discriminator, x)
            for optimiser in optimisers:
                optimiser.zero_grad()
            (losses.generator + losses.discriminator).backward()
            for optimiser in optimisers:
                optimiser.step()

    ways = {
        "one after the other": one_after_the_other,
        "side by side": nullcontext,
        "side by side, all else in one thread": threads_for_pieces,
    }
    seconds = in_turn({name: timing(step, way, items=len(x)) for name, way in ways.items()}, args.rounds)
    shown = argparse.Namespace(**vars(args) | {"dim": judges.generator["dim"], "batch": recipe.batch_size})
    return [row_of(name, seconds[name], seconds[next(iter(ways))], shown) for name in ways]


TABLES = {
    "training": ("Steps of a training, data included", time_trainings),
    "choices": ("Steps alone, by what is chosen in them", time_choices),
    "experts": ("Steps of a judge's training, its images corrupted", time_experts),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, rounds=7)
    parser.add_argument("--dim", type=int, default=40, metavar="D", help="width of the generator (%(default)s)")
    parser.add_argument("--batch", type=int, default=128, metavar="N", help="images a step (%(default)s)")
    parser.add_argument("--steps", type=int, default=6, metavar="N", help="steps a run that count (%(default)s)")
    parser.add_argument("--images", type=int, default=2000, metavar="N", help="PNG files to train on (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes that decode (%(default)s)")
    parser.add_argument("--compile", action="store_true", help="torch.compile too, which takes a C++ compiler and minutes")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES), help="which to make (all)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    functorch.donated_buffer = False  # of a compiled backward pass: the discriminator's over x̂ serves two losses
    networks = NetworkConfig("gannext", (SIDE, SIDE), 3, {"dim": args.dim})
    for name in args.tables:
        title, make_rows = TABLES[name]
        print(title)
        write_table(args.output, name, make_rows(networks, args), args.threads)


if __name__ == "__main__":
    main()
