"""Image decoding and resizing: the one place where a picture becomes an array of bytes.

Training, prediction and the exported file all start here, so that a picture has the same pixels
and therefore the same score everywhere.
"""

import math
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from gannext.runtime.errors import InputError

Pixels = NDArray[np.uint8]
Read = TypeVar("Read")

ORIENTATION = 0x0112  # the EXIF tag
BITS = (8, 16)  # of the greys that a file may keep more than eight of
DECODING_THREADS = 4
MOST_LOOKED_INTO = 100  # files, to find out how deep their greys are
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"})


def decode_image(path: str | Path, channels: int = 3, bits: int = BITS[1], *, large: bool = False) -> Pixels:
    """Reads an image file as a person would see it: uint8 array (height, width, channels), of `decode_file`'s arguments and
    with its errors; `channels` is 3 for RGB, and 1 for grey, and `bits` is `to_pixels`'."""
    return decode_file(path, lambda image: to_pixels(image, channels, bits), large=large)


def decode_file(path: str | Path, convert: Callable[[Image.Image], Read], *, large: bool = False) -> Read:
    """Reads an image file.

    Args:
        path: any file that Pillow reads; of an animation, the first frame.
        convert: makes what is returned of the decoded image.
        large: whether a picture of up to twice Pillow's limit of 89 million pixels is welcome, as it is
            to whoever goes through it tile by tile; its bytes still fit into a gigabyte.

    Raises:
        InputError: the file is missing, empty, damaged, no image, or too large.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if large else "error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return convert(image)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not an image") from None
    except PermissionError:
        raise InputError(f"{path} may not be read: check its permissions") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        most = Image.MAX_IMAGE_PIXELS or 0
        tiled = not large and math.prod(image_size(path)) <= 2 * most
        way_out = "scale it down, or let a detector trained with --tile go through it" if tiled else "cut it up first"
        raise InputError(f"{path} has more than {most * (2 if large else 1) // 10**6} million pixels: {way_out}") from None
    except Exception as error:  # Pillow's decoders raise nearly everything on damaged files
        reason = str(error).replace(str(path), "it") or type(error).__name__
        if path.exists() and path.stat().st_size == 0:
            reason = "it is empty"
        elif isinstance(error, UnidentifiedImageError):
            reason = "it is in no format that is known"
        raise InputError(f"{path} cannot be read as an image ({reason})") from None


def image_size(path: Path) -> tuple[int, int]:
    """Height and width as a person would see the picture, read from the file's head alone; (0, 0) where it has none."""
    return of_head(path, upright_size, (0, 0))


def of_head(path: Path, read: Callable[[Image.Image], Read], otherwise: Read) -> Read:
    """What is read of an image file without decoding it, however large it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return read(image)
    except Exception:  # decoding will say what is wrong with the file
        return otherwise


def find_bits(paths: Sequence[Path]) -> int | None:
    """How many bits the deep greys among image files reach: 8, 10, 12, 14 or 16, as cameras have them; None without any.

    MOST_LOOKED_INTO files at most are read, from the first to the last; a damaged one is passed over.
    """

    def lightest(path: Path) -> int:
        with suppress(InputError):
            if of_head(path, is_deep, False):
                return decode_file(path, lambda image: int(np.asarray(image).max()), large=True)
        return 0

    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        highest = max(pool.map(lightest, (paths[i] for i in evenly(len(paths), MOST_LOOKED_INTO))), default=0)
    return min(max(highest.bit_length() + highest.bit_length() % 2, BITS[0]), BITS[1]) if highest else None


def evenly(count: int, most: int) -> list[int]:
    """Positions among so many, all of them or `most`, spread evenly from the first on."""
    chosen = min(count, most)
    return [i * count // chosen for i in range(chosen)]


def is_deep(image: Image.Image) -> bool:
    """Whether an image has greys of more than eight bits, which are no floats."""
    return image.mode == "I" or image.mode.startswith("I;16")


def to_pixels(image: Image.Image, channels: int = 3, bits: int = BITS[1]) -> Pixels:
    """A PIL image of any mode as a person would see it: uint8 (height, width, channels).

    Camera orientation is applied, transparency is laid over white, and of greys of more than eight bits the upper eight
    of so many count (Pillow alone would clip them to white): an X-ray of 12 bits is nearly black in a file of 16.
    """
    image = upright(image)
    if is_deep(image) or image.mode == "F":
        image = Image.fromarray(deep_grey_to_bytes(np.asarray(image), image.mode, bits))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    return np.asarray(image).reshape(image.height, image.width, channels)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width of a PIL image as the camera says that it was held."""
    turned = image.getexif().get(ORIENTATION, 1) >= 5
    return (image.width, image.height) if turned else (image.height, image.width)


