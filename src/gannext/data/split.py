"""The split of a data set into what is trained on, what calibrates, and what is tested."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gannext.data.copies import contents, originals
from gannext.data.datasets import DATASETS
from gannext.data.folders import ImageFolder, check_is_folder, scan_folder, subfolders
from gannext.data.images import Cache, Images, from_arrays, read_files
from gannext.data.masks import find_masks
from gannext.data.tiles import read_pictures
from gannext.runtime import BITS, InputError, find_bits, unknown

HELD_OUT_SHARE = 0.1
HELD_OUT_LEAST = 50


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are split.

    Attributes:
        dataset: a name in DATASETS, or a folder's: `./data/<dataset>` unless `root` says otherwise.
        root: where torchvision's files lie or go (`./data` by default), or the image folder itself.
        abnormal_class: of a labelled data set, the class left out of training, by name or index;
            by default the first.
        size: height and width that images are resized to.
        channels: 3 for RGB, 1 for grey.
        train_images: train on at most so many, chosen by the seed.
        test_images: test on at most so many normal and so many abnormal ones, chosen by the seed; the
            published protocol's abnormal images of the training split fill up the latter.
        seed: chooses the held-out images.
        cache: see `read_files`.
        tile: of a folder, the side of the tiles that pictures are cut into rather than resized as a whole.
        bits: of a folder, how many bits the greys of 16-bit images have; None for what the training images reach.
    """

    dataset: str = "digits"
    root: Path | None = None
    abnormal_class: str | None = None
    size: tuple[int, int] = (32, 32)
    channels: int = 3
    train_images: int | None = None
    test_images: int | None = None
    seed: int = 0
    cache: Cache = "auto"
    tile: int | None = None
    bits: int | None = None

    @property
    def folder(self) -> Path:
        """Where a folder's images are."""
        return self.root or Path("data") / self.dataset


@dataclass(frozen=True)
class Split:
    """A data set ready for training and evaluation.

    Attributes:
        train: normal images to train on.
        held_out: normal images that training never sees; they calibrate the scores.
        test: test images, the normal ones first.
        labels: (N,) bool, whether each test image is abnormal.
        kinds: what each test image shows: its class, or its kind of defect.
        abnormal_train: the abnormal class's images of the training split, which only the published
            protocol tests on.
        abnormal_class: the class that was left out; None for a folder.
        unreadable: one sentence for every file that was left out.
        remarks: sentences on files that are copies of others.
        masks: for each test image, the file that marks its defect; None for a normal image, and where there is none.
        mask_faults: one sentence for every abnormal image without a mask, and every mask without an image.
        bits: how many bits the greys of 16-bit images have; None where there are no such images.

    Where pictures are tiled, `train` has their tiles; `held_out` and `test` have of each picture the tile in its middle,
    and its `source`, by which it is judged.
    """

    train: Images
    held_out: Images
    test: Images
    labels: Tensor
    kinds: list[str]
    abnormal_train: Images
    abnormal_class: str | None = None
    unreadable: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    masks: list[Path | None] = field(default_factory=list)
    mask_faults: list[str] = field(default_factory=list)
    bits: int | None = None

    @property
    def has_masks(self) -> bool:
        """Whether localisation can be measured."""
        return any(mask is not None for mask in self.masks)

    @property
    def untestable(self) -> str | None:
        """A sentence where no accuracy can be measured, else None."""
        if len(self.test) == 0:
            return "There are no test images, so there is nothing to measure accuracy on."
        if not self.labels.any():
            return "The test set holds no abnormal image, so there is no accuracy to measure."
        if self.labels.all():
            return "The test set holds no normal image, so there is no accuracy to measure."
        return None

    def check_testable(self) -> None:
        """Raises InputError where no accuracy can be measured."""
        if self.untestable:
            raise InputError(self.untestable.rstrip("."))


def load_split(config: DataConfig, *, test_only: bool = False) -> Split:
    """Loads and splits a data set.

    Args:
        config: which one, and how.
        test_only: leave the normal training images alone, which need not even be there in a folder;
            `train` and `held_out` are then empty.

    Raises:
        InputError: an unknown data set or class, an empty folder, too few images, no download.
    """
    if config.dataset in DATASETS:
        if config.tile is not None:
            raise InputError(f"the images of {config.dataset} are too small to be tiled: leave --tile out")
        return _split_labelled(config, test_only)
    return _split_folder(config, test_only)


def normal_files(config: DataConfig) -> list[Path]:
    """The files of a folder's normal training images, damaged ones too; raises InputError as `load_split` does."""
    return _scan(config).train


