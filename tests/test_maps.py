"""Anomaly maps: their units, their threshold, what `predict --maps` writes of them, and the localisation metrics."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import label, regionprops
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from conftest import Command, picture, train_small, write_pictures
from gannext import Detector
from gannext.data import DataConfig, load_split, read_mask
from gannext.evaluation import Localisation
from gannext.inspection import find_regions
from gannext.runtime import PixelCalibration
from test_detector import metadata_of, repacked


def spotted(seed: int) -> tuple[Image.Image, NDArray[np.bool_]]:
    """A picture with a spot, and its mask."""
    with_spot, without = (np.asarray(picture(seed, spot=spot)).astype(int) for spot in (True, False))
    return Image.fromarray(with_spot.astype(np.uint8)), (with_spot != without).any(-1)


@pytest.fixture(scope="module")
def detector_file(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained for longer than the other tests': what a map finds early on differs by the processor's rounding."""
    return train_small(parts, 100, tmp_path_factory.mktemp("runs")) / "detector.gannext"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test set with masks, in MVTec AD's names for the one defect and in plain names for the other."""
    root = tmp_path_factory.mktemp("line") / "line"
    write_pictures(root / "test" / "good", 12, first=1000)
    for kind, ending in (("spot", "_mask"), ("2.other", "")):
        for folder in (root / "test" / kind, root / "ground_truth" / kind):
            folder.mkdir(parents=True)
        for i in range(5):
            image, mask = spotted(2000 + i)
            image.save(root / "test" / kind / f"{i}.png")
            Image.fromarray(mask).save(root / "ground_truth" / kind / f"{i}{ending}.png")
    return root


def test_maps_have_the_image_s_own_size_and_are_higher_at_the_defect(detector_file: Path) -> None:
    detector = Detector.load(detector_file)
    image, mask = spotted(7)
    wide = image.resize((200, 120))
    small, large = detector.predict([image, wide], maps=True)
    assert small.anomaly_map is not None and large.anomaly_map is not None
    assert small.anomaly_map.shape == (32, 32) and large.anomaly_map.shape == (120, 200)
    assert small.anomaly_map.dtype == np.float32 and small.anomaly_map.min() >= 0
    assert small.anomaly_map[mask].mean() > 2 * small.anomaly_map[~mask].mean()
    wide_mask = np.asarray(Image.fromarray(mask).resize((200, 120)))
    assert large.anomaly_map[wide_mask].mean() > 1.5 * large.anomaly_map[~wide_mask].mean()
    alone = detector.predict(image, maps=True)[0].anomaly_map
    assert alone is not None and np.abs(alone - small.anomaly_map).max() < 1e-3  # the same units whatever comes along


def test_a_map_is_1_on_average_where_all_is_normal_and_its_threshold_keeps_the_rate(detector_file: Path, parts: Path) -> None:
    detector = Detector.load(detector_file)
    assert detector.anomaly_map is not None
    held_out = load_split(DataConfig("parts", parts)).held_out
    predictions = detector.predict([held_out.source(i) for i in range(len(held_out))], maps=True)
    values = np.stack([p.anomaly_map for p in predictions if p.anomaly_map is not None])
    assert values.mean() == pytest.approx(1, abs=0.02)
    for rate in (0.3, 0.05, 0.01, 0.001):
        threshold = type(detector.anomaly_map.pixels)(
            detector.anomaly_map.pixels.rates, detector.anomaly_map.pixels.thresholds, rate
        ).threshold
        assert 0.9 * rate - 1e-4 <= (values > threshold).mean() <= rate * 1.02


