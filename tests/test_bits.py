"""Greys of 16-bit files that fill fewer bits, as an X-ray's twelve do, lose nothing that a file of eight would keep."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gannext as library
from conftest import SMALL, Command, picture
from gannext.runtime import InputError, decode_image, find_bits


def grey(seed: int, spot: bool = False) -> np.ndarray:
    """A picture of 8 bits, (32, 32), something in which is white."""
    values = np.asarray(picture(seed, spot).convert("L")).copy()
    values[0, 0] = 255
    return values


def deepened(values: np.ndarray) -> np.ndarray:
    """The same in 12 bits of 16, the lower four being noise."""
    return values.astype(np.uint16) * 16 + np.random.default_rng(0).integers(0, 16, values.shape).astype(np.uint16)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The same pictures in eight bits, and in twelve of sixteen, in the README's layout."""
    plain, deep = tmp_path / "plain", tmp_path / "deep"
    for place, count, first, spot in (
        ("train/good", 80, 0, False), ("test/good", 6, 1000, False), ("test/spot", 6, 2000, True),
    ):  # fmt: skip
        for root in (plain, deep):
            (root / place).mkdir(parents=True)
        for seed in range(first, first + count):
            Image.fromarray(grey(seed, spot)).save(plain / place / f"{seed}.png")
            Image.fromarray(deepened(grey(seed, spot))).save(deep / place / f"{seed}.png")
    return plain, deep


@pytest.mark.parametrize("options", [(), ("--cache", "stream"), ("--tile", 32, "--cache", "stream")], ids=str)
def test_they_are_found_and_judged_everywhere_alike(
    options: tuple[object, ...], folders: tuple[Path, Path], gannext: Command, tmp_path: Path
) -> None:
    scores, said = [], []
    for root in folders:
        runs = tmp_path / f"runs-{root.name}"
        done = gannext("train", "--data-root", root, "--epochs", 1, "--batch-size", 16, "--channels", 1, "--workers", 0,
                       "--output", runs, *SMALL, *options)  # fmt: skip
        assert done.code == 0, done.err
        said.append("12 bits count: 4095 and more are white" in done.out)
        file = next(runs.rglob("detector.gannext"))
        judged = library.load(file).predict(root / "test")
        scores.append([p.score for p in judged])
        measured = gannext("evaluate", file, "--report", tmp_path / "report.html")
        assert measured.code == 0 and "left out" not in measured.err
    assert said == [False, True] and scores[0] == scores[1]
    if not options:
        exported = tmp_path / "deep.onnx"
        assert gannext("export", file, "-o", exported).code == 0
        again = [p.score for p in library.load(exported).predict(folders[1] / "test")]
        assert again == pytest.approx(scores[1], rel=1e-4)


def test_arrays_and_pictures_are_told_how_deep_they_are() -> None:
    images = [grey(seed) for seed in range(60)]
    options = {"image_size": 32, "channels": 1, "recipe": "published", "epochs": 1, "batch_size": 16, "device": "cpu"}
    plain = library.train(images, **options)
    deep = library.train([Image.fromarray(deepened(image)) for image in images], bits=12, **options)
    tests = [grey(seed, spot=True) for seed in range(3)]
    assert [p.score for p in plain.predict(tests)] == [p.score for p in deep.predict([deepened(t) for t in tests])]
    with pytest.raises(InputError, match="give 8 to 16"):
        library.train(images, bits=17, **options)


@pytest.mark.parametrize(("highest", "bits"), [(200, 8), (1000, 10), (4095, 12), (4096, 14), (20_000, 16), (65_535, 16)])
def test_how_many_bits_are_filled(highest: int, bits: int, tmp_path: Path) -> None:
    values = np.zeros((8, 8), np.uint16)
    Image.fromarray(values).save(tmp_path / "dark.png")
    (tmp_path / "damaged.png").write_bytes((tmp_path / "dark.png").read_bytes()[:60])
    values[4, 4] = highest
    for suffix in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"bright.{suffix}")
        assert find_bits([*sorted(tmp_path.glob("*.png")), tmp_path / f"bright.{suffix}"]) == bits
        assert decode_image(tmp_path / f"bright.{suffix}", 1, bits).max() == min(highest >> (bits - 8), 255)
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "plain.png")
    assert find_bits([tmp_path / "plain.png"]) is None and find_bits([]) is None


def test_bits_of_what_has_none_are_refused(gannext: Command) -> None:
    for options, reason in ((("--bits", 12), "leave --bits out"), (("--bits", 20), "8 to 16")):
        done = gannext("train", "--dataset", "digits", *options)
        assert done.code == 2 and reason in done.err