def split_normal(images: Images, seed: int = 0) -> Split:
    """Normal images alone, of which the seed chooses some that are held out; there is nothing to test on.

    Raises:
        InputError: there are fewer than two.
    """
    trained, held_out = _split_normal(len(images), DataConfig(seed=seed))
    none = images.subset([])
    return Split(images.subset(trained), images.subset(held_out), none, torch.empty(0, dtype=torch.bool), [], none)


def name_of(root: Path) -> str:
    """What a folder of images goes by: its own name, unless that is a data set's."""
    name = root.resolve().name
    return f"{name}-folder" if name in DATASETS else name


def unknown_dataset(name: str, root: Path) -> InputError:
    """The error for a name that is neither a data set's nor that of the folder `root`, where own images would be."""
    error = unknown("data set", name, tuple(DATASETS))
    return InputError(f"{error}; or put your own images into {root}, or name their folder with --data-root")


def image_folders(root: Path) -> dict[str, Path]:
    """The image folders to train and test on, by name: those in a folder that have a `train` and a `test`, or else itself.

    Raises:
        InputError: there is none, or no such folder.
    """
    check_is_folder(root)
    places = [*subfolders(root), root]
    found = {name_of(place): place for place in places if {"train", "test"} <= {part.name for part in subfolders(place)}}
    if not found:
        raise InputError(
            f"{root} holds nothing to compare models on: put folders into it that have train/good, test/good and test/<defect>"
        )
    return found


def find_class(dataset: str, given: str | None) -> int:
    """The index of a class given by name or index; the first one where none is given.

    Raises:
        InputError: the data set has no such class.
    """
    classes = DATASETS[dataset].classes
    if given is None:
        return 0
    name = given.strip().lower().replace(" ", "-").replace("_", "-")
    if name in classes:
        return classes.index(name)
    if name.isdigit() and int(name) < len(classes):
        return int(name)
    raise unknown(f"class of {dataset}", given, classes)