def test_predict_writes_pictures_and_regions(detector_file: Path, line: Path, gannext: Command, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    shutil.copytree(line / "test" / "spot", folder)
    (folder / "broken.jpg").write_bytes((folder / "0.png").read_bytes()[:300])
    outcome = gannext("predict", detector_file, folder, "--maps", tmp_path / "maps", "--pixel-fpr", 0.01)
    assert outcome.code == 1 and "1 of 6 images could not be judged" in outcome.err
    content = json.loads((tmp_path / "maps" / "regions.json").read_text())
    assert len(content["images"]) == 5 and [i["verdict"] for i in content["images"]].count("abnormal") >= 1
    threshold = content["info"]["threshold"]
    for entry in content["images"]:
        overlay, mapped = (Image.open(tmp_path / "maps" / entry[name]) for name in ("overlay", "map"))
        assert overlay.size == (entry["width"], entry["height"]) == (32, 32) and overlay.mode == "RGB"
        assert Image.open(tmp_path / "maps" / entry["reconstruction"]).size == (32, 32)
        assert mapped.mode in ("I;16", "I") and float(mapped.text["unit"]) == entry["map_unit"]  # type: ignore[attr-defined]
        values = np.asarray(mapped).astype(np.float64) * entry["map_unit"]
        mine = [a for a in content["annotations"] if a["image_id"] == entry["id"]]
        covered = np.zeros((32, 32), bool)
        for annotation in mine:
            mask = decoded(annotation["segmentation"])
            x, y, width, height = annotation["bbox"]
            rows, columns = np.nonzero(mask)
            assert (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) == (x, y, width, height)
            assert mask.sum() == annotation["area"] and values[mask].max() == pytest.approx(annotation["score"], rel=1e-3)
            covered |= mask
        assert np.abs(covered.astype(int) - (values > threshold)).sum() <= 2  # but for a rounding at the very threshold
        _, truth = spotted(2000 + int(Path(entry["file_name"]).stem))
        assert (covered & truth).sum() > 0.2 * truth.sum()

    plain = gannext("predict", detector_file, folder / "0.png", "--maps", tmp_path / "plain", "--map-format", "npy")
    assert plain.code == 0
    assert np.load(tmp_path / "plain" / "00000_0_map.npy").dtype == np.float32


def decoded(segmentation: dict[str, Any]) -> NDArray[np.bool_]:
    """COCO's uncompressed run lengths, written out plainly."""
    height, width = segmentation["size"]
    pixels: list[bool] = []
    for index, run in enumerate(segmentation["counts"]):
        pixels += [index % 2 == 1] * run
    return np.array(pixels).reshape(width, height).T


def test_regions_that_touch_at_a_corner_are_one() -> None:
    values = np.zeros((9, 7), np.float32)
    values[1, 1] = values[2, 2] = 3
    values[6:8, 4:7] = 5
    first, second = find_regions(values, 1)
    assert (first.box, first.area, first.score) == ((4, 6, 3, 2), 6, 5) and (second.box, second.area) == ((1, 1, 2, 2), 2)
    assert np.array_equal(decoded(first.as_coco((9, 7))["segmentation"]), values == 5)
    assert find_regions(values, 9) == []


def test_a_detector_of_before_maps_still_predicts_and_says_so(
    detector_file: Path, gannext: Command, parts: Path, tmp_path: Path
) -> None:
    metadata = json.loads(metadata_of(detector_file))
    for name in ("tiling", "anomaly_map"):
        del metadata[name]
    source = tmp_path / "unsigned"
    repacked(detector_file, source, metadata=json.dumps(metadata).encode())
    old = resigned(source, tmp_path / "old.gannext")
    image = parts / "test" / "1.abnormal" / "000.png"
    assert gannext("predict", old, image).out == gannext("predict", detector_file, image).out
    outcome = gannext("predict", old, image, "--maps", tmp_path / "maps")
    assert outcome.code == 2 and "knows no anomaly maps" in outcome.err and outcome.err.count("\n") == 1
    assert gannext("predict", old, image, "--report", tmp_path / "r.html").code == 0


def resigned(source: Path, target: Path) -> Path:
    """The same detector with checksums that fit."""
    import hashlib
    import zipfile

    with zipfile.ZipFile(source) as old:
        parts = {name: old.read(name) for name in ("metadata.json", "weights.safetensors")}
    sums = json.dumps({name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}).encode()
    with zipfile.ZipFile(target, "w") as new:
        for name, part in {**parts, "sha256.json": sums}.items():
            new.writestr(name, part)
    return target


def plain_aupro(maps: list[NDArray[Any]], masks: list[NDArray[np.bool_]], limit: float = 0.3) -> float:
    """The per-region overlap curve by its definition: every value a threshold, every region a loop."""
    normal = np.concatenate([m[~k] for m, k in zip(maps, masks, strict=True)])
    regions = [
        m[tuple(r.coords.T)]
        for m, k in zip(maps, masks, strict=True)
        for r in regionprops(label(k, connectivity=2))
    ]  # fmt: skip
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate(maps))[::-1]:
        overlap = float(np.mean([(values >= threshold).mean() for values in regions]))
        points.append((float((normal >= threshold).mean()), overlap))
    fpr, pro = map(np.array, zip(*points, strict=True))
    inside = fpr <= limit
    end = np.interp(limit, fpr, pro)
    return float(auc(np.append(fpr[inside], limit), np.append(pro[inside], end)) / limit)