def upright(image: Image.Image) -> Image.Image:
    """A PIL image as the camera says that it was held."""
    # Asked first: Pillow would copy an upright picture too.
    return image if image.getexif().get(ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)


def deep_grey_to_bytes(values: NDArray[np.generic], mode: str, bits: int = BITS[1]) -> Pixels:
    """Greys of so many bits as bytes, more than all of these being white; floats are read as 0..1 if they all lie there, else
    as 0..255."""
    if mode == "F":
        values = np.nan_to_num(values.astype(np.float64))
        inside = values.size > 0 and values.min() >= 0.0 and values.max() <= 1.0
        return np.clip(np.rint(values * 255 if inside else values), 0, 255).astype(np.uint8)
    return (np.clip(values, 0, 2**bits - 1).astype(np.uint16) >> (bits - 8)).astype(np.uint8)


def to_image(pixels: Pixels) -> Image.Image:
    """Bytes (H, W, 1 or 3) as a PIL image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resizes uint8 (height, width, channels) to size = (height, width): bilinear, antialiased.

    Columns first and then rows, each rounded to bytes: which comes first changes the result, and
    Pillow alone chooses by the shape, from version to version.
    """
    if pixels.shape[:2] == size:
        return pixels
    height, width = size
    image = to_image(pixels)
    image = image.resize((width, image.height), Image.Resampling.BILINEAR)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, pixels.shape[-1])


def resize_map(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resizes floats (height, width) to size = (height, width): bilinear, antialiased."""
    if values.shape == size:
        return values
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def array_to_pixels(values: NDArray[np.generic], channels: int = 3, bits: int = BITS[1]) -> Pixels:
    """An image array as uint8 (height, width, channels).

    Args:
        values: (height, width) or (height, width, 1 | 3 | 4); bytes, 16-bit integers, or floats in [0, 1].
        channels: 3 for RGB, 1 for grey.
        bits: how many of the 16 bits of integers are filled.

    Raises:
        InputError: another shape or type, or floats outside [0, 1].
    """
    values = np.asarray(values)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] not in (3, 4)) or values.size == 0:
        raise InputError(f"an array of shape {tuple(values.shape)} is no image: give (height, width) or (height, width, 3)")
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    elif np.issubdtype(values.dtype, np.floating):
        if not (np.isfinite(values).all() and values.min() >= 0.0 and values.max() <= 1.0):
            raise InputError("an image array of floats must lie in [0, 1]: scale it, or give bytes")
        values = np.rint(values * 255).astype(np.uint8)
    elif values.dtype == np.uint16:
        values = deep_grey_to_bytes(values, "I;16", bits)
    elif values.dtype != np.uint8:
        raise InputError(f"an image array of {values.dtype} is ambiguous: give uint8, uint16, or floats in [0, 1]")
    return to_pixels(Image.fromarray(values), channels)


def image_files(folder: Path, deep: bool = False) -> list[Path]:
    """The image files in a folder, with `deep` in the folders below it too, sorted by path.

    What is hidden, its name beginning with a dot, is left alone: beside pictures lie `._part.png`, which macOS writes to
    other systems' disks and which are none, and folders of copies such as `.ipynb_checkpoints`.

    Raises:
        InputError: a folder may not be read.
    """

    def refuse(error: OSError) -> None:
        if isinstance(error, FileNotFoundError):  # taken away meanwhile
            return
        raise InputError(f"{error.filename} cannot be read ({error.strerror}): check its permissions") from None

    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if deep and not name.startswith(".")]
        paths = (Path(place, name) for name in files if not name.startswith("."))
        # A link that leads nowhere was meant to be a picture: whoever reads it says what is wrong.
        found += (path for path in paths if path.suffix.lower() in SUFFIXES and (path.is_file() or path.is_symlink()))
    return sorted(found)


def find_images(places: Sequence[str | Path]) -> list[Path]:
    """The image files that `places` name: files as they are, folders searched in depth, sorted by path.

    Raises:
        InputError: a place does not exist, or a folder holds no image.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            inside = image_files(place, deep=True)
            if not inside:
                raise InputError(f"{place} holds no image: looked for {' '.join(sorted(SUFFIXES))}")
            found += inside
        elif place.exists():
            found.append(place)
        else:
            raise InputError(f"{place} does not exist: name an image file or a folder of images")
    return found
