"""The Detector: all that it takes to judge an image, and nothing else."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from gannext.detection.device import find_device
from gannext.detection.file import read_detector, write_detector
from gannext.detection.score import Scoring, denormalise, score_batch, score_batches
from gannext.networks import NetworkConfig
from gannext.runtime import (
    Calibration,
    InputError,
    Pixels,
    Prediction,
    array_to_pixels,
    decode_image,
    find_images,
    resize,
    to_pixels,
)

OneImage: TypeAlias = str | Path | Image.Image | NDArray[Any] | Tensor
DECODING_THREADS = 4


class Detector:
    """Judges images by a trained generator and discriminator and a calibration on normal images.

    Attributes:
        config: how the networks are built, and the image size and channels they work at.
        generator, discriminator: the networks, in evaluation mode.
        scoring: the score's weights.
        calibration: turns a score into a p-value and a verdict.
        provenance: where the detector came from: recipe, data, versions. Plain JSON.
    """

    def __init__(
        self,
        config: NetworkConfig,
        generator: nn.Module,
        discriminator: nn.Module,
        scoring: Scoring,
        calibration: Calibration,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.generator = generator.eval().requires_grad_(False)
        self.discriminator = discriminator.eval().requires_grad_(False)
        self.scoring = scoring
        self.calibration = calibration
        self.provenance = dict(provenance or {})

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> "Detector":
        """Reads a detector's file; neither training data nor training code is needed.

        Args:
            path: the file.
            device: where the networks shall run, as `find_device` names it.

        Raises:
            InputError: the file is missing, no detector, damaged, altered, or of a newer version; or
                the device is not there.
        """
        content = read_detector(path)
        metadata = content.metadata
        try:
            networks = metadata["networks"]
            config = NetworkConfig(**{**networks, "size": tuple(networks["size"])})
            with torch.device("meta"):
                generator, discriminator = config.build_generator(), config.build_discriminator()
            generator.load_state_dict(content.weights("generator"), assign=True)
            discriminator.load_state_dict(content.weights("discriminator"), assign=True)
            calibration = Calibration(tuple(metadata["calibration"]["scores"]), metadata["calibration"]["fpr"])
            scoring = Scoring(**metadata["scoring"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InputError(f"{path} is damaged ({reason}): train or copy it again") from None
        return cls(config, generator, discriminator, scoring, calibration, metadata.get("provenance")).to(find_device(device))

    def save(self, path: str | Path) -> None:
        """Writes the detector to one file, which takes the place of an older one only when complete.

        Raises:
            InputError: the place may not be written, or the disk is full; the old file stays.
        """
        metadata = {
            "networks": asdict(self.config),
            "scoring": asdict(self.scoring),
            "calibration": asdict(self.calibration),
            "threshold": self.calibration.threshold,
            "provenance": self.provenance,
        }
        write_detector(path, metadata, {"generator": self.generator, "discriminator": self.discriminator})

    def to(self, device: str | torch.device) -> "Detector":
        """Moves the networks to a device, and returns this detector."""
        self.generator.to(device)
        self.discriminator.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """The device that the networks are on."""
        return next(self.generator.parameters()).device

    def score_batches(self, batches: Iterable[Tensor]) -> NDArray[np.float64]:
        """Raw scores (N,) of all images of an iterable of byte batches (n, C, H, W) at the detector's size."""
        return score_batches(self.generator, self.discriminator, self.scoring, batches)

    def score(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Raw scores (N,) and reconstructions (N, C, H, W), of bytes (N, C, H, W) at the detector's size."""
        with torch.inference_mode():
            return score_batch(self.generator, self.discriminator, self.scoring, images.to(self.device))

    def predict(
        self, images: OneImage | Iterable[OneImage], *, batch_size: int = 32, reconstruct: bool = False
    ) -> list[Prediction]:
        """Judges images of any size; one alone or a thousand in any batches get the same scores.

        Args:
            images: one image or several: paths (a folder stands for the images in it), PIL images,
                arrays (H, W), (H, W, C) or (N, H, W, C), tensors (C, H, W) or (N, C, H, W). Arrays and
                tensors hold bytes or floats in [0, 1].
            batch_size: images that go through the networks together.
            reconstruct: whether to return the reconstructions too.

        Returns:
            One Prediction an image, in order. A file that cannot be read gives one with `error` set.

        Raises:
            InputError: an array, tensor or folder is unusable.
        """
        return list(self.predict_iter(images, batch_size=batch_size, reconstruct=reconstruct))

    def predict_iter(
        self, images: OneImage | Iterable[OneImage], *, batch_size: int = 32, reconstruct: bool = False
    ) -> Iterator[Prediction]:
        """As `predict`, yielding each result as it comes; the next files are decoded meanwhile."""
        if batch_size < 1:
            raise InputError(f"a batch size of {batch_size} is impossible: give 1 or more")
        prepared = self._prepare(spread(images), ahead=2 * batch_size)
        while batch := list(islice(prepared, batch_size)):
            yield from self._judge(batch, reconstruct)

    def _prepare(self, images: Iterable[OneImage], ahead: int) -> Iterator[tuple[str, Pixels | InputError]]:
        """Names and pixels at the detector's size, in order, decoded by threads `ahead` of their use."""
        with ThreadPoolExecutor(DECODING_THREADS) as pool:
            waiting: deque[tuple[str, Future[Pixels | InputError]]] = deque()
            for position, image in enumerate(images):
                name = str(image) if isinstance(image, (str, Path)) else str(position)
                waiting.append((name, pool.submit(self._pixels, image)))
                if len(waiting) > ahead:
                    name, pixels = waiting.popleft()
                    yield name, pixels.result()
            while waiting:
                name, pixels = waiting.popleft()
                yield name, pixels.result()

    def _pixels(self, image: OneImage) -> Pixels | InputError:
        channels = self.config.channels
        if isinstance(image, (str, Path)):
            try:
                pixels = decode_image(image, channels)
            except InputError as error:
                return error
        elif isinstance(image, Image.Image):
            pixels = to_pixels(image, channels)
        elif isinstance(image, Tensor):
            array = image.detach().cpu().numpy()
            pixels = array_to_pixels(array.transpose(1, 2, 0) if array.ndim == 3 else array, channels)
        else:
            pixels = array_to_pixels(image, channels)
        return resize(pixels, self.config.size)

    def _judge(self, batch: Sequence[tuple[str, Pixels | InputError]], reconstruct: bool) -> Iterator[Prediction]:
        good = [pixels for _, pixels in batch if not isinstance(pixels, InputError)]
        if good:
            stacked = torch.from_numpy(np.stack(good)).permute(0, 3, 1, 2).contiguous()
            raw, x_hat = self.score(stacked)
            scores = raw.double().cpu().numpy()
            p_values = self.calibration.p_values(scores)
            abnormal = self.calibration.is_abnormal(scores)
            pictures = denormalise(x_hat).permute(0, 2, 3, 1).cpu().numpy() if reconstruct else None
        index = 0
        for name, pixels in batch:
            if isinstance(pixels, InputError):
                yield Prediction(name, error=str(pixels))
                continue
            yield Prediction(
                name,
                float(scores[index]),
                float(p_values[index]),
                bool(abnormal[index]),
                None if pictures is None else pictures[index],
            )
            index += 1


def spread(images: OneImage | Iterable[OneImage]) -> Iterable[OneImage]:
    """One image, a folder, a batch in one array or tensor, or a mixture of these, as single images."""
    if isinstance(images, (str, Path)):
        yield from find_images([images]) if Path(images).is_dir() else [images]
    elif isinstance(images, (np.ndarray, Tensor)):
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
