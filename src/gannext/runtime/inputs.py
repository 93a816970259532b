"""From whatever a user gives to pixels for the networks: paths, PIL images, arrays and tensors.

Tensors are known without importing torch: where nobody has imported it, nothing can be a tensor.
"""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gannext.runtime.errors import InputError
from gannext.runtime.images import (
    DECODING_THREADS,
    Pixels,
    array_to_pixels,
    decode_image,
    find_images,
    image_size,
    resize,
    to_pixels,
    upright_size,
)

if TYPE_CHECKING:
    from torch import Tensor

OneImage: TypeAlias = "str | Path | Image.Image | NDArray[Any] | Tensor"


@dataclass(frozen=True)
class Prepared:
    """An image on its way to the networks.

    Attributes:
        name: the file's path, or the position in the list given.
        size: its own height and width.
        pixels: bytes (H, W, C), or why there are none.
    """

    name: str
    size: tuple[int, int]
    pixels: Pixels | InputError


def prepare(
    images: Iterable[OneImage], size: tuple[int, int] | None, channels: int, bits: int, ahead: int
) -> Iterator[Prepared]:
    """The images in order, decoded by threads `ahead` of their use.

    Args:
        images: single images; see `spread`.
        size: height and width that they are resized to; None leaves them as they are, to be tiled.
        channels: 3 for RGB, 1 for grey.
        bits: of greys deeper than eight bits; see `to_pixels`.
        ahead: how many images are decoded beforehand.
    """
    get_ready = partial(_prepare_one, size=size, channels=channels, bits=bits)
    with ThreadPoolExecutor(min(DECODING_THREADS, ahead)) as pool:
        waiting: deque[Future[Prepared]] = deque()
        for position, image in enumerate(images):
            name = str(image) if isinstance(image, (str, Path)) else str(position)
            waiting.append(pool.submit(get_ready, name, image))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _prepare_one(name: str, image: OneImage, size: tuple[int, int] | None, channels: int, bits: int) -> Prepared:
    if isinstance(image, (str, Path)):
        try:
            pixels = decode_image(image, channels, bits, large=size is None)
        except InputError as error:
            return Prepared(name, (0, 0), error)
    elif isinstance(image, Image.Image):
        try:
            pixels = to_pixels(image, channels, bits)
        except (OSError, ValueError) as error:  # a PIL image of a file is read only now; some modes have no RGB
            return Prepared(name, (0, 0), InputError(f"image {name} cannot be read ({error})"))
    elif is_tensor(image):
        pixels = array_to_pixels(_channels_last(image), channels, bits)
    else:
        pixels = array_to_pixels(np.asarray(image), channels, bits)
    height, width = pixels.shape[:2]
    return Prepared(name, (height, width), pixels if size is None else resize(pixels, size))


def _channels_last(image: "Tensor") -> NDArray[Any]:
    """A tensor (H, W) or (C, H, W) as an array (H, W) or (H, W, C); raises InputError of another shape."""
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[0] not in (1, 3, 4)):
        shape = tuple(image.shape)
        raise InputError(f"a tensor of shape {shape} is no image: give (height, width) or (3, height, width), channels first")
    image = image.detach().cpu()
    array: NDArray[Any] = (image.float() if image.is_floating_point() else image).numpy()  # NumPy knows no bfloat16
    return array.transpose(1, 2, 0) if array.ndim == 3 else array


def own_size(image: OneImage) -> tuple[int, int]:
    """Height and width of a single image before anything is done to it; (0, 0) of what is none."""
    if isinstance(image, (str, Path)):
        return image_size(Path(image))
    if isinstance(image, Image.Image):
        return upright_size(image)
    shape = tuple(image.shape)
    if len(shape) not in (2, 3):
        return 0, 0
    height, width = shape[-2:] if is_tensor(image) else shape[:2]
    return height, width


def is_tensor(value: object) -> "TypeGuard[Tensor]":
    """Whether a value is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def spread(images: "OneImage | Iterable[OneImage]") -> Iterable[OneImage]:
    """One image, a folder, a batch in one array or tensor, or a mixture of these, as single images."""
    if isinstance(images, (str, Path)):
        yield from find_images([images]) if Path(images).is_dir() else [images]
    elif isinstance(images, np.ndarray) or is_tensor(images):
        if images.ndim == 4:
            yield from images
        else:
            yield images
    elif isinstance(images, Image.Image):
        yield images
    elif isinstance(images, Iterable):
        for image in images:
            yield from spread(image)
    else:
        raise InputError(f"{type(images).__name__} is no image: give paths, PIL images, NumPy arrays or torch tensors")