def held_out_count(available: int) -> int:
    """How many of so many normal images are held out: 10 %, at least 50, but never more than half."""
    return min(max(math.ceil(HELD_OUT_SHARE * available), HELD_OUT_LEAST), available // 2)


def _split_normal(available: int, config: DataConfig) -> tuple[list[int], list[int]]:
    """Positions to train on and positions held out, disjoint, chosen by the seed."""
    if available < 2:
        images = "image is" if available == 1 else "images are"
        raise InputError(
            f"{available} normal training {images} too few: one part trains and another calibrates, so give at least 2, "
            "and 100 or more for a useful detector"
        )
    order = torch.randperm(available, generator=torch.Generator().manual_seed(config.seed)).tolist()
    if config.train_images is not None:  # hold out as many as if these and their tenth were all there is
        available = min(available, math.ceil(config.train_images / (1 - HELD_OUT_SHARE)))
    held_out = held_out_count(available)
    return order[held_out:][: config.train_images], order[:held_out]


def _some(available: int, most: int | None, generator: torch.Generator) -> list[int]:
    """So many positions in order, or `most` of them, chosen by the generator."""
    if most is None or most >= available:
        return list(range(available))
    return sorted(torch.randperm(available, generator=generator)[:most].tolist())


def _choose(labels: Sequence[bool], config: DataConfig) -> list[int]:
    """Positions of the test images, normal first, at most `test_images` of either kind."""
    generator = torch.Generator().manual_seed(config.seed)
    chosen: list[int] = []
    for kind in (False, True):
        positions = [i for i, label in enumerate(labels) if label is kind]
        chosen += [positions[i] for i in _some(len(positions), config.test_images, generator)]
    return chosen


def _split_labelled(config: DataConfig, test_only: bool) -> Split:
    dataset = DATASETS[config.dataset]
    abnormal = find_class(config.dataset, config.abnormal_class)
    train, test = dataset.load(config.root or Path("data"))

    normal = np.flatnonzero(train.labels != abnormal)
    trained, held_out = ([], []) if test_only else _split_normal(len(normal), config)
    tested = _choose([bool(label == abnormal) for label in test.labels], config)
    labels = test.labels[tested]
    also_tested = np.flatnonzero(train.labels == abnormal)
    if config.test_images is not None:
        also_tested = also_tested[: config.test_images - int((labels == abnormal).sum())]

    def images(source: np.ndarray, positions: Sequence[int] | np.ndarray) -> Images:
        return from_arrays(source[np.asarray(positions, dtype=np.int64)], config.size, config.channels)

    return Split(
        train=images(train.images, normal[trained]),
        held_out=images(train.images, normal[held_out]),
        test=images(test.images, tested),
        labels=torch.from_numpy(labels == abnormal),
        kinds=[dataset.classes[label] for label in labels],
        abnormal_train=images(train.images, also_tested),
        abnormal_class=dataset.classes[abnormal],
    )


def _scan(config: DataConfig, test_only: bool = False) -> ImageFolder:
    """The files of an image folder."""
    root = config.folder
    if config.root is None and not root.is_dir():
        raise unknown_dataset(config.dataset, root)
    folder = scan_folder(root, test_only)
    if config.abnormal_class is not None:
        raise InputError(
            f"{root} tells normal from abnormal by its folders, so --abnormal-class {config.abnormal_class} has no meaning"
        )
    return folder


def _split_folder(config: DataConfig, test_only: bool) -> Split:
    root = config.folder
    folder, remarks = _without_copies(_scan(config, test_only))
    if config.bits is None:
        config = replace(config, bits=find_bits(folder.train))
    train = _read(folder.train, config, "training images")
    if not train.kept and not test_only:
        raise InputError(f"none of the {len(folder.train)} training images in {root} can be used: {train.faults[0]}")
    if folder.validation:
        validation = _read(folder.validation, config, "validation images")
        generator = torch.Generator().manual_seed(config.seed)
        trained = _some(len(train.kept), config.train_images, generator)
        held_out = list(range(len(validation.kept)))
    else:
        validation = train
        try:
            trained, held_out = ([], []) if test_only else _split_normal(len(train.kept), config)
        except InputError as error:
            left_out = f" ({len(train.faults)} of the files cannot be used: {train.faults[0]})" if train.faults else ""
            raise InputError(f"{error}{left_out}") from None
    if folder.validation and not validation.kept:
        raise InputError(f"none of the validation images in {root} can be used: {validation.faults[0]}")
    tested = _choose([defect is not None for defect in folder.defects], config)
    files = [folder.test[i] for i in tested]
    test = _read(files, config if config.tile is None else replace(config, cache="stream"), "test images")
    defects = [folder.defects[tested[i]] for i in test.kept]
    abnormal = [path for path, defect in zip(folder.test, folder.defects, strict=True) if defect]
    masks, mask_faults = find_masks(root, abnormal)
    mask_of = dict(zip(abnormal, masks, strict=True))
    return Split(
        train=train.to_train.subset(trained),
        held_out=validation.to_test.subset(held_out),
        test=test.to_test,
        labels=torch.tensor([defect is not None for defect in defects], dtype=torch.bool),
        kinds=[defect or "normal" for defect in defects],
        abnormal_train=test.to_test.subset([]),
        unreadable=[*train.faults, *(validation.faults if folder.validation else []), *test.faults],
        remarks=remarks,
        masks=[mask_of.get(files[i]) for i in test.kept],
        mask_faults=mask_faults,
        bits=config.bits,
    )


def _without_copies(folder: ImageFolder) -> tuple[ImageFolder, list[str]]:
    """A folder of which nothing that trains can calibrate too, and sentences on what else there was.

    What calibrates must be new to the networks, or the threshold is too low. What is tested is left as it is.
    """
    content = contents([*folder.train, *folder.validation, *folder.test]) if folder.train else {}
    train = folder.train if folder.validation else originals(folder.train, content)  # of which some will be held out
    trained = {content[path] for path in train if path in content}
    validation = [path for path in folder.validation if content.get(path) not in trained]
    copies = len(folder.train) + len(folder.validation) - len(train) - len(validation)
    known = trained | {content[path] for path in validation if path in content}
    seen_before = sum(content.get(path) in known for path in folder.test)
    remarks = []
    if copies:
        remarks.append(f"normal images left out, as copies of others to train on: {copies}")
    if seen_before:
        remarks.append(
            f"test images that are copies of what trains or calibrates, so that the accuracy flatters: {seen_before}"
        )
    return replace(folder, train=train, validation=validation), remarks


@dataclass(frozen=True)
class _Read:
    """Images read from files, whole or in tiles: to train on and to test with, their positions, and what was left out."""

    to_train: Images
    to_test: Images
    kept: list[int]
    faults: list[str]


def _read(paths: Sequence[Path], config: DataConfig, what: str) -> _Read:
    bits = config.bits or BITS[1]
    if config.tile is None:
        files = read_files(paths, config.size, config.channels, bits, config.cache, what)
        return _Read(files.images, files.images, files.kept, files.unreadable)
    pictures = read_pictures(paths, config.tile, config.size, config.channels, bits, config.cache, what)
    return _Read(pictures.tiles, pictures.centres, pictures.kept, pictures.unusable)
