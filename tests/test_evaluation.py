"""The honest protocol, the published one, and the metrics."""

import copy
import json
import shutil
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score, roc_curve

from conftest import Command, write_pictures
from gannext import Detector
from gannext.cli.evaluate import print_protocols
from gannext.data import DataConfig, Split, load_split, make_loader
from gannext.detection import normalise, score_batches
from gannext.evaluation import (
    BestEpochOnTest,
    auroc,
    batch_statistics,
    evaluate,
    measure,
    protocols,
    published_auroc,
    published_scores,
)
from gannext.runtime import InputError


@pytest.fixture(scope="module")
def split(parts: Path) -> Split:
    return load_split(DataConfig("parts", parts))


def test_metrics_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(400) < 0.3
    scores = np.round(rng.normal(size=400) + labels, 1) * 1e-3 + 50  # ties, and values that a float32 sigmoid would merge
    metrics = measure(scores, torch.from_numpy(labels), threshold=50.001)
    fpr, tpr, _ = roc_curve(labels, scores)
    assert metrics.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert metrics.average_precision == pytest.approx(average_precision_score(labels, scores), abs=1e-6)
    assert metrics.f1 == pytest.approx(f1_score(labels, scores > 50.001), abs=1e-6)
    assert metrics.tpr == pytest.approx(((scores > 50.001) & labels).sum() / labels.sum())
    assert metrics.fpr == pytest.approx(((scores > 50.001) & ~labels).sum() / (~labels).sum())
    nearest = np.abs(fpr - (1 - tpr)).argmin()
    assert metrics.eer == pytest.approx((fpr[nearest] + 1 - tpr[nearest]) / 2, abs=1e-6)


@pytest.mark.parametrize("labels", [[False] * 4, [True] * 4])
def test_a_missing_class_is_a_sentence_and_no_nan(labels: list[bool]) -> None:
    with pytest.raises(InputError, match="no accuracy to measure"):
        auroc(np.arange(4.0), torch.tensor(labels))


def test_batches_in_any_order_give_the_same_scores(detector_file: Path, split: Split) -> None:
    detector = Detector.load(detector_file)
    scores = detector.score_batches(make_loader(split.test, 30))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0)).tolist()
    shuffled = detector.score_batches(make_loader(split.test.subset(order), 7))
    assert np.abs(shuffled - scores[order]).max() < 1e-6


