"""The conformal guarantee, what threshold and p-value have to do with each other, and `gannext calibrate`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

import gannext as package
from conftest import Command, picture, write_pictures
from gannext.cli.reporting import data_config
from gannext.data import load_split
from gannext.runtime import Calibration, InputError, PixelCalibration


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("count", [19, 50, 400])
def test_false_alarms_stay_at_the_rate_over_many_splits(fpr: float, count: int) -> None:
    """Over 3,000 random splits of skewed scores with ties, the mean false-positive rate is at most the promised one."""
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(3000):
        scores = np.round(rng.lognormal(size=count + 40), 2)
        calibration = Calibration(tuple(scores[:count]), fpr)
        rates.append(calibration.is_abnormal(scores[count:]).mean())
    promised = Calibration(tuple(range(count)), fpr).effective_fpr
    noise = 4 * np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) <= promised + noise
    assert np.mean(rates) >= 0.5 * promised - 1 / (count + 1)  # and the threshold is no more cautious than it must be


def test_verdict_and_p_value_agree() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        held_out = np.round(rng.normal(size=rng.integers(5, 60)), 1)
        calibration = Calibration(tuple(held_out), float(rng.uniform(0.02, 0.6)))
        scores = np.concatenate((held_out, np.round(rng.normal(size=50), 1)))
        by_p = calibration.p_values(scores) <= calibration.effective_fpr + 1e-12
        assert np.array_equal(by_p, calibration.is_abnormal(scores))


def test_p_value_is_the_formula() -> None:
    calibration = Calibration((1.0, 2.0, 2.0, 5.0))
    assert calibration.p_values([0, 2, 3, 5, 6]) == pytest.approx([5 / 5, 4 / 5, 2 / 5, 2 / 5, 1 / 5])


def test_too_few_held_out_images_are_said_so() -> None:
    calibration = Calibration(tuple(range(10)), 0.05)
    assert "19" in str(calibration.shortfall) and calibration.effective_fpr == pytest.approx(1 / 11)
    assert Calibration(tuple(range(19)), 0.05).shortfall is None


@pytest.mark.parametrize(("scores", "fpr"), [((), 0.05), ((1.0, float("nan")), 0.05), ((1.0,), 0.0), ((1.0,), 1.0)])
def test_impossible_calibrations_are_refused(scores: tuple[float, ...], fpr: float) -> None:
    with pytest.raises(InputError):
        Calibration(scores, fpr)


@pytest.fixture
def today(tmp_path: Path) -> Path:
    """Good pictures from a new lamp, and one that is none."""
    folder = tmp_path / "today"
    folder.mkdir()
    for number in range(40):
        ImageEnhance.Brightness(picture(3000 + number)).enhance(1.5).save(folder / f"{number:02d}.png")
    (folder / "broken.png").write_bytes(b"broken")
    return folder


def test_good_pictures_of_today_set_the_threshold_anew(
    detector_file: Path, today: Path, gannext: Command, tmp_path: Path
) -> None:
    before = detector_file.read_bytes()
    alarms = gannext("predict", detector_file, today, "--format", "csv").out.count("abnormal")
    done = gannext("calibrate", detector_file, today, "--fpr", 0.1, "-o", tmp_path / "new.gannext")
    assert done.code == 0 and "broken.png" in done.err and f"which {alarms} of them exceed" in done.out
    verdicts = gannext("predict", tmp_path / "new.gannext", today, "--format", "csv").out
    assert alarms > 20 and verdicts.count("abnormal") == 3  # 4 of 41 are a tenth: three of these, and the next one
    assert detector_file.read_bytes() == before
    new = package.load(tmp_path / "new.gannext")
    assert new.calibration.fpr == 0.1 and new.provenance["calibrated"]["images"] == 40
    assert package.load(detector_file).provenance.items() <= new.provenance.items()


@pytest.mark.parametrize("tiles", [(), ("--tile", "32")])
def test_a_training_names_the_pictures_that_set_its_threshold(tiles: tuple[str, ...], gannext: Command, tmp_path: Path) -> None:
    for part, count, first in (("train", 40, 0), ("validation", 6, 100)):
        folder = tmp_path / "parts" / part / "good"
        folder.mkdir(parents=True)
        for number in range(count):
            picture(first + number, side=48).save(folder / f"{number:02d}.png")
    Image.new("RGB", (48, 48), "white").save(folder / "03 not\ngood.png")
    options = ("--data-root", tmp_path / "parts", "--recipe", "published", "--dim", "4", "--batch-size", "8", "--budget", "1e9")
    done = gannext("train", *options, *tiles, "--device", "cpu", "--output", tmp_path)
    before, _, named = done.out.partition("highest, so look whether they are good:\n")
    assert done.code == 0 and before.endswith("Calibrated on 7 normal images:\n  ")
    first, *others = (line.strip() for line in named.splitlines()[:3])
    detector = package.load(next(tmp_path.glob("gannext/parts/*/detector.gannext")))
    assert first == f"{folder / '03 not'}\\ngood.png  {detector.calibration.scores[-1]:.5g}"
    assert [float(line.split()[-1]) for line in others] == pytest.approx(detector.calibration.scores[-2:-4:-1], rel=1e-4)
    assert all(Path(line.rsplit(maxsplit=1)[0]).exists() for line in others)


def test_the_same_pictures_give_the_same_calibration(detector_file: Path) -> None:
    """Whether a detector is calibrated by its training or afterwards."""
    trained, again = package.Detector.load(detector_file), package.Detector.load(detector_file)
    again.calibration, again.pixel_calibration = Calibration((0.0,)), PixelCalibration((0.5,), (0.0,))
    held_out = load_split(data_config(trained, trained.provenance["data"])).held_out
    again.calibrate([held_out.source(i) for i in range(len(held_out))])
    assert again.calibration.scores == pytest.approx(trained.calibration.scores, rel=1e-5)
    assert trained.pixel_calibration and again.pixel_calibration
    assert again.pixel_calibration.thresholds == pytest.approx(trained.pixel_calibration.thresholds, rel=1e-3)


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("ending", ["onnx", "xml"])
def test_an_exported_file_is_calibrated_as_its_detector(
    ending: str, detector_file: Path, today: Path, gannext: Command, tmp_path: Path
) -> None:
    part = tmp_path / f"part.{ending}"
    assert gannext("export", detector_file, "-o", part).code == 0
    new = tmp_path / f"new.{ending}"
    for source in (detector_file, part, new):  # the last time over the file itself
        options = (today, "--pixel-fpr", 0.002, "-o", tmp_path / f"new{source.suffix}")
        outcome = gannext("calibrate", source, *options)
        assert outcome.code == 0, outcome.err
    expected, found = package.load(tmp_path / "new.gannext"), package.load(new)
    assert found.calibration.scores == pytest.approx(expected.calibration.scores, rel=1e-4)
    assert expected.pixel_calibration and found.pixel_calibration and found.pixel_calibration.fpr == 0.002
    assert found.pixel_calibration.threshold == pytest.approx(expected.pixel_calibration.threshold, rel=1e-3)
    verdicts = [gannext("predict", tmp_path / f"new.{kind}", today).out.count("abnormal") for kind in ("gannext", ending)]
    assert verdicts[0] == verdicts[1]


def test_what_nothing_can_be_calibrated_on_is_a_sentence(
    detector_file: Path, parts: Path, today: Path, gannext: Command, tmp_path: Path
) -> None:
    for arguments, words in (
        ((today / "broken.png",), "no image could be judged"),
        ((today, "-o", tmp_path / "x.onnx"), "end it in .gannext"),
        ((tmp_path / "none",), "does not exist"),
        ((today, "--fpr", 2), "out of range"),
    ):
        outcome = gannext("calibrate", detector_file, *arguments)
        assert outcome.code == 2 and words in outcome.err and outcome.err.count("\n") == 1, outcome.err
    assert sorted(detector_file.parent.glob("*.calibrated*")) == []
    write_pictures(tmp_path / "few", 5)
    known = gannext("calibrate", detector_file, parts / "train" / "0.normal", "-o", tmp_path / "known.gannext")
    few = gannext("calibrate", detector_file, tmp_path / "few", "-o", tmp_path / "few.gannext")
    assert "lie where it was trained" in known.err and "takes 19" in few.err and "trained" not in few.err
