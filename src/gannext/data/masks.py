"""Masks: which pixels of an abnormal test image show the defect."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gannext.data.folders import subfolders
from gannext.runtime import InputError, decode_file, image_files, upright

FOLDER = "ground_truth"
ENDING = "_mask"
LEFT_OUT = "it is left out of the localisation metrics"


def find_masks(root: Path, images: Sequence[Path]) -> tuple[list[Path | None], list[str]]:
    """Finds the masks of abnormal images.

    The mask of `test/<defect>/<name>.*` is `ground_truth/<defect>/<name>_mask.*`, as MVTec AD has it, or
    `ground_truth/<defect>/<name>.*`.

    Args:
        root: the data set's folder.
        images: abnormal test images.

    Returns:
        Each image's mask or None, and one sentence for every image without a mask and every mask without an image
        of a data set that has masks.
    """
    masks: list[Path | None] = []
    faults: list[str] = []
    unused = {path for folder in subfolders(root / FOLDER) for path in image_files(folder)}
    has_masks = bool(unused)
    by_place = {(path.parent.name, path.stem): path for path in sorted(unused)}
    for image in images:
        place, stem = image.parent.name, image.stem
        mask = by_place.get((place, stem + ENDING)) or by_place.get((place, stem))
        masks.append(mask)
        if mask is not None:
            unused.discard(mask)
        elif has_masks:
            faults.append(f"{image} has no mask, which would be {FOLDER}/{place}/{stem}{ENDING}.png: {LEFT_OUT}")
    places = {image.parent.name for image in images}
    for path in sorted(unused):
        if path.parent.name in places:
            faults.append(f"{path} is the mask of no image in test/{path.parent.name}: name it after its image")
    return masks, faults


def read_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask (H, W), True where a pixel is neither black nor transparent and so belongs to the defect.

    Args:
        path: an image file.
        size: height and width of the image that it belongs to.

    Raises:
        InputError: the mask cannot be read, has another size, or is all black.
    """
    mask = decode_file(path, marked, large=True)
    if mask.shape != size:
        raise InputError(f"{path} is {mask.shape[0]}x{mask.shape[1]} pixels and its image {size[0]}x{size[1]}: {LEFT_OUT}")
    if not mask.any():
        raise InputError(f"{path} marks no pixel, though its image is abnormal: {LEFT_OUT}")
    return mask


def marked(image: Image.Image) -> NDArray[np.bool_]:
    """Where (H, W) a PIL image is neither black nor transparent; be it as dark as a label of 1 in 16 bits."""
    image = upright(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("1", "L", "RGB", "I", "F") and not image.mode.startswith("I;16"):
        image = image.convert("RGB")
    values = np.asarray(image).reshape(image.height, image.width, -1)
    if image.mode == "RGBA":
        return np.asarray(values[..., :3].any(2) & (values[..., 3] > 0))
    return np.asarray((values > 0).any(2))  # which NaN is not
