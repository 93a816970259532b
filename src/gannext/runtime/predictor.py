"""How images are judged, whatever computes the networks: prepared, batched, cut into tiles, scored, and given a verdict."""

import datetime
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gannext.runtime.calibration import Calibration
from gannext.runtime.errors import InputError
from gannext.runtime.images import BITS, Pixels, decode_image, resize, resize_map
from gannext.runtime.inputs import OneImage, Prepared, prepare, spread
from gannext.runtime.pixels import PixelCalibration
from gannext.runtime.results import Prediction
from gannext.runtime.sample import NormalSample
from gannext.runtime.tiles import Blend, Box, Tiling

BATCH_SIZE = 32  # images that are judged together where nobody says otherwise
PIXELS_TOGETHER = 4 * 256 * 256  # at most: the networks' activations would need gigabytes, and leave the processor's caches


@dataclass(frozen=True)
class View:
    """What the networks see in n images at their size.

    Attributes:
        scores: raw scores (n,), float64.
        pictures: reconstructions, bytes (n, H, W, C), where asked for.
        maps: anomaly maps (n, H, W), float32, where asked for.
    """

    scores: NDArray[np.float64]
    pictures: Pixels | None = None
    maps: NDArray[np.float32] | None = None


class Predictor(ABC):
    """Judges images. What is left to a subclass is how the networks are computed, and what they are.

    Attributes:
        calibration: turns a score into a p-value and a verdict.
        provenance: where the detector came from: recipe, data, versions. Plain JSON.
        tiling: how pictures are cut into tiles, which then go through the networks; None where they are
            resized as a whole. A picture's score is the largest of its tiles'.
        bits: how many bits the greys of 16-bit images have.
    """

    def __init__(
        self,
        calibration: Calibration,
        provenance: Mapping[str, Any] | None = None,
        tiling: Tiling | None = None,
        bits: int = BITS[1],
    ) -> None:
        self.calibration = calibration
        self.provenance = dict(provenance or {})
        self.tiling = tiling
        self.bits = bits

    @property
    @abstractmethod
    def networks(self) -> Mapping[str, Any]:
        """The networks' description, plain data: model, size, channels and the generator's options."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Height and width of the images that the networks take."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels of the images that the networks take: 3 for RGB, 1 for grey."""

    @property
    @abstractmethod
    def pixel_calibration(self) -> PixelCalibration | None:
        """From what value on a pixel of an anomaly map is abnormal; None where there are no maps. It can be set."""

    @pixel_calibration.setter
    @abstractmethod
    def pixel_calibration(self, calibration: PixelCalibration) -> None: ...

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Writes it to a file of its own kind, which takes the place of an older one only when complete.

        Raises:
            InputError: the place may not be written, or the disk is full; the old file stays.
        """

    @abstractmethod
    def look(self, pixels: Pixels, *, reconstruct: bool = False, maps: bool = False) -> View:
        """What the networks see in bytes (n, H, W, C) at their size; what is not asked for costs nothing."""

    def decode(self, path: str | Path) -> Pixels:
        """A file's pixels (H, W, C) as they are judged, but at its own size; raises InputError where it cannot be read."""
        return decode_image(path, self.channels, self.bits, large=self.tiling is not None)

    def together(self, batch_size: int) -> int:
        """How many images at the networks' size go through them together, of so many asked for: fewer of large ones."""
        return min(batch_size, max(1, PIXELS_TOGETHER // math.prod(self.size)))

    def tile_batches(self, pixels: Pixels, tiling: Tiling, batch_size: int = BATCH_SIZE) -> Iterator[tuple[list[Box], Pixels]]:
        """The tiles of a picture (H, W, C), resized to the networks' size, a few at a time (n, height, width, C)."""
        side, together = tiling.side, self.together(batch_size)
        boxes = tiling.boxes((pixels.shape[0], pixels.shape[1]))
        while batch := list(islice(boxes, together)):
            tiles = [pixels[b.top : b.top + side, b.left : b.left + side] for b in batch]
            yield batch, np.stack([resize(tile, self.size) for tile in tiles])

    def predict(
        self,
        images: "OneImage | Iterable[OneImage]",
        *,
        batch_size: int = BATCH_SIZE,
        reconstruct: bool = False,
        maps: bool = False,
    ) -> list[Prediction]:
        """Judges images of any size; one alone or a thousand in any batches get the same scores.

        Args:
            images: one image or several: paths (a folder stands for the images in it), PIL images,
                arrays (H, W), (H, W, C) or (N, H, W, C), tensors (C, H, W) or (N, C, H, W). Arrays and
                tensors hold bytes or floats in [0, 1].
            batch_size: images, or tiles of one, that go through the networks together; of large ones fewer do.
            reconstruct: whether to return the reconstructions too.
            maps: whether to return the anomaly maps too.

        Returns:
            One Prediction an image, in order. A file that cannot be read, or that is smaller than the
            detector's tiles, gives one with `error` set.

        Raises:
            InputError: an array, tensor or folder is unusable; maps are asked of a detector that has none.
        """
        return list(self.predict_iter(images, batch_size=batch_size, reconstruct=reconstruct, maps=maps))

    def predict_iter(
        self,
        images: "OneImage | Iterable[OneImage]",
        *,
        batch_size: int = BATCH_SIZE,
        reconstruct: bool = False,
        maps: bool = False,
    ) -> Iterator[Prediction]:
        """As `predict`, yielding each result as it comes; the next files are decoded meanwhile."""
        if batch_size < 1:
            raise InputError(f"a batch size of {batch_size} is impossible: give 1 or more")
        if maps and self.pixel_calibration is None:
            raise InputError("this detector knows no anomaly maps, as an older gannext made it: train it again")
        if self.tiling:  # large pictures: one in hand, the next one on its way
            for prepared in prepare(spread(images), None, self.channels, self.bits, ahead=1):
                yield self._judge_tiles(prepared, self.tiling, batch_size, reconstruct, maps)
            return
        together = self.together(batch_size)
        stream = prepare(spread(images), self.size, self.channels, self.bits, ahead=2 * together)
        while batch := list(islice(stream, together)):
            yield from self._judge(batch, reconstruct, maps)

    def calibrate(
        self,
        images: "OneImage | Iterable[OneImage]",
        *,
        fpr: float | None = None,
        pixel_fpr: float | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> list[Prediction]:
        """Sets the thresholds and the p-values anew, from normal images that training never saw; scores and maps stay.

        Args:
            images: as `predict` takes them.
            fpr: share of normal images that may be called abnormal; as before, where nothing is said.
            pixel_fpr: share of normal pixels that may be called abnormal, likewise.
            batch_size: images, or tiles of one, that go through the networks together.

        Returns:
            What was said of each image, by the thresholds of before; those with an error did not count.

        Raises:
            InputError: no image could be judged, or a rate is impossible; everything is as before then.
        """
        sample, judged, maps = NormalSample(), [], self.pixel_calibration
        for prediction in self.predict_iter(images, batch_size=batch_size, maps=maps is not None):
            if prediction.score is not None:
                sample.add(prediction.score, prediction.anomaly_map)
            judged.append(replace(prediction, anomaly_map=None))
        if not sample.scores:
            first = f" ({judged[0].error})" if judged else ""
            raise InputError(f"no image could be judged, so there is nothing to calibrate on{first}")
        calibration = sample.calibration(self.calibration.fpr if fpr is None else fpr)
        if maps is not None:
            self.pixel_calibration = sample.pixel_calibration(maps.fpr if pixel_fpr is None else pixel_fpr)
        self.calibration = calibration
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self.provenance["calibrated"] = {"images": len(sample.scores), "on": now}
        return judged

    def _judge(self, batch: Sequence[Prepared], reconstruct: bool, maps: bool) -> Iterator[Prediction]:
        good = [p.pixels for p in batch if not isinstance(p.pixels, InputError)]
        if good:
            view = self.look(np.stack(good), reconstruct=reconstruct, maps=maps)
        index = 0
        for prepared in batch:
            if isinstance(prepared.pixels, InputError):
                yield Prediction(prepared.name, error=str(prepared.pixels))
                continue
            yield self._prediction(
                prepared.name,
                view.scores[index],
                None if view.pictures is None else view.pictures[index],
                None if view.maps is None else resize_map(view.maps[index], prepared.size),
            )
            index += 1

    def _judge_tiles(self, prepared: Prepared, tiling: Tiling, batch_size: int, reconstruct: bool, maps: bool) -> Prediction:
        """Judges one picture by its tiles: the largest score, and the blended reconstructions and maps."""
        pixels, side = prepared.pixels, (tiling.side, tiling.side)
        try:
            if isinstance(pixels, InputError):
                raise pixels
            tiling.check(prepared.size, prepared.name)
        except InputError as error:
            return Prediction(prepared.name, error=str(error))
        score = -np.inf
        picture = Blend(tiling, np.empty(pixels.shape, np.uint8)) if reconstruct else None
        values = Blend(tiling, np.empty((*prepared.size, 1), np.float32)) if maps else None
        for boxes, tiles in self.tile_batches(pixels, tiling, batch_size):
            view = self.look(tiles, reconstruct=reconstruct, maps=maps)
            score = float(np.maximum(score, view.scores.max()))  # which max() would not, of NaN
            for index, box in enumerate(boxes):
                if picture and view.pictures is not None:
                    picture.add(box, resize(view.pictures[index], side))
                if values and view.maps is not None:
                    values.add(box, resize_map(view.maps[index], side)[..., None])
        for blend in (picture, values):
            if blend:
                blend.finish()
        return self._prediction(prepared.name, score, picture.out if picture else None, values.out[..., 0] if values else None)

    def _prediction(
        self, name: str, score: float, reconstruction: Pixels | None, anomaly_map: NDArray[np.float32] | None
    ) -> Prediction:
        if not np.isfinite(score):
            return Prediction(name, error=f"its score is {score}: the detector's weights are damaged, so train it again")
        return Prediction(
            name,
            float(score),
            float(self.calibration.p_values(score)),
            bool(self.calibration.is_abnormal(score)),
            reconstruction,
            anomaly_map,
        )
