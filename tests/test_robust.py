"""The robust recipe: its judge, the conditions it is trained for, and a detector that it trains, through the command line."""

import csv
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from conftest import Command
from gannext import Detector, load, train
from gannext.cli.main import main
from gannext.data import MemoryImages
from gannext.detection import JudgeScoring
from gannext.detection.score import Description
from gannext.networks import Judge, energies, gaussian_blur
from gannext.networks.energy import gaussian_blurs
from gannext.runtime import InputError
from gannext.training import RECIPES, training_macs
from gannext.training.corruption import SPOTS
from gannext.training.fused import fuse
from gannext.training.levels import find_levels
from gannext.training.module import running_average
from gannext.training.objective import judge_losses, thinness
from gannext.training.threads import at_once, threads_for_pieces
from gannext.training.views import refocused, relit
from test_maps import spotted


@pytest.fixture(scope="module")
def judged(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run by the robust recipe, made through the command line."""
    output = tmp_path_factory.mktemp("robust")
    options = ["--data-root", parts, "--recipe", "robust-textures", "--budget", "1e11", "--device", "cpu", "--output", output]
    assert main([str(a) for a in ["train", *options]]) == 0
    return next((output / "gannext" / "parts").iterdir())


def test_it_finds_the_spots_and_shows_them(judged: Path, gannext: Command, parts: Path) -> None:
    outcome = gannext("evaluate", judged / "detector.gannext")
    auroc = float(outcome.out.split("AUROC")[1].split()[0])
    assert outcome.code == 0 and auroc > 0.9, outcome.out
    image, mask = spotted(7)
    found = Detector.load(judged / "detector.gannext").predict(image, maps=True, reconstruct=True)[0]
    assert found.anomaly_map is not None and found.reconstruction is not None
    assert mask[np.unravel_index(found.anomaly_map.argmax(), mask.shape)]
    assert found.anomaly_map[mask].mean() > 10 * found.anomaly_map[~mask].mean()


def test_faint_images_are_stretched_for_the_networks(judged: Path, gannext: Command, parts: Path, tmp_path: Path) -> None:
    """A tenth of the contrast: what detects is as good as ever, and what people see is as faint as it was."""

    def faint(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.rint(90 + 0.1 * pixels).astype(np.uint8)

    for path in parts.rglob("*.png"):
        place = tmp_path / "faint" / path.relative_to(parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(faint(np.asarray(Image.open(path)))).save(place)
    options = ("--data-root", tmp_path / "faint", "--recipe", "robust-textures", "--budget", "1e11", "--device", "cpu")
    assert gannext("train", *options, "--output", tmp_path).code == 0
    file = next(tmp_path.rglob("detector.gannext"))
    assert float(gannext("evaluate", file).out.split("AUROC")[1].split()[0]) > 0.9
    detector = Detector.load(file)
    assert [80 < black < 100 and 105 < white < 125 for black, white in detector.config.levels] == 3 * [True]
    assert Detector.load(judged / "detector.gannext").config.levels == ()

    image = faint(np.asarray(spotted(7)[0]))
    exported = gannext("export", file, "-o", tmp_path / "faint.onnx")
    assert exported.code == 0, exported.err
    pair = [d.predict(image, reconstruct=True)[0] for d in (detector, load(tmp_path / "faint.onnx"))]
    assert pair[0].score == pytest.approx(pair[1].score, rel=1e-4)
    for found in pair:
        assert found.abnormal and found.reconstruction is not None
        assert found.reconstruction.min() > 85 and found.reconstruction.max() < 125


def test_levels_follow_the_widest_channel_and_outlying_pixels_do_not_count() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers((100, 50, 60), (141, 61, 61), (20, 40, 40, 3)).astype(np.uint8).transpose(0, 3, 1, 2)
    pixels[0, :, 0, 0], pixels[1, :, 0, 0] = 0, 255
    assert find_levels(MemoryImages(torch.from_numpy(pixels))) == ((80, 160), (15, 95), (20, 100))
    pixels[:, 0, :20] = 0
    assert find_levels(MemoryImages(torch.from_numpy(pixels))) == ()
    level = np.full_like(pixels, 7)
    assert find_levels(MemoryImages(torch.from_numpy(level))) == 3 * ((-1, 15),)


def test_light_and_focus_that_vary_are_trained_for_on_request(gannext: Command, parts: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.rand(400, 1, 2, 2) - 0.5
    assert relit(x, 0.0) is x
    greys, lit = x + 1.0, relit(x, 0.1) + 1.0
    gain = (lit[:, 0, 0, 0] - lit[:, 0, 1, 1]) / (greys[:, 0, 0, 0] - greys[:, 0, 1, 1])
    offset = lit[:, 0, 0, 0] - gain * greys[:, 0, 0, 0]
    for found, middle in ((gain, 1.0), (offset, 0.0)):
        assert 0.9 < (found - middle).min() * -10 < 1.01 and 0.9 < (found - middle).max() * 10 < 1.01
    assert relit(torch.ones(50, 1, 2, 2), 0.5).max() == 1.0

    tiny = ("--budget", "1e9", "--device", "cpu", "--output", tmp_path)
    varying = ("--recipe", "robust-textures", "--light", "0.1", "--focus", "0.7")
    assert gannext("train", "--data-root", parts, *varying, *tiny).code == 0
    recipe = Detector.load(next(tmp_path.rglob("detector.gannext"))).provenance["recipe"]
    assert (recipe["light"], recipe["focus"]) == (0.1, 0.7)
    for options, sentence in (
        (("--recipe", "robust-objects", "--light", "0.1"), "the robust-objects recipe does not train in other light"),
        (("--dataset", "digits", "--light", "0.1"), "the robust-objects recipe does not train in other light"),
        (("--recipe", "robust-objects", "--focus", "0.7"), "does not train in other focus: leave focus out"),
        (("--light", "0.9"), "from 0 to 0.5"),
        (("--focus", "3"), "from 0 to 2"),
    ):
        outcome = gannext("train", "--data-root", parts, *options, *tiny)
        assert outcome.code == 2 and sentence in outcome.err and outcome.err.count("\n") == 1, outcome.err
        assert "Data: " not in outcome.out  # refused before they are read
    with pytest.raises(InputError, match="light that varies by 2 is too much"):
        train(parts, light=2.0)
    with pytest.raises(InputError, match="focus that varies by 3 is too much"):
        train(parts, focus=3.0)


def test_each_image_is_blurred_in_a_proportion_of_its_own() -> None:
    torch.manual_seed(0)
    x = torch.rand(400, 1, 16, 16)
    assert refocused(x, 0.0) is x
    difference, most = refocused(x, 0.7) - x, gaussian_blur(x, 0.7) - x
    shares = (difference * most).sum((1, 2, 3)) / most.square().sum((1, 2, 3))
    assert torch.allclose(difference, shares.view(-1, 1, 1, 1) * most, atol=1e-5)
    assert 0.0 <= shares.min() < 0.05 and 0.95 < shares.max() <= 1.0


def test_a_step_sees_its_images_in_another_light_and_focus() -> None:
    recipe = replace(RECIPES["robust-textures"].varied(0.5, 0.7), corruptions=(replace(SPOTS, clean=1.0),) * 2)
    config = recipe.networks("gannext", (32, 32), 1, {})
    seen: list[torch.Tensor] = []
    generator = config.build_generator()
    generator.register_forward_pre_hook(lambda module, images: seen.append(images[0]))
    dotted = torch.zeros(16, 1, 32, 32)
    dotted[..., 16, 16] = 0.1
    judge_losses(recipe, generator, config.build_discriminator(), dotted)
    around, beside = seen[0][:, 0, 0, 0], seen[0][:, 0, 16, 15]
    assert around.unique().numel() > 1 and (seen[0][:, 0, :8] - around.view(-1, 1, 1)).abs().max() < 1e-5
    assert bool((beside > around + 1e-4).any())


def test_the_rate_stays_or_rises_and_falls_and_the_averaged_weights_detect(judged: Path) -> None:
    stays, falls = RECIPES["robust-textures"], RECIPES["robust-objects"]
    rates = [falls.learning_rate(step, 200) for step in range(200)]
    assert rates[0] == pytest.approx(falls.lr / falls.warm_up, rel=0.01) and max(rates) < falls.lr
    assert int(np.argmax(rates)) == falls.warm_up - 1 and rates[-1] < 1e-3 * falls.lr
    assert {stays.learning_rate(step, 200) for step in (0, 100, 199)} == {stays.lr}
    assert RECIPES["published"].learning_rate(0, 5) == RECIPES["published"].learning_rate(4, 5) == 2e-4
    with (judged / "metrics.csv").open(newline="") as file:
        logged = [float(row["lr"]) for row in csv.DictReader(file)]
    assert logged[-1] == pytest.approx(stays.lr)

    state = torch.load(judged / "last.ckpt", weights_only=True)["state_dict"]
    detecting = Detector.load(judged / "detector.gannext").discriminator.state_dict()
    name = "experts.1.stem_in.0.weight"
    assert torch.equal(detecting[name], state[f"averages.1.module.{name}"])
    assert not torch.equal(detecting[name], state[f"discriminator.{name}"])


def test_a_running_average_begins_as_a_mean_and_goes_on_as_an_exponential_one() -> None:
    average, batches = [torch.zeros(1)], [torch.tensor(0)]
    for number in range(1, 21):
        count = torch.tensor(number)
        running_average(0.995)(average, [torch.full((1,), float(number))], count)
        running_average(0.995)(batches, [count], count)
    assert 10.0 < float(average[0]) < 20.0 and int(batches[0]) == 20
    before = float(average[0])
    running_average(0.995)(average, [torch.tensor([before + 1.0])], torch.tensor(10_000))
    assert float(average[0]) - before == pytest.approx(0.005, rel=0.01)


def test_energies_tell_too_smooth_from_too_busy() -> None:
    torch.manual_seed(0)
    normal = torch.randn(1, 1, 64, 64) * 0.2
    flat, busy = normal * 0.1, normal * 3
    reference = energies(normal).mean((2, 3))
    below, above = (energies(x).mean((2, 3)) - reference for x in (flat, busy))
    bands = slice(0, 9)
    assert bool((below[:, bands] < -0.5).all()) and bool((above[:, bands] > 0.5).all())


def test_gaussians_together_and_strided_are_those_alone() -> None:
    x = torch.rand(2, 3, 20, 14)
    for sigma, blurred in zip((0.6, 2.0, 9.0), gaussian_blurs(x, (0.6, 2.0, 9.0), stride=2), strict=True):
        assert blurred.shape == (2, 3, 10, 7)
        assert torch.allclose(blurred, gaussian_blur(x, sigma)[..., ::2, ::2], atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 1, 32, 48), (3, 3, 64, 64)])
def test_a_judge_in_training_filters_as_one_that_detects(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    judge, x = fuse(Judge(shape[1], dim=4)), torch.rand(shape) * 2 - 1
    assert judge.training and torch.allclose(judge.filtered(x), energies(x), atol=1e-4)


def test_a_judge_takes_any_side_and_sees_the_same_everywhere() -> None:
    torch.manual_seed(0)
    judge = Judge(1, dim=4).eval()
    assert judge(torch.rand(2, 1, 33, 70)).shape == (2, 2, 33, 70)
    x = torch.rand(1, 1, 192, 192)
    with torch.no_grad():
        whole, part = judge(x), judge(x[..., 16:, 16:])
    assert torch.allclose(whole[..., 16:, 16:][..., 72:104, 72:104], part[..., 72:104, 72:104], atol=0.02)


def test_a_small_region_weighs_more_than_one_odd_pixel() -> None:
    logits = torch.full((3, 2, 8, 8), -6.0)
    logits[1, 0, 0, 0] = 6.0
    logits[2, 1, :4] = 0.0  # 32 pixels
    normal, pixel, region = RECIPES["robust-textures"].scoring(torch.empty(0), Description(logits, None, torch.empty)).tolist()
    assert normal < pixel < region == pytest.approx(np.log(2 + np.exp(-6)))
    assert JudgeScoring()(torch.empty(0), Description(logits, None, torch.empty)).argmax() == 1  # as files of before say
    few = Description(logits[..., :2, :2], None, torch.empty)  # an image of fewer pixels
    assert JudgeScoring(pixels=32)(torch.empty(0), few).shape == (3,)


def test_each_expert_learns_from_corruptions_of_its_own() -> None:
    torch.manual_seed(0)
    judge = Judge(1, dim=4).eval()
    x = torch.rand(4, 1, 32, 48)
    divided, whole = judge.divided(x), judge(x)
    assert torch.allclose(divided, torch.cat([whole[:2, :1], whole[2:, 1:]]), atol=1e-6)
    for share, expert in ((slice(0, 2), 1), (slice(2, 4), 0)):
        judge.zero_grad()
        judge.divided(x)[share].sum().backward()
        assert all(p.grad is None or not p.grad.any() for p in judge.experts[expert].parameters())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_experts_side_by_side_learn_what_one_after_the_other_would(precision: torch.dtype) -> None:
    torch.manual_seed(0)
    judge = fuse(Judge(1, dim=4))
    x, shift = torch.rand(8, 1, 32, 32), torch.rand(8, 1, 32, 32)
    learnt = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            with torch.autocast("cpu", precision, enabled=precision != torch.float32):
                logits = judge.divided(x)
                gradients = torch.autograd.grad((logits.float() - shift).square().mean(), list(judge.parameters()))
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(1)
        learnt[threads] = logits, torch.cat([g.flatten() for g in gradients])
    assert learnt[1][0].dtype == learnt[2][0].dtype
    for one_by_one, side_by_side in zip(*learnt.values(), strict=True):
        assert torch.allclose(one_by_one, side_by_side, rtol=1e-3, atol=1e-5 if precision == torch.float32 else 2e-2)


def test_a_step_is_the_same_however_many_threads_share_it() -> None:
    """Threads that drew from one generator would corrupt otherwise each time."""
    recipe = RECIPES["robust-textures"]
    networks, x = recipe.networks("gannext", (32, 32), 1, {}), torch.rand(8, 1, 32, 32) * 2 - 1
    generator, discriminator = fuse(networks.build_generator()), fuse(networks.build_discriminator())
    losses = []
    for threads in (1, 2, 2, 2):
        torch.set_num_threads(threads)
        try:
            with threads_for_pieces():
                torch.manual_seed(0)
                step = judge_losses(recipe, generator, discriminator, x)
        finally:
            torch.set_num_threads(1)
        losses.append([step.discriminator.item(), step.reconstruction.item()])
    assert np.allclose(losses, losses[0], rtol=1e-4)


def test_threads_are_dealt_out_to_pieces_and_given_back() -> None:
    def count(piece: int) -> int:
        return torch.get_num_threads()

    torch.set_num_threads(4)
    try:
        with pytest.raises(KeyError), threads_for_pieces():
            assert torch.get_num_threads() == 1 and at_once(count, range(2)) == [2, 2] and at_once(count, range(3)) == [1] * 3
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 4 and at_once(count, range(2)) == [2, 2]
        first, second = threads_for_pieces(), threads_for_pieces()  # two trainings in one process, the first ending first
        for step in (first.__enter__, second.__enter__, partial(first.__exit__, None, None, None)):
            step()
        second.__exit__(None, None, None)
        assert torch.get_num_threads() == 4 and at_once(count, range(2)) == [2, 2]
    finally:
        torch.set_num_threads(1)
    assert at_once(count, range(2)) == [1, 1]


def test_it_trains_in_bf16(parts: Path, gannext: Command, tmp_path: Path) -> None:
    options = ("--data-root", parts, "--recipe", "robust-textures", "--budget", 1, "--device", "cpu", "--output", tmp_path)
    outcome = gannext("train", *options, "--precision", "bf16-mixed")
    assert outcome.code == 0, outcome.err


def test_pixels_of_thin_regions_weigh_more() -> None:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 4:20, 4:20] = 1.0
    mask[..., 26, :] = 1.0  # a line: of 9x9 pixels around one of its own, 9 are its own
    weights = thinness(mask)
    assert weights[0, 0, 12, 12] == 1.0 and weights[0, 0, 0, 0] == 1.0
    assert weights[0, 0, 26, 16] == pytest.approx(1.0 + 4.0 * (1 - 9 / 81))


def test_a_budget_buys_as_many_steps_each_time() -> None:
    """What a step costs is counted without its corruptions, which are of random size."""
    recipe = RECIPES["robust-textures"]
    networks = recipe.networks("gannext", (32, 32), 1, {})
    lengths = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        lengths.append(training_macs(networks, recipe))
    assert lengths[0] == lengths[1]
