"""How fast images are scored: plain eager PyTorch against the Detector and its exported files.

    python benchmarks/scoring.py                                # writes results/performance/RECIPE/scoring.csv and folder.csv
    python benchmarks/scoring.py --recipes published --rounds 3 --files 200         # whether it works

All contestants of a table have the same networks, weights and images, and are timed in turn. Those of 32 bits must give the
same scores before they are timed.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

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
    in_turn,
    matrix_multiply,
    pictures,
    timing,
    write_pictures,
    write_table,
)

Score = Callable[[Pixels], NDArray[np.float64]]
"""From bytes (N, H, W, C) at the networks' size to scores (N,)."""

PLAIN = "plain PyTorch"
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


@cache
def predictors(detector: Detector, threads: int) -> dict[str, Predictor]:
    """The detector and its exported files, by name."""
    examples = pictures(CALIBRATION, detector.size[0], seed=1)
    found: dict[str, Predictor] = {"Detector": detector}
    useless = {"fp16"} | ({"bf16"} if slow_in_bf16() else set())  # processors compute as in fp32, or more slowly
    precisions = [p for p in precisions_of(detector) if p not in useless]
    for precision in precisions:
        for openvino, name in ((False, "ONNX Runtime"), (True, "OpenVINO"))[precision == "bf16" :]:
            content = export_detector(detector, precision, [examples], openvino=openvino)
            found[f"{name}, {precision}"] = Exported.of(content, "memory", threads=threads)
    return found


def contestants(detector: Detector, threads: int) -> dict[str, Score]:
    """Everything that scores, by name."""

    def look(predictor: Predictor) -> Score:
        return lambda pixels: predictor.look(pixels).scores

    return {PLAIN: Plain(detector), **{name: look(one) for name, one in predictors(detector, threads).items()}}


def check(scorers: dict[str, Score], pixels: Pixels) -> None:
    """Raises ValueError where a contestant of 32 bits does not give the plain scores."""
    expected = scorers[PLAIN](pixels)
    for name, score in scorers.items():
        error = float(np.abs(score(pixels) - expected).max() / np.abs(expected).max())
        print(f"  {name:<24} scores within {error:.1e} of the plain ones")
        if error > ACCURACY and not name.endswith(("bf16", "int8")):
            raise ValueError(f"{name} does not compute the same: its scores are off by {error:.1e}")


def time_batches(recipe: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each batch size and contestant."""
    rows: list[dict[str, Any]] = []
    side = NETWORKS[recipe]
    detector = make_detector(recipe, side)
    scorers, cost = contestants(detector, args.threads), macs(detector)
    print(f"\n{recipe}, {side}x{side}, {cost:,} multiply-accumulates an image")
    check(scorers, pictures(8, side))
    for batch in BATCHES:
        print(f"  batches of {batch}")
        rows += [
            {"recipe": recipe, "side": side, "batch": batch, **row, "rounds": args.rounds}
            for row in time_batch(scorers, pictures(batch, side), cost, args.rounds)
        ]
    return rows


def time_batch(scorers: dict[str, Score], pixels: Pixels, cost: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each contestant, scoring one batch of images that cost so many multiply-accumulates each."""
    timings = {name: timing(score, pixels, items=len(pixels)) for name, score in scorers.items()}
    kinds = {name: "bf16" if name.endswith("bf16") else "fp32" for name in scorers}
    multiplies = {kind: matrix_multiply(MULTIPLY[kind]) for kind in set(kinds.values())}
    seconds = in_turn({**timings, **multiplies}, rounds)
    rows = []
    for name in scorers:
        kind = kinds[name]
        milliseconds, faster = Spread.of(1e3 * seconds[name]), Spread.of(seconds[PLAIN] / seconds[name])
        share, rate = Spread.of(cost * seconds[kind] / seconds[name]), Spread.of(2e-9 / seconds[kind])
        print(f"  {name:<24} {milliseconds} ms an image, {faster} times as fast, {share} of a {kind} multiply's rate")
        row = {"scorer": name, **milliseconds.columns("ms"), **faster.columns("times"), **share.columns("share")}
        rows.append({**row, "multiply": kind, **rate.columns("multiply_gflops")})
    return rows


def plain_folder(plain: Plain, paths: Iterable[Path], side: int, batch: int) -> int:
    """Scores files as a plain loop does: each decoded, then the batch scored. Returns their number."""
    waiting, scored = iter(paths), 0
    while some := list(islice(waiting, batch)):
        images = []
        for path in some:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)))
        scored += len(plain(np.stack(images)))
    return scored


def judge_folder(predictor: Predictor, paths: list[Path]) -> int:
    """Judges files as `gannext predict` does. Returns their number."""
    return sum(1 for _ in predictor.predict_iter(paths))


def time_folder(recipe: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each contestant: scoring a folder of PNG files, decoding included."""
    side = NETWORKS[recipe]
    detector = make_detector(recipe, side)
    print(f"\n{recipe}, {args.files} PNG files")
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pictures(Path(folder) / "pictures", args.files, args.file_side or side)
        timings = {PLAIN: timing(plain_folder, Plain(detector), paths, side, 32, items=len(paths), at_least=0)}
        for name, predictor in predictors(detector, args.threads).items():
            timings[name] = timing(judge_folder, predictor, paths, items=len(paths), at_least=0)
        seconds = in_turn(timings, args.folder_rounds)
    rows = []
    for name in timings:
        rate, faster = Spread.of(1 / seconds[name]), Spread.of(seconds[PLAIN] / seconds[name])
        print(f"  {name:<24} {rate} images/s, {faster} times as fast")
        row = {"recipe": recipe, "side": side, "files": args.files, "file_side": args.file_side or side, "scorer": name}
        rows.append({**row, **rate.columns("images_per_second"), **faster.columns("times"), "rounds": args.folder_rounds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, rounds=15)
    parser.add_argument("--files", type=int, default=10_000, metavar="N", help="PNG files of the folder (%(default)s)")
    parser.add_argument("--file-side", type=int, metavar="PIXELS", help="their side (that of the networks)")
    parser.add_argument("--folder-rounds", type=int, default=3, metavar="N", help="how often it is scored (%(default)s)")
    parser.add_argument("--recipes", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="of which recipes (all)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for recipe in args.recipes:
        write_table(args.output / recipe, "scoring", time_batches(recipe, args), args.threads)
        write_table(args.output / recipe, "folder", time_folder(recipe, args), args.threads)


if __name__ == "__main__":
    main()
