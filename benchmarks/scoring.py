"""How fast images are scored: plain eager PyTorch against the Detector and its exported files.

    python benchmarks/scoring.py                                # writes results/performance/RECIPE/scoring.csv and folder.csv
    python benchmarks/scoring.py --recipes published --rounds 3 --files 200         # whether it works

All contestants of a table have the same networks, weights and images, and are timed in turn, each in a process of its own.
Those of 32 bits must give the same scores before they are timed.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from gannext import Detector
from gannext.detection import (
    JudgeScoring,
    Neighbours,
    NeighbourScoring,
    describe,
    export_detector,
    precisions_of,
    slow_in_bf16,
)
from gannext.runtime import Calibration, Exported, Pixels, Predictor
from gannext.training import RECIPES
from measuring import (
    Spread,
    add_arguments,
    apart,
    called,
    in_turn,
    matrix_multiply,
    pictures,
    timing,
    write_pictures,
    write_table,
)

Score = Callable[[Pixels], NDArray[np.float64]]
"""From bytes (N, H, W, C) at the networks' size to scores (N,)."""

PLAIN, DETECTOR, OPENVINO = "plain PyTorch", "Detector", "OpenVINO"
ENGINES = ("ONNX Runtime", OPENVINO)  # bf16 is for the last one alone
MULTIPLY = {"fp32": torch.float32, "bf16": torch.bfloat16}
BATCHES = (32, 128, 1)
NETWORKS = {"published": 32, "robust-objects": 32, "robust-textures": 64}  # recipes, with the side of their images
CALIBRATION = 128  # images that int8 takes its ranges from
ACCURACY = 1e-3  # of scores in 32 bits, by the largest: what untrained networks say varies little, and is divided by that


class Plain:
    """The score as the paper's formula reads: the networks as trained, one after the other, in evaluation mode."""

    def __init__(self, detector: Detector) -> None:
        networks = copy.deepcopy((detector.generator, detector.discriminator))
        self.generator, self.discriminator = (n.eval().to(memory_format=torch.contiguous_format) for n in networks)
        self.scoring = detector.scoring

    @torch.no_grad()
    def score(self, x: Tensor) -> NDArray[np.float64]:
        """Scores (N,) of images (N, C, H, W) in [-1, 1]."""
        if isinstance(self.scoring, JudgeScoring):  # the reconstruction is not part of the score
            likeliest = self.discriminator(x).flatten(2).topk(self.scoring.pixels).values
            scores = (1 + likeliest.mean(2).exp().sum(1)).log()
        elif isinstance(self.scoring, NeighbourScoring):  # whose formula is PyTorch's operations one by one already
            scores = self.scoring(x, describe(self.generator, self.discriminator, x))
        else:
            x_hat = self.generator(x)
            f, f_hat = self.discriminator(x)[1], self.discriminator(x_hat)[1]
            scores = 0.9 * ((x - x_hat) ** 2).mean((1, 2, 3)) + 0.1 * ((f - f_hat) ** 2).mean(1)
        return scores.double().numpy()

    def __call__(self, pixels: Pixels) -> NDArray[np.float64]:
        return self.score(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous() / 127.5 - 1)


@cache
def make_detector(recipe_name: str, side: int) -> Detector:
    """An untrained detector: what its weights are makes no difference to its speed. One with a memory remembers photographs."""
    torch.manual_seed(0)
    recipe = RECIPES[recipe_name]
    config = recipe.networks("gannext", (side, side), 3, {})
    networks = config.build_generator().eval(), config.build_discriminator().eval()
    plan = recipe.scoring
    if not isinstance(plan, Neighbours):
        return Detector(config, *networks, plan, Calibration((0.0,)))
    known = torch.from_numpy(pictures(plan.most, side)).permute(0, 3, 1, 2).split(256)
    return Detector(config, *networks, NeighbourScoring.fit(plan, *networks, known, known[:1]), Calibration((0.0,)))


