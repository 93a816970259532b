"""What a judge learns from: corruptions, their regions and fills, and windows of large images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_fill_holes

from gannext.training import RECIPES, length_of_training, training_macs
from gannext.training.corruption import FILLS, SPOTS, THIN, Corruption
from gannext.training.regions import SHAPES
from gannext.training.windows import windows


@pytest.mark.parametrize("corruption", [SPOTS, THIN], ids=["spots", "thin"])
@pytest.mark.parametrize("shape", [(40, 1, 64, 64), (40, 3, 48, 80)])
def test_a_corruption_is_exactly_where_its_mask_says(shape: tuple[int, ...], corruption: Corruption) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=random) * 1.6 - 0.8
    y, mask = corruption(x, random)
    assert y.shape == x.shape and mask.shape == (shape[0], 1, *shape[2:]) and set(mask.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(torch.where(mask > 0, x, y), x) and y.min() >= -1 and y.max() <= 1
    changed = ((y - x).abs().mean(1, keepdim=True) * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)
    untouched = mask.sum((1, 2, 3)) == 0
    assert 0 < untouched.sum() < shape[0] / 2 and changed[~untouched].min() > 0.01
    again = corruption(x, random)[1]
    assert not torch.equal(mask, again)
    clean = replace(corruption, clean=1.0)(x, random)
    assert all(torch.equal(*pair) for pair in zip(clean, (x, torch.zeros_like(mask)), strict=True))


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_lines_and_outlines_are_thin_and_spots_are_not(shape: str) -> None:
    """By how much of a region is left when its outermost pixels are taken off, and how much more it encloses."""
    random = torch.Generator().manual_seed(0)
    mask = replace(SPOTS, shapes=(shape,), sites=(1, 1), clean=0.0)(torch.zeros(60, 1, 64, 64), random)[1]
    eroded = 1 - torch.nn.functional.max_pool2d(1 - mask, 5, 1, 2)
    assert mask.sum() > 0 and (float(eroded.sum() / mask.sum()) < 0.05) == (shape != "spot")
    filled = np.stack([binary_fill_holes(one) for one in mask[:, 0].numpy()])
    assert (filled.sum() > 1.2 * float(mask.sum())) == (shape == "outline")


@pytest.mark.parametrize("shape", ["spot", "line"])
def test_large_images_have_small_regions_too(shape: str) -> None:
    """In an image of four times the area the largest regions have four times the pixels, and the smallest fewer than that."""
    areas = []
    for side in (64, 128):
        cover = SHAPES[shape](400, (side, side), torch.Generator().manual_seed(0))
        areas.append((cover > 0.5).sum((1, 2, 3)).double())
    small, large = (areas[1][areas[1] > 0].quantile(q) / areas[0][areas[0] > 0].quantile(q) for q in (0.05, 0.95))
    assert small < 3 < large


def test_large_images_are_trained_on_by_windows() -> None:
    """Windows of both sizes lie everywhere and are the image as it is; each has as many steps, and one costs the same."""
    torch.manual_seed(0)
    whole = torch.arange(96 * 160).view(1, 96, 160)
    seen = [windows(whole.expand(64, 1, 96, 160), (64, 128)) for _ in range(200)]
    assert {some.shape for some in seen} == {(64, 1, 64, 64), (21, 1, 96, 128)}
    corners = torch.cat([some[:, 0, 0, 0] for some in seen if some.shape[-1] == 64])
    assert set((corners // 160).tolist()) == set(range(33)) and set((corners % 160).tolist()) == set(range(97))
    for some in seen[:8]:
        top, left = divmod(int(some[5, 0, 0, 0]), 160)
        assert torch.equal(some[5], whole[:, top : top + some.shape[-2], left : left + some.shape[-1]])

    recipe, lengths, costs = RECIPES["robust-textures"], [], []
    for size in ((32, 32), (64, 64), (64, 96), (256, 256)):
        networks = recipe.networks("gannext", size, 1, {})
        lengths.append(length_of_training(networks, recipe, "", 400, None, None)[1])
        costs.append(training_macs(networks, recipe))
    assert lengths == [600, 600, 1200, 1200] and costs[0] < costs[1] == costs[2] == costs[3]
    whole_parts = RECIPES["robust-parts"]
    assert length_of_training(networks, whole_parts, "", 400, None, None)[1] == 600
    assert training_macs(networks, whole_parts) == pytest.approx(16 * costs[3], rel=0.1)
    small = torch.zeros(3, 1, 48, 64)
    before = torch.get_rng_state()
    assert windows(small, (64, 128)) is small and torch.equal(before, torch.get_rng_state())  # of a training as it was


def test_thin_regions_are_of_every_shape_that_is_named() -> None:
    """Of lines alone nothing is enclosed; of lines and outlines some is."""
    random = torch.Generator().manual_seed(0)
    for shapes, some in ((("line",), False), (("line", "line", "outline"), True)):
        mask = replace(THIN, shapes=shapes, sites=(1, 1), clean=0.0)(torch.zeros(60, 1, 64, 64), random)[1][:, 0].numpy()
        enclosed = [binary_fill_holes(one).sum() > one.sum() for one in mask]
        assert any(enclosed) == some and not all(enclosed)


@pytest.mark.parametrize("fill", sorted(FILLS))
def test_every_fill_differs_from_what_it_covers(fill: str) -> None:
    random = torch.Generator().manual_seed(1)
    x = torch.rand(16, 3, 32, 32, generator=random) - 0.5
    filled = FILLS[fill](x, x.flip(0), random)
    assert filled.shape == x.shape and bool(torch.isfinite(filled).all())
    assert float((filled - x).abs().mean()) > 0.03
