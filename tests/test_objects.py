"""The robust recipe for whole objects: its discriminator, its score by memory, and a detector through the command line."""

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.neighbors import NearestNeighbors

import gannext
from conftest import Command, picture, write_pictures
from gannext import Detector
from gannext.cli.main import main
from gannext.data import DataConfig, load_split
from gannext.data.images import MemoryImages
from gannext.detection import Neighbours, NeighbourScoring, describe, export_detector, normalise
from gannext.detection.export import to_onnx
from gannext.detection.memory import RIDGE, distances, side_by_side, whitening
from gannext.networks import PROJECTED, NetworkConfig, layout, turned
from gannext.training import RECIPES, kind_of
from gannext.training.contrast import TEMPERATURE, contrastive_loss
from gannext.training.kind import LEAST_AGREEMENT, LEAST_SHARE, ONE_KIND, agreement, layout_share, likeness, thumbnails
from gannext.training.objective import describer_losses
from gannext.training.views import jittered, turned_copies, view
from test_data import write_cifar10

OBJECTS = RECIPES["robust-objects"]
QUICK = ("--budget", "3e10", "--channels", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run on digits by the default recipe."""
    output = tmp_path_factory.mktemp("objects")
    assert main(["train", "--dataset", "digits", "--abnormal-class", "0", *QUICK, "--output", str(output)]) == 0
    return next((output / "gannext" / "digits").iterdir())


@pytest.fixture(scope="module")
def traced(run: Path) -> Iterator[Detector]:
    """Its detector, whose graph is made once for all exports."""
    detector = Detector.load(run / "detector.gannext")
    graph = to_onnx(detector)
    with pytest.MonkeyPatch.context() as patch:
        made = lambda other: copy.deepcopy(graph) if other is detector else to_onnx(other)  # noqa: E731
        patch.setattr("gannext.detection.export.to_onnx", made)
        yield detector


def test_the_default_recipe_knows_objects_and_beats_the_floor_it_stands_on(run: Path) -> None:
    detector = Detector.load(run / "detector.gannext")
    assert detector.provenance["recipe"]["name"] == "robust-objects" and isinstance(detector.scoring, NeighbourScoring)
    assert json.loads((run / "evaluation.json").read_text())["honest"]["auroc"] > 0.9


def test_a_detector_remembers_what_it_was_saved_with(traced: Detector, tmp_path: Path) -> None:
    images = [np.asarray(picture(seed).convert("L")) for seed in range(5)]
    together = [p.score for p in traced.predict(images, reconstruct=True, maps=True)]
    alone = [traced.predict(image)[0].score for image in images]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)
    export_detector(traced).save(tmp_path / "copy.onnx")
    exported = [p.score for p in gannext.load(tmp_path / "copy.onnx").predict(images)]
    np.testing.assert_allclose(exported, together, rtol=1e-4, atol=1e-4)
    traced.save(tmp_path / "copy.gannext")
    again = [p.score for p in Detector.load(tmp_path / "copy.gannext").predict(images)]
    np.testing.assert_allclose(again, together, rtol=1e-6)


def test_eight_bits_leave_the_fixed_filters_and_the_memory_alone(traced: Detector, tmp_path: Path) -> None:
    split = load_split(DataConfig("digits", abnormal_class="0", channels=1))
    held_out, images = (p.permute(0, 2, 3, 1).numpy() for p in (split.held_out.pixels, split.test.pixels[::10]))
    export_detector(traced, "int8", [held_out]).save(tmp_path / "small.onnx")
    both = traced, gannext.load(tmp_path / "small.onnx")
    whole, small = (np.array([p.score for p in one.predict(list(images))]) for one in both)
    assert np.corrcoef(whole, small)[0, 1] > 0.98 and np.abs(whole - small).mean() < 0.2 * whole.std()


def test_a_run_that_died_after_its_last_step_goes_on_to_its_detector(run: Path, gannext: Command, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (copy / "detector.gannext").unlink()
    assert gannext("train", "--resume", copy).code == 0
    assert (copy / "metrics.csv").read_text() == (run / "metrics.csv").read_text()
    first, second = (Detector.load(folder / "detector.gannext") for folder in (run, copy))
    assert torch.equal(first.scoring.features, second.scoring.features)  # type: ignore[union-attr]


def test_the_parts_of_the_score_are_what_they_are_called(run: Path) -> None:
    detector = Detector.load(run / "detector.gannext")
    scoring = detector.scoring
    split = load_split(DataConfig("digits", abnormal_class="0", channels=1))
    with torch.inference_mode():
        x, known = normalise(split.held_out.pixels[:20]), normalise(split.train.pixels)
        described = describe(detector.generator, detector.discriminator, x)
        memory = describe(detector.generator, detector.discriminator, known)
        assert isinstance(scoring, NeighbourScoring)
        parts = scoring.parts(x, described).numpy()
        white, query = (F.normalize((layout(images) - scoring.mean) @ scoring.whiten, dim=1).numpy() for images in (known, x))

    def unit(image: NDArray[np.float32]) -> NDArray[np.float32]:
        both = [part / np.linalg.norm(part) for turn in image for part in (turn[:128], turn[128:-1])]
        return np.concatenate(both) / len(both) ** 0.5

    bank, seen = (np.stack([unit(image) for image in d.f.numpy()]) for d in (memory, described))
    around = NearestNeighbors(n_neighbors=20).fit(bank)
    own = around.kneighbors()[0].mean(1)  # of the images themselves, each without itself
    far, which = around.kneighbors(seen)
    np.testing.assert_allclose(parts[:, 0], np.log(far.mean(1) / own[which].mean(1) ** 0.5), rtol=1e-3)
    around = NearestNeighbors(n_neighbors=20).fit(white)
    own = around.kneighbors(n_neighbors=5)[0].mean(1)
    far, which = around.kneighbors(query)
    np.testing.assert_allclose(parts[:, 1], np.log(far[:, :5].mean(1) / own[which].mean(1)), rtol=1e-2, atol=1e-4)
    assert np.array_equal(parts[:, 2], -described.f[:, 0, -1].numpy())
    np.testing.assert_allclose(parts[:, 3], np.log((x - described.x_hat).abs().mean((1, 2, 3)).numpy()), rtol=1e-4)


@pytest.mark.parametrize("images", [500, 8])  # more than there are dimensions, and fewer
def test_whitened_directions_have_the_variance_one_but_for_the_ridge(images: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(images, 12) @ torch.randn(12, 12)
    centred = x - x.mean(0)
    covariance = centred.T @ centred / len(x)
    greatest = torch.linalg.eigvalsh(covariance)[-5:]
    whitened = whitening(centred, 5).T @ covariance @ whitening(centred, 5)
    expected = greatest / (greatest + RIDGE * greatest.mean())
    assert torch.allclose(whitened, torch.diag(expected), atol=1e-4)
    assert whitening(centred[:3], 5).shape == (12, 2) and bool(torch.isfinite(whitening(torch.zeros(4, 12), 5)).all())


def test_layouts_tell_where_detail_is() -> None:
    flat = torch.zeros(1, 1, 32, 32)
    busy = flat.clone()
    busy[..., :16, :16] = torch.randn(16, 16, generator=torch.Generator().manual_seed(0)) * 0.5
    grid = (layout(busy) - layout(flat)).view(10, 8, 8)
    assert grid[0, :3, :3].min() > 2.0 and grid[0, 6:, 6:].abs().max() < 1e-3
    assert layout(torch.zeros(2, 3, 33, 20)).shape == (2, 30 * 8 * 10)


def test_a_contrastive_loss_is_the_softmax_at_the_other_view() -> None:
    torch.manual_seed(0)
    z, others = torch.randn(6, 5), torch.randn(3, 5)
    everything = F.normalize(torch.cat((z, others)), dim=1)
    losses = []
    for i, same in enumerate((3, 4, 5, 0, 1, 2)):
        logits = everything @ everything[i] / TEMPERATURE
        kept = [j for j in range(9) if j != i]
        losses.append(-F.log_softmax(logits[kept], 0)[kept.index(same)])
    found = contrastive_loss(z, torch.tensor([0, 1, 2, 0, 1, 2]), others)
    assert torch.allclose(found, torch.stack(losses).mean(), rtol=1e-5)
    assert float(contrastive_loss(z[:3].repeat(2, 1), torch.tensor([0, 1, 2, 0, 1, 2]), others)) < float(found)
    for precision in (torch.float16, torch.bfloat16):
        with torch.autocast("cpu", precision):
            low = contrastive_loss(z, torch.tensor([0, 1, 2, 0, 1, 2]), others)
        assert torch.allclose(low, found, rtol=0.02)


@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
def test_turns_and_views(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.rand(9, 3, *size) * 2 - 1
    for quarters in range(4):
        y = turned(x, quarters)
        assert y.shape == x.shape
        if size[0] == size[1]:
            assert torch.equal(y, torch.rot90(x, quarters, (2, 3)))
    y, quarters = turned_copies(x)
    assert quarters.tolist() == [1, 2, 3] * 3 and torch.equal(y[4], turned(x[4:5], 2)[0])
    for changed in (view(x), jittered(x)):
        assert changed.shape == x.shape and bool(torch.isfinite(changed).all()) and not torch.equal(changed, x)
    assert (jittered(x) - x).abs().mean() < (view(x) - x).abs().mean()


def test_what_the_generator_sees_is_a_thumbnail() -> None:
    config = OBJECTS.networks("gannext", (32, 32), 1, {})
    generator = config.build_generator().eval()
    torch.manual_seed(0)
    x = torch.rand(2, 1, 32, 32)
    swapped = x.clone()
    swapped[:, :, 0, 0], swapped[:, :, 1, 1] = x[:, :, 1, 1], x[:, :, 0, 0]  # within one pixel of the thumbnail
    with torch.inference_mode():
        assert torch.allclose(generator(x), generator(swapped), atol=1e-5)
    assert (config.ndf, config.nz, config.discriminator) == (16, 128, "describer")
    wider = OBJECTS.networks("gannext", (32, 32), 1, {"dim": 20}, ndf=24)
    assert (wider.ndf, wider.nz, wider.generator["dim"]) == (24, 128, 20)


def test_objects_and_textures_are_told_apart_by_normal_images_alone() -> None:
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.integers(0, 256, (40, 1, 32, 32), np.uint8))
    assert kind_of(MemoryImages(noise)) == "textures"
    assert likeness(thumbnails(MemoryImages(noise[:2]))) < 0.3  # neither is compared with itself
    lit = (noise.float() * 0.5 + torch.arange(40).view(-1, 1, 1, 1) * 3).to(torch.uint8)  # another light in every image
    assert kind_of(MemoryImages(lit)) == "textures"
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    angles = torch.from_numpy(rng.uniform(0, 2 * np.pi, (40, 1, 1, 1))).float()
    from_one_side = 128 + 12 * (rows * angles.sin() + columns * angles.cos()) + 0.1 * (noise.float() - 128)
    assert kind_of(MemoryImages(from_one_side.to(torch.uint8))) == "textures"
    bordered = MemoryImages((from_one_side + 15 * (columns > 0.7)).to(torch.uint8))  # the same in every image
    assert agreement(thumbnails(bordered)) > LEAST_AGREEMENT and kind_of(bordered) == "textures"
    assert kind_of(load_split(DataConfig("digits", channels=1)).train) == "objects"


def cuttings(count: int) -> NDArray[np.uint8]:
    """Patches (N, 64, 64) from anywhere in one great surface of soft blotches, whose layout differs from patch to patch."""
    rng = np.random.default_rng(0)
    whole = gaussian_filter(rng.normal(size=(600, 600)), 8, mode="wrap")
    grey = np.clip(128 + 50 * whole / whole.std() + rng.normal(0, 3, whole.shape), 0, 255).astype(np.uint8)
    return np.stack([grey[row : row + 64, column : column + 64] for row, column in rng.integers(0, 536, (count, 2))])


def test_what_goes_on_beyond_the_image_is_a_surface_however_its_layout_differs(gannext: Command, tmp_path: Path) -> None:
    patches = cuttings(100)
    images = MemoryImages(torch.from_numpy(patches)[:, None])
    assert layout_share(thumbnails(images)) > 1.5 * LEAST_SHARE and abs(agreement(thumbnails(images))) < LEAST_AGREEMENT / 2
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    darker_corners = patches * (1 - 0.3 * (rows**2 + columns**2))
    assert kind_of(MemoryImages(torch.from_numpy(darker_corners.astype(np.uint8))[:, None])) == "textures"
    places = np.random.default_rng(0).integers(0, 12, (100, 2, 1, 1))
    dots = 200 * ((np.arange(64)[:, None] + places[:, 0]) % 12 < 5) * ((np.arange(64) + places[:, 1]) % 12 < 5)
    perforated = MemoryImages(torch.from_numpy(dots.astype(np.uint8))[:, None])
    assert likeness(thumbnails(perforated)) > ONE_KIND and kind_of(perforated) == "textures"
    for number, patch in enumerate(patches):
        place = tmp_path / "scans" / "train" / "good" / f"{number:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(patch).save(place)
    outcome = gannext("train", "--data-root", tmp_path / "scans", "--budget", "1e9", "--device", "cpu", "--output", tmp_path)
    assert outcome.code == 0 and "by the robust-textures recipe" in outcome.out
    assert "seem to show a surface; looked for: spots and scratches" in outcome.out
    assert "For another kind of thing, pass --recipe robust-objects" in outcome.out


def test_where_a_class_is_left_out_another_kind_of_thing_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though images of a single grey each, as this copy of CIFAR10 has them, show no layout."""
    write_cifar10(tmp_path / "data", monkeypatch)
    options = ["--dataset", "cifar10", "--data-root", tmp_path / "data", "--budget", "1e9", "--device", "cpu"]
    assert main([str(a) for a in ["train", *options, "--output", tmp_path]]) == 0
    out = capsys.readouterr().out
    assert "by the robust-objects recipe" in out and "seem to show" not in out


@pytest.mark.parametrize("size", [(64, 64), (48, 96)], ids=str)
def test_one_kind_of_part_at_any_angle_is_no_set_of_objects(size: tuple[int, int]) -> None:
    """Its images differ in their layout as much as those of different things do, and are inspected for defects all the same."""
    height, width = size
    rng = np.random.default_rng(0)
    turned, mixed = [], []
    for number, (angle, down, right) in enumerate(rng.uniform((0, -3, -3), (2 * np.pi, 3, 3), (60, 3))):
        rows, columns = np.mgrid[:height, :width] - np.array([height / 2 + down, width / 2 + right])[:, None, None]
        along, across = columns * np.cos(angle) + rows * np.sin(angle), rows * np.cos(angle) - columns * np.sin(angle)
        disk = np.hypot(along, across) < 22
        half, corner, bar = disk & (along > 0), disk & (along > 0) & (across > 0), disk & (abs(across) < 6)
        noise = rng.normal(40, 4, size)
        turned.append(noise + 150 * half)
        mixed.append(noise + 150 * (half, corner, bar, half ^ corner ^ bar)[number % 4])
    as_images = [MemoryImages(torch.from_numpy(np.clip(a, 0, 255).astype(np.uint8))[:, None]) for a in (turned, mixed)]
    assert min(layout_share(thumbnails(images)) for images in as_images) > LEAST_SHARE
    assert [kind_of(images) for images in as_images] == ["parts", "objects"]
    assert likeness(thumbnails(as_images[0])) > 0.6  # turned in pixels, whatever the image's shape


def test_distances_are_euclidean() -> None:
    torch.manual_seed(0)
    a, b = F.normalize(torch.randn(4, 8), dim=1), F.normalize(torch.randn(9, 8), dim=1)
    found, which = distances(a, b, 3)
    expected = torch.cdist(a, b).topk(3, largest=False)
    assert torch.allclose(found, expected[0], atol=1e-5) and torch.equal(which, expected[1])
    f = torch.randn(4, 4, 8 + PROJECTED + 1)
    assert torch.allclose(side_by_side(f).square().sum(1), torch.ones(4))


def test_few_images_and_other_models_are_told_so(gannext: Command, tmp_path: Path) -> None:
    write_pictures(tmp_path / "few" / "train" / "good", 30)
    few = ("--data-root", tmp_path / "few", "--device", "cpu", "--output", tmp_path)
    assert gannext("train", *few, "--recipe", "robust-objects", "--budget", "1e9").code == 0  # a smaller batch will do
    outcome = gannext("train", *few, "--recipe", "robust", "--model", "ganomaly")
    assert outcome.code == 2 and "made for gannext, not ganomaly: pass --recipe published" in outcome.err
    outcome = gannext("train", *few, "--recipe", "robuts")
    assert outcome.code == 2 and "did you mean 'robust'" in outcome.err
    outcome = gannext("train", *few, "--recipe", "robust-objects", "--protocol", "published")
    assert outcome.code == 2 and "only when training is over: pass --recipe published" in outcome.err
    batches = [torch.zeros(1, 1, 32, 32, dtype=torch.uint8)]
    networks = NetworkConfig("gannext", (32, 32), 1, OBJECTS.generator, 16, 128, "describer")
    pair = networks.build_generator().eval(), networks.build_discriminator().eval()
    with pytest.raises(ValueError, match="too few to compare"):
        NeighbourScoring.fit(Neighbours(), *pair, batches, batches)


def test_restorations_repel(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, torch.Tensor] = {}

    def recorded(z: torch.Tensor, identities: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        seen.update(z=z, identities=identities, others=others)
        return contrastive_loss(z, identities, others)

    monkeypatch.setattr("gannext.training.objective.contrastive_loss", recorded)
    recipe = RECIPES["robust-objects"]
    networks = recipe.networks("gannext", (32, 32), 1, {})
    generator, discriminator = networks.build_generator().eval(), networks.build_discriminator().eval()
    grey = torch.zeros(6, 1, 32, 32)
    describer_losses(recipe, generator, discriminator, grey)
    assert seen["z"].shape[0] == 24 and seen["identities"].unique(return_counts=True)[1].tolist() == [2] * 12
    restored = discriminator.project(discriminator.features(generator(jittered(grey))))  # type: ignore[operator]
    assert seen["others"].shape == (6, 64) and torch.allclose(seen["others"][0], restored[0], atol=0.2)