def test_localisation_agrees_with_scikit_learn_and_scikit_image() -> None:
    rng = np.random.default_rng(0)
    maps, masks = [], []
    for i in range(6):
        mask = np.zeros((40, 50), bool)
        if i:
            mask[5 : 8 + i, 6:20] = mask[30, 40 - i] = mask[31, 41 - i] = True
        maps.append((rng.gamma(2, 0.5, mask.shape) + mask * rng.gamma(2, 0.8, mask.shape)).astype(np.float32))
        masks.append(mask)
    localisation = Localisation()
    for values, mask in zip(maps, masks, strict=True):
        localisation.add(values, mask if mask.any() else None)
    metrics = localisation.result(threshold=2.0)
    truth, values = np.concatenate(masks).ravel(), np.concatenate(maps).ravel()
    assert metrics.auroc == pytest.approx(roc_auc_score(truth, values), abs=5e-4)
    assert metrics.average_precision == pytest.approx(average_precision_score(truth, values), abs=2e-3)
    assert metrics.aupro == pytest.approx(plain_aupro(maps, masks), abs=1e-3)
    assert metrics.tpr == pytest.approx((values[truth] > 2).mean(), abs=2e-3)
    assert metrics.fpr == pytest.approx((values[~truth] > 2).mean(), abs=2e-3)
    assert metrics.regions == 10 and metrics.images == 6


def test_evaluate_measures_localisation_where_there_are_masks(
    detector_file: Path, line: Path, gannext: Command, tmp_path: Path
) -> None:
    outcome = gannext("evaluate", detector_file, "--data-root", line, "--output", tmp_path / "e.json")
    assert outcome.code == 0 and outcome.err == "", outcome.err
    assert "pixel AUROC" in outcome.out and "AUPRO" in outcome.out
    found = json.loads((tmp_path / "e.json").read_text())["localisation"]
    assert found["images"] == 22 and found["regions"] == 10 and found["auroc"] > 0.9 and found["aupro"] > 0.7
    assert "pixel AUROC" not in gannext("evaluate", detector_file).out


def test_masks_of_another_size_or_name_are_named_and_the_others_count(
    detector_file: Path, line: Path, gannext: Command, tmp_path: Path
) -> None:
    root = tmp_path / "line"
    shutil.copytree(line, root)
    masks = root / "ground_truth" / "spot"
    Image.new("L", (30, 32), 255).save(masks / "0_mask.png")
    (masks / "1_mask.png").rename(masks / "one_mask.png")
    (masks / "2_mask.png").write_bytes(b"")
    Image.new("L", (32, 32)).save(masks / "3_mask.png")
    outcome = gannext("evaluate", detector_file, "--data-root", root, "--output", tmp_path / "e.json")
    assert outcome.code == 0 and "12 normal and 10 abnormal" in outcome.out
    for words in ("32x30 pixels and its image 32x32", "1.png has no mask", "one_mask.png is the mask of no image",
                  "2_mask.png cannot be read", "3_mask.png marks no pixel"):  # fmt: skip
        assert words in outcome.err
    assert outcome.err.count("\n") == 5
    assert json.loads((tmp_path / "e.json").read_text())["localisation"]["images"] == 18


def test_a_pixel_rate_of_an_earlier_version_is_the_nearest_in_range() -> None:
    stored = {"rates": [1e-5, 0.5], "thresholds": [9.0, 1.0]}
    assert PixelCalibration.read({**stored, "fpr": 1e-7}).threshold == 9.0
    assert PixelCalibration.read({**stored, "fpr": 0.9}).threshold == 1.0


def test_masks_mark_what_is_neither_black_nor_transparent(tmp_path: Path) -> None:
    wanted = np.zeros((8, 8), bool)
    wanted[2:5, 3:6] = True
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[..., :3], clear[wanted, 3] = 255, 255  # white everywhere, and seen in the region alone
    coloured = np.zeros((8, 8, 3), np.uint8)
    coloured[wanted] = 0, 0, 2
    palette = Image.fromarray(wanted.astype(np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 1, 0, 0])
    images = {
        "clear": Image.fromarray(clear), "coloured": Image.fromarray(coloured), "palette": palette,
        "deep": Image.fromarray(wanted.astype(np.uint16)), "bits": Image.fromarray(wanted),
        "floats": Image.fromarray(np.where(wanted, np.float32(0.1), np.float32("nan"))),
    }  # fmt: skip
    for name, image in images.items():
        image.save(tmp_path / f"{name}.tif")
        assert np.array_equal(read_mask(tmp_path / f"{name}.tif", (8, 8)), wanted), name
