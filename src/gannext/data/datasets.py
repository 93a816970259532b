"""The labelled data sets: torchvision's, and scikit-learn's digits, which need no download."""

import gzip
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gannext.runtime import InputError, write_atomically

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist


@dataclass(frozen=True)
class Labelled:
    """One split of a data set: bytes (N, h, w) or (N, h, w, C), and class indices (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class LabelledDataset:
    """A data set's classes, in the order of their indices; `load(root)`, which gives its train and test split; and the
    channels of its images, 1 for grey and 3 for colour."""

    classes: tuple[str, ...]
    load: Callable[[Path], tuple[Labelled, Labelled]]
    channels: int


def load_digits(root: Path) -> tuple[Labelled, Labelled]:
    """scikit-learn's 1,797 scans of 8x8 pixels; they come with the package, and `root` is not looked at.

    They have no split of their own: a third of each class is the test set, always the same third,
    so that runs of different seeds compare.
    """
    from sklearn.datasets import load_digits as load
    from sklearn.model_selection import train_test_split

    images, labels = load(return_X_y=True)
    images = np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    train, test, train_labels, test_labels = train_test_split(
        images, labels.astype(np.int64), test_size=1 / 3, stratify=labels, random_state=0
    )
    return Labelled(train, train_labels), Labelled(test, test_labels)


def torchvision_loader(
    name: str, folder: str, files: str, splits: tuple[dict[str, Any], dict[str, Any]]
) -> Callable[[Path], tuple[Labelled, Labelled]]:
    """Loads a torchvision data set, downloading it into `root` where it is not there yet.

    Args:
        name: torchvision's class.
        folder: where under `root` its downloaded files lie.
        files: those files, for the sentence that asks a user without network to fetch them.
        splits: the arguments that choose the training and the test split.
    """

    def load(root: Path) -> tuple[Labelled, Labelled]:
        import torchvision.datasets

        place = root / folder
        if name == "FashionMNIST":
            unpack_debian(place)
        try:
            train, test = (getattr(torchvision.datasets, name)(str(root), download=True, **s) for s in splits)
        except (OSError, RuntimeError, EOFError) as error:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise InputError(
                f"{name} is not complete in {place} and could not be downloaded ({reason}): "
                f"fetch {files} by hand and put it into {place}"
            ) from None
        return to_labelled(train), to_labelled(test)

    return load


def unpack_debian(place: Path) -> None:
    """Unpacks Debian's copies of the Fashion-MNIST files, where there are some; torchvision takes packed ones for damaged.

    A file that is there is whole: processes that come here at the same time do not get in one another's way.
    """
    for packed in DEBIAN_FASHION_MNIST.glob("*.gz"):
        if not (place / packed.stem).exists():
            write_atomically(place / packed.stem, partial(_unpack, packed))


def _unpack(packed: Path, file: IO[bytes]) -> None:
    with gzip.open(packed) as source:
        shutil.copyfileobj(source, file)


def to_labelled(part: Any) -> Labelled:
    """A torchvision data set that holds its images in `data`, as arrays."""
    images = np.asarray(part.data)
    if images.ndim == 4 and images.shape[1] == 3:  # STL10 keeps its colours first
        images = images.transpose(0, 2, 3, 1)
    labels = part.targets if hasattr(part, "targets") else part.labels
    return Labelled(images, np.asarray(labels, dtype=np.int64))


TRAIN_TEST = ({"train": True}, {"train": False})
IDX_FILES = "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz (four files)"

DATASETS: dict[str, LabelledDataset] = {
    "digits": LabelledDataset(tuple("0123456789"), load_digits, 1),
    "mnist": LabelledDataset(tuple("0123456789"), torchvision_loader("MNIST", "MNIST/raw", IDX_FILES, TRAIN_TEST), 1),
    "fashion_mnist": LabelledDataset(
        ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"),
        torchvision_loader("FashionMNIST", "FashionMNIST/raw", IDX_FILES, TRAIN_TEST),
        1,
    ),
    "cifar10": LabelledDataset(
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        torchvision_loader("CIFAR10", ".", "cifar-10-python.tar.gz", TRAIN_TEST),
        3,
    ),
    "stl10": LabelledDataset(
        ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
        torchvision_loader("STL10", ".", "stl10_binary.tar.gz", ({"split": "train"}, {"split": "test"})),
        3,
    ),
}