def test_the_published_procedure_depends_on_the_order_and_leaves_the_weights_alone(detector_file: Path, split: Split) -> None:
    detector = Detector.load(detector_file)
    networks = detector.generator, detector.discriminator
    before = [{k: v.clone() for k, v in n.state_dict().items()} for n in networks]
    scores, labels = published_scores(*networks, detector.scoring, split)
    assert scores.min() == 0 and scores.max() == 1 and len(labels) == 30
    with batch_statistics(*networks):
        alone, together = (score_batches(*networks, detector.scoring, make_loader(split.test, n)) for n in (5, 30))
    assert np.abs(alone - together).max() > 1e-6
    for network, state in zip(networks, before, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
        assert not any(m.training for m in network.modules())


def test_the_published_procedure_tests_on_the_abnormal_training_images_too() -> None:
    split = load_split(DataConfig("digits", test_images=30))
    networks = untrained_detector()
    _, labels = published_scores(networks.generator, networks.discriminator, networks.scoring, split)
    assert len(labels) == 60 + len(split.abnormal_train) and int(labels.sum()) == 30 + len(split.abnormal_train)


def untrained_detector() -> Detector:
    from gannext.detection import Scoring
    from gannext.networks import NetworkConfig
    from gannext.runtime import Calibration

    config = NetworkConfig(generator={"dim": 4, "depths": (1,), "bottom": 1}, ndf=8, nz=10)
    return Detector(config, config.build_generator(), config.build_discriminator(), Scoring(), Calibration((0.0,)))


def test_the_threshold_comes_from_held_out_images_alone(detector_file: Path, split: Split) -> None:
    detector = Detector.load(detector_file)
    held_out = detector.score_batches(make_loader(split.held_out, 16))
    assert np.allclose(sorted(held_out), detector.calibration.scores, atol=1e-6)
    assert evaluate(detector, split).threshold == detector.calibration.threshold


def test_evaluate_prints_both_protocols_and_says_why_they_differ(detector_file: Path, gannext: Command, tmp_path: Path) -> None:
    outcome = gannext("evaluate", detector_file, "--protocol", "published", "--output", tmp_path / "e.json")
    assert outcome.code == 0
    assert "They differ because" in outcome.out and "picks its epoch" not in outcome.out  # these are the last one's weights
    written = json.loads((tmp_path / "e.json").read_text())
    assert 0 <= written["honest"]["auroc"] <= 1 and 0 <= written["published"]["last_epoch"] <= 1
    assert "best" not in written["published"]


def test_protocols_that_agree_are_not_said_to_differ(capsys: pytest.CaptureFixture[str]) -> None:
    for best, words in ((0.7001, False), (0.8, True)):
        print_protocols(0.7, {"last_epoch": 0.7002, "best": best, "epoch": 3})
        out = capsys.readouterr().out
        assert ("picks its epoch on the test set" in out) is words and "statistics" not in out


def test_kinds_and_sizes_of_defects_are_measured_apart(
    detector_file: Path, parts: Path, gannext: Command, tmp_path: Path
) -> None:
    """Spots, and pictures without any that are called defects and marked larger; likewise from each picture's own score."""
    root = tmp_path / "line"
    write_pictures(root / "test" / "good", 20, first=1000)
    write_pictures(root / "test" / "spot", 9, first=2000, spot=True)
    write_pictures(root / "test" / "nothing", 9, first=3000)
    for kind, side in (("spot", 8), ("nothing", 12)):
        (root / "ground_truth" / kind).mkdir(parents=True)
        for i in range(9):
            mask = np.zeros((32, 32), np.uint8)
            mask[: side + i % 3, :side] = 255
            Image.fromarray(mask).save(root / "ground_truth" / kind / f"{i:03d}.png")
    outcome = gannext("evaluate", detector_file, "--data-root", root, "--output", tmp_path / "e.json")
    assert outcome.code == 0 and outcome.err == "", outcome.err
    written = json.loads((tmp_path / "e.json").read_text())
    assert "By kind of defect" in outcome.out and "By size of defect" in outcome.out

    detector = Detector.load(detector_file)
    scores = {
        kind: [float(p.score or 0) for p in detector.predict(root / "test" / kind)] for kind in ("good", "spot", "nothing")
    }
    assert [group["name"] for group in written["kinds"]] == ["nothing", "spot"]
    for group in written["kinds"]:
        some = scores[group["name"]]
        assert group["images"] == 9
        assert group["auroc"] == pytest.approx(roc_auc_score([0] * 20 + [1] * 9, scores["good"] + some), abs=1e-6)
        assert group["tpr"] == pytest.approx(np.mean(np.array(some) > detector.calibration.threshold))
    assert written["kinds"][1]["auroc"] > written["kinds"][0]["auroc"]
    assert [group["images"] for group in written["sizes"]] == [6, 6, 6]
    assert written["sizes"][0]["name"] == f"smallest: {100 * 64 / 1024:.2g} to {100 * 72 / 1024:.2g} % of the image"
    assert "sizes" not in json.loads((detector_file.parent / "evaluation.json").read_text())


def test_evaluating_repeats_what_training_reported(trained: Path, gannext: Command, tmp_path: Path) -> None:
    assert gannext("evaluate", trained / "detector.gannext", "--output", tmp_path / "e.json").code == 0
    again, first = (json.loads(p.read_text())["honest"] for p in (tmp_path / "e.json", trained / "evaluation.json"))
    assert again == pytest.approx(first, abs=1e-6)


def test_evaluating_needs_no_training_images(detector_file: Path, parts: Path, gannext: Command, tmp_path: Path) -> None:
    shutil.copytree(parts / "test", tmp_path / "line" / "test")
    outcome = gannext("evaluate", detector_file, "--data-root", tmp_path / "line")
    assert outcome.code == 0 and "20 normal and 10 abnormal" in outcome.out, outcome.err


def test_a_detector_trained_on_normal_pictures_finds_the_spots(trained: Path) -> None:
    assert json.loads((trained / "evaluation.json").read_text())["honest"]["auroc"] > 0.9


def test_published_auroc_needs_both_classes(detector_file: Path, parts: Path) -> None:
    split = load_split(DataConfig("normal", parts / "train" / "0.normal"))
    with pytest.raises(InputError, match="no test images"):
        published_auroc(Detector.load(detector_file), split)


@pytest.mark.parametrize("shuffle", [None, 5])
def test_the_published_scores_are_those_of_a_plain_reading(
    detector_file: Path, split: Split, shuffle: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks in training mode, which see a batch of images, and then one of reconstructions."""
    monkeypatch.setattr(protocols, "PUBLISHED_BATCH", 8)
    detector = Detector.load(detector_file)
    generator, discriminator = (copy.deepcopy(n).train() for n in (detector.generator, detector.discriminator))
    order = torch.arange(30)
    if shuffle is not None:
        order = torch.randperm(30, generator=torch.Generator().manual_seed(shuffle))
    expected, labels = [], []
    for batch in (some.sort().values for some in order.split(8)):
        x = normalise(split.test.__getitems__(batch.tolist()))
        with torch.no_grad():
            x_hat = generator(x)
            f, f_hat = discriminator(x)[1], discriminator(x_hat)[1]
        expected.append(0.9 * (x - x_hat).square().mean((1, 2, 3)) + 0.1 * (f - f_hat).square().mean(1))
        labels.append(split.labels[batch])
    whole = torch.cat(expected).numpy()
    scores, found = published_scores(detector.generator, detector.discriminator, detector.scoring, split, shuffle)
    assert np.allclose(scores, (whole - whole.min()) / np.ptp(whole), atol=1e-5)
    assert torch.equal(found, torch.cat(labels))


def test_the_best_epoch_is_the_one_that_measured_best(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = iter([0.6, 0.8, 0.7])
    monkeypatch.setattr(protocols, "published_scores", lambda *_, **__: (np.zeros(1), torch.zeros(1)))
    monkeypatch.setattr(protocols, "auroc", lambda *_: next(measured))
    best, module = BestEpochOnTest(split), MagicMock()
    module.detecting_networks.return_value = None, None
    for epoch in range(3):
        best.on_train_epoch_end(MagicMock(current_epoch=epoch), module)
    assert (best.best, best.epoch) == (0.8, 2)
