"""Folders of pictures: this project's own layout, MVTec AD's, or just pictures of good parts."""

from dataclasses import dataclass
from pathlib import Path

from gannext.runtime import InputError, image_files

NORMAL_NAMES = frozenset({"0.normal", "normal", "good"})


@dataclass(frozen=True)
class ImageFolder:
    """The files of a folder data set.

    Attributes:
        train: normal images to train on.
        validation: normal images to calibrate on; where there are none, some of `train` are held out.
        test: test images, the normal ones first, then each kind of defect in alphabetical order.
        defects: for each test image, the name of its folder if that is abnormal, else None.
    """

    train: list[Path]
    validation: list[Path]
    test: list[Path]
    defects: list[str | None]


def scan_folder(root: Path, test_only: bool = False) -> ImageFolder:
    """Finds the images of a folder, in one of three layouts:

        train/0.normal   test/0.normal   test/1.abnormal         this project's
        train/good       test/good       test/<defect>           MVTec AD's
        *.png                                                    normal images only, nothing to test on

    Beside `train` there may be `validation/0.normal` or `validation/good`: normal images to calibrate
    on. They matter where neighbouring training images overlap, as frames of a film or patches of a sheet
    do: ones held out of those would be too well known.

    What is normal is told by the folder's name ("0.normal", "normal" or "good"), never by its
    position; every other folder of `test` holds abnormal images. `ground_truth` holds the
    masks, which `find_masks` finds.

    With `test_only`, the training images are left alone.

    Raises:
        InputError: there is no such folder, or no normal image to train on; with `test_only`, no test image.
    """
    check_is_folder(root)
    if not test_only and not (root / "train").is_dir():
        return ImageFolder(_images_in(root, f"{root} has no folder train/, and no images of its own"), [], [], [])

    train: list[Path] = []
    validation: list[Path] = []
    if not test_only:
        for folder in _normal_folders(root / "train") or [root / "train"]:
            train += _images_in(folder, f"{folder} holds no images to train on")
        for folder in _normal_folders(root / "validation"):
            validation += _images_in(folder, f"{folder} holds no images to calibrate on")

    test: list[Path] = []
    defects: list[str | None] = []
    for folder in _normal_folders(root / "test"):
        images = _images_in(folder)
        test += images
        defects += [None] * len(images)
    for folder in subfolders(root / "test"):
        if folder.name.lower() not in NORMAL_NAMES:
            images = _images_in(folder)
            test += images
            defects += [folder.name] * len(images)
    if test_only and not test:
        raise InputError(
            f"{root} holds no images to test on: put normal ones into test/good and abnormal ones into test/<defect>"
        )
    return ImageFolder(train, validation, test, defects)


def check_is_folder(root: Path) -> None:
    """Raises InputError where there is no folder of images to be found."""
    if not root.is_dir():
        raise InputError(f"{root} is not a folder: name a data set, or the folder that holds your images")


def subfolders(folder: Path) -> list[Path]:
    """The folders right in a folder, sorted, but for hidden ones; none, where there is no such folder."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")) if folder.is_dir() else []


def _normal_folders(folder: Path) -> list[Path]:
    return [p for p in subfolders(folder) if p.name.lower() in NORMAL_NAMES]


def _images_in(folder: Path, complaint: str | None = None) -> list[Path]:
    """The image files right in a folder, sorted; with a complaint, none is an error."""
    images = image_files(folder)
    if complaint and not images:
        layout = "train/0.normal, test/0.normal and test/1.abnormal, or train/good, test/good and test/<defect>"
        raise InputError(f"{complaint}: put images there, or lay the folder out as {layout}")
    return images