def macs(detector: Detector) -> int:
    """Multiply-accumulates of one image's score, the memory's included."""
    plain, x = Plain(detector), torch.zeros(1, 3, *detector.size)
    with FlopCounterMode(display=False) as counter:
        plain.score(x)
    return int(counter.get_total_flops() // 2)


def names_of(detector: Detector) -> list[str]:
    """Everything that scores, plain PyTorch first."""
    useless = {"fp16"} | ({"bf16"} if slow_in_bf16() else set())  # processors compute as in fp32, or more slowly
    precisions = [p for p in precisions_of(detector) if p not in useless]
    return [PLAIN, DETECTOR, *(f"{engine}, {p}" for p in precisions for engine in ENGINES[p == "bf16" :])]


Contestant: TypeAlias = tuple[str, str, int]
"""A recipe, one of its names, and how many threads compute. Each is made in a process of its own, and once."""


@cache
def predictor(contestant: Contestant) -> Predictor:
    """The Detector, or its exported file."""
    recipe, name, threads = contestant
    detector = make_detector(recipe, NETWORKS[recipe])
    if name == DETECTOR:
        return detector
    engine, precision = name.split(", ")
    examples = pictures(CALIBRATION, NETWORKS[recipe], seed=1)
    content = export_detector(detector, precision, [examples], openvino=engine == OPENVINO)
    return Exported.of(content, "memory", threads=threads)


@cache
def scorer(contestant: Contestant) -> Score:
    """What scores a batch."""
    recipe, name, _ = contestant
    if name == PLAIN:
        return Plain(make_detector(recipe, NETWORKS[recipe]))
    return lambda pixels: predictor(contestant).look(pixels).scores


def scores_of(contestant: Contestant, pixels: Pixels) -> NDArray[np.float64]:
    """Scores (N,) of a batch."""
    return scorer(contestant)(pixels)


def batch_seconds(contestant: Contestant, pixels: Pixels) -> float:
    """Seconds an image of a batch."""
    return timing(scorer(contestant), pixels, items=len(pixels))()


def check(scores: Mapping[str, NDArray[np.float64]]) -> None:
    """Raises ValueError where a contestant of 32 bits does not give the plain scores."""
    expected = scores[PLAIN]
    for name, found in scores.items():
        error = float(np.abs(found - expected).max() / np.abs(expected).max())
        print(f"  {name:<24} scores within {error:.1e} of the plain ones")
        if error > ACCURACY and not name.endswith(("bf16", "int8")):
            raise ValueError(f"{name} does not compute the same: its scores are off by {error:.1e}")


def time_batches(recipe: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each batch size and contestant."""
    rows: list[dict[str, Any]] = []
    side = NETWORKS[recipe]
    detector = make_detector(recipe, side)
    names, cost = names_of(detector), macs(detector)
    print(f"\n{recipe}, {side}x{side}, {cost:,} multiply-accumulates an image")
    with apart(names) as processes:
        calls = {name: partial(called, processes[name]) for name in names}
        check({name: calls[name](scores_of, (recipe, name, args.threads), pictures(8, side)) for name in names})
        for batch in BATCHES:
            print(f"  batches of {batch}")
            pixels = pictures(batch, side)
            timings = {name: partial(calls[name], batch_seconds, (recipe, name, args.threads), pixels) for name in names}
            common = {"recipe": recipe, "side": side, "batch": batch}
            rows += [{**common, **row, "rounds": args.rounds} for row in time_batch(timings, cost, args.rounds)]
    return rows


def time_batch(timings: Mapping[str, Callable[[], float]], cost: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each contestant; an image costs so many multiply-accumulates."""
    kinds = {name: "bf16" if name.endswith("bf16") else "fp32" for name in timings}
    multiplies = {kind: matrix_multiply(MULTIPLY[kind]) for kind in set(kinds.values())}
    seconds = in_turn({**timings, **multiplies}, rounds)
    rows = []
    for name in timings:
        kind = kinds[name]
        milliseconds, faster = Spread.of(1e3 * seconds[name]), Spread.of(seconds[PLAIN] / seconds[name])
        share, rate = Spread.of(cost * seconds[kind] / seconds[name]), Spread.of(2e-9 / seconds[kind])
        print(f"  {name:<24} {milliseconds} ms an image, {faster} times as fast, {share} of a {kind} multiply's rate")
        row = {"scorer": name, **milliseconds.columns("ms"), **faster.columns("times"), **share.columns("share")}
        rows.append({**row, "multiply": kind, **rate.columns("multiply_gflops")})
    return rows


def plain_folder(plain: Score, paths: Iterable[Path], side: int, batch: int) -> int:
    """Scores files as a plain loop does: each decoded, then the batch scored. Returns their number."""
    waiting, scored = iter(paths), 0
    while some := list(islice(waiting, batch)):
        images = []
        for path in some:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)))
        scored += len(plain(np.stack(images)))
    return scored


def folder_seconds(contestant: Contestant, paths: list[Path]) -> float:
    """Seconds a file: by the plain loop, or as `gannext predict` judges them."""
    recipe, name, _ = contestant
    if name == PLAIN:
        return timing(plain_folder, scorer(contestant), paths, NETWORKS[recipe], 32, items=len(paths), at_least=0)()
    return timing(judge_folder, predictor(contestant), paths, items=len(paths), at_least=0)()


def judge_folder(predictor: Predictor, paths: list[Path]) -> int:
    """Judges files as `gannext predict` does. Returns their number."""
    return sum(1 for _ in predictor.predict_iter(paths))


def time_folder(recipe: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each contestant: scoring a folder of PNG files, decoding included."""
    side = NETWORKS[recipe]
    names = names_of(make_detector(recipe, side))
    print(f"\n{recipe}, {args.files} PNG files")
    with tempfile.TemporaryDirectory() as folder, apart(names) as processes:
        paths = write_pictures(Path(folder) / "pictures", args.files, args.file_side or side)
        timings = {
            name: partial(called, processes[name], folder_seconds, (recipe, name, args.threads), paths) for name in names
        }
        seconds = in_turn(timings, args.folder_rounds)
    rows = []
    for name in names:
        rate, faster = Spread.of(1 / seconds[name]), Spread.of(seconds[PLAIN] / seconds[name])
        print(f"  {name:<24} {rate} images/s, {faster} times as fast")
        row = {"recipe": recipe, "side": side, "files": args.files, "file_side": args.file_side or side, "scorer": name}
        rows.append({**row, **rate.columns("images_per_second"), **faster.columns("times"), "rounds": args.folder_rounds})
    return rows


TABLES = {"scoring": time_batches, "folder": time_folder}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, rounds=15)
    parser.add_argument("--files", type=int, default=10_000, metavar="N", help="PNG files of the folder (%(default)s)")
    parser.add_argument("--file-side", type=int, metavar="PIXELS", help="their side (that of the networks)")
    parser.add_argument("--folder-rounds", type=int, default=3, metavar="N", help="how often it is scored (%(default)s)")
    parser.add_argument("--recipes", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="of which recipes (all)")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES), help="which to make (all)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for recipe in args.recipes:
        for table in args.tables:
            write_table(args.output / recipe, table, TABLES[table](recipe, args), args.threads)


if __name__ == "__main__":
    main()
