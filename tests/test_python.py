"""Training in Python: `gannext.train`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gannext as package
from conftest import Command, picture, write_pictures
from gannext.runtime import InputError

BRIEF: dict[str, Any] = {"image_size": 32, "budget": 2e10, "device": "cpu"}  # a few steps


def test_training_in_python_is_the_command_lines(parts: Path, gannext: Command, tmp_path: Path) -> None:
    """A folder, its pictures as one array, and the command line give detectors of the same scores, which evaluate alike."""
    outcome = gannext("train", "--data-root", parts, "--budget", BRIEF["budget"], "--device", "cpu", "--output", tmp_path)
    assert outcome.code == 0, outcome.err
    of_command = package.load(next(tmp_path.rglob("detector.gannext")))
    files = sorted((parts / "train" / "0.normal").iterdir())
    array = np.stack([np.asarray(Image.open(file)) for file in files])
    kept = tmp_path / "kept"
    of_folder = package.train(parts, **BRIEF, output=kept)
    of_array = package.train(array, **BRIEF)
    pictures = [*files[:2], *(parts / "test" / "1.abnormal").iterdir()]
    scores = [p.score for p in of_command.predict(pictures)]
    assert len(set(scores)) == len(scores)
    assert [p.score for p in package.load(kept / "detector.gannext").predict(pictures)] == scores
    for detector in (of_folder, of_array):  # not saved, their weights lie in memory as training left them: other rounding
        assert [p.score for p in detector.predict(pictures)] == pytest.approx(scores, rel=1e-5, abs=1e-5)

    of_array.save(tmp_path / "array.gannext")
    outcome = gannext("evaluate", tmp_path / "array.gannext")
    assert outcome.code == 2 and "does not say what data" in outcome.err
    outcome = gannext("export", tmp_path / "array.gannext", "-o", tmp_path / "a.onnx", "--precision", "fp16")
    assert outcome.code == 2 and outcome.err.count("\n") == 1 and "--images" in outcome.err, outcome.err
    first = gannext("evaluate", kept / "detector.gannext").out
    second = gannext("evaluate", tmp_path / "array.gannext", "--data-root", parts).out
    assert "20 normal and 10 abnormal" in first and first == second


@pytest.mark.parametrize("given", ["folder", "paths", "pictures", "arrays", "tensors"])
def test_the_images_choose_the_size(given: str, tmp_path: Path) -> None:
    pictures = [picture(seed, side=32).resize((100, 60)) for seed in range(8)]
    for number, image in enumerate(pictures):
        image.save(tmp_path / f"{number}.png")
    arrays = [np.asarray(image) for image in pictures]
    images: dict[str, Any] = {
        "folder": tmp_path,
        "paths": sorted(tmp_path.iterdir()),
        "pictures": pictures,
        "arrays": arrays,
        "tensors": torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2),
    }
    detector = package.train(images[given], recipe="robust-textures", budget=1e8, device="cpu")
    assert detector.config.size == (64, 96)
    detector = package.train(images[given], recipe="published", batch_size=4, epochs=1, device="cpu")
    assert detector.config.size == (32, 32)


def test_bad_images_are_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, 4)
    (tmp_path / "003.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"003\.png"):
        package.train(sorted(tmp_path.iterdir()), **BRIEF)
    with pytest.warns(UserWarning, match=r"left out: 1, .*003\.png"), pytest.raises(InputError, match="too few"):
        package.train(tmp_path, recipe="robust-objects", **BRIEF)
    with pytest.raises(InputError, match="1 normal training image is too few"):
        package.train(np.zeros((1, 8, 8, 1), np.uint8), **BRIEF)
    with pytest.raises(InputError, match="0 normal training images are too few"):
        package.train([])
    with pytest.raises(InputError, match="a side of 7 pixels is out of range"):
        package.train(tmp_path, image_size=7)
    with pytest.raises(InputError, match="2 channels"):
        package.train(tmp_path, image_size=32, channels=2)
    with pytest.raises(InputError, match="not a folder"):
        package.train(tmp_path / "nowhere", **BRIEF)
    with pytest.raises(InputError, match="recipe"):
        package.train(np.zeros((9, 8, 8, 1), np.uint8), recipe="robus", **BRIEF)


def test_the_published_recipe_in_python_takes_the_batch_it_is_given() -> None:
    pictures = [np.asarray(picture(seed)) for seed in range(40)]
    options: dict[str, Any] = {"recipe": "published", "image_size": 32, "epochs": 1, "device": "cpu"}
    with pytest.raises(InputError, match="20 images to train on are fewer than a batch of 128"):
        package.train(pictures, **options)
    detector = package.train(pictures, **options, batch_size=16)
    assert detector.provenance["steps"] == 1 and detector.provenance["recipe"]["batch_size"] == 16


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"epochs": 0},
        {"budget": -1.0},
        {"fpr": 3},
        {"pixel_fpr": 2},
        {"image_size": (32, 32, 3)},
        {"seed": -1},
    ],
    ids=str,
)
def test_what_is_impossible_is_refused_before_it_trains(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"impossible|out of range|height and width"):
        package.train(np.zeros((9, 8, 8, 1), np.uint8), **{"image_size": 32, "device": "cpu", **options})
    assert capsys.readouterr().out == ""
