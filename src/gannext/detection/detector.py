"""The Detector: all that it takes to judge an image, and nothing else."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gannext.detection.device import find_device
from gannext.detection.file import read_detector, write_detector
from gannext.detection.inputs import OneImage, Prepared, prepare, spread
from gannext.detection.maps import MAPS, AnomalyMap
from gannext.detection.score import denormalise, normalise, score_batch, score_batches
from gannext.detection.scorings import AnyScoring, scoring_as_dict, scoring_of
from gannext.networks import NetworkConfig
from gannext.runtime import (
    Blend,
    Box,
    Calibration,
    InputError,
    PixelCalibration,
    Pixels,
    Prediction,
    Tiling,
    resize,
    resize_map,
)

PIXELS_TOGETHER = 4 * 256 * 256


@dataclass(frozen=True)
class View:
    """What the networks see in n images at the detector's size.

    Attributes:
        scores: raw scores (n,), float64.
        x_hat: reconstructions (n, C, H, W) in about [-1, 1].
        parts: the anomaly map's parts (n, K, H, W), where asked for.
    """

    scores: NDArray[np.float64]
    x_hat: Tensor
    parts: Tensor | None = None


class Detector:
    """Judges images by a trained generator and discriminator and a calibration on normal images.

    Attributes:
        config: how the networks are built, and the image size and channels they work at.
        generator, discriminator: the networks, in evaluation mode.
        scoring: makes the score of what the networks see.
        calibration: turns a score into a p-value and a verdict.
        provenance: where the detector came from: recipe, data, versions. Plain JSON.
        tiling: how pictures are cut into tiles, which then go through the networks; None where they are
            resized as a whole. A picture's score is the largest of its tiles'.
        anomaly_map: how anomaly maps are made; None in files of a gannext that made none.
    """

    def __init__(
        self,
        config: NetworkConfig,
        generator: nn.Module,
        discriminator: nn.Module,
        scoring: AnyScoring,
        calibration: Calibration,
        provenance: Mapping[str, Any] | None = None,
        tiling: Tiling | None = None,
        anomaly_map: AnomalyMap | None = None,
    ) -> None:
        self.config = config
        self.generator = generator.eval().requires_grad_(False)
        self.discriminator = discriminator.eval().requires_grad_(False)
        self.scoring = scoring
        self.calibration = calibration
        self.provenance = dict(provenance or {})
        self.tiling = tiling
        self.anomaly_map = anomaly_map

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
            scoring = scoring_of(metadata["scoring"], content.weights("scoring"))
            tiling = Tiling(**metadata["tiling"]) if metadata.get("tiling") else None
            anomaly_map = read_anomaly_map(metadata["anomaly_map"]) if metadata.get("anomaly_map") else None
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InputError(f"{path} is damaged ({reason}): train or copy it again") from None
        provenance = metadata.get("provenance")
        detector = cls(config, generator, discriminator, scoring, calibration, provenance, tiling, anomaly_map)
        return detector.to(find_device(device))

    def save(self, path: str | Path) -> None:
        """Writes the detector to one file, which takes the place of an older one only when complete.

        Raises:
            InputError: the place may not be written, or the disk is full; the old file stays.
        """
        metadata = {
            "networks": asdict(self.config),
            "scoring": scoring_as_dict(self.scoring),
            "calibration": asdict(self.calibration),
            "threshold": self.calibration.threshold,
            "tiling": self.tiling and asdict(self.tiling),
            "anomaly_map": self.anomaly_map and asdict(self.anomaly_map),
            "provenance": self.provenance,
        }
        modules = {"generator": self.generator, "discriminator": self.discriminator, "scoring": self.scoring}
        write_detector(path, metadata, {name: m for name, m in modules.items() if isinstance(m, nn.Module)})

    def to(self, device: str | torch.device) -> "Detector":
        """Moves the networks to a device, and returns this detector."""
        for module in (self.generator, self.discriminator, self.scoring):
            if isinstance(module, nn.Module):
                module.to(device)
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
            scores, described = score_batch(self.generator, self.discriminator, self.scoring, images.to(self.device))
        return scores, described.x_hat

    def look(self, images: Tensor, *, parts: bool = False) -> View:
        """What the networks see in bytes (n, C, H, W) at the detector's size; `parts` of a map cost a little more."""
        with torch.inference_mode():
            images = images.to(self.device)
            scores, described = score_batch(self.generator, self.discriminator, self.scoring, images)
            made = None
            if parts:
                assert self.anomaly_map is not None
                made = MAPS[self.anomaly_map.kind].parts(self.discriminator, normalise(images), described)
        return View(scores.double().cpu().numpy(), described.x_hat, made)

    def look_at_tiles(
        self, pixels: Pixels, tiling: Tiling, batch_size: int = 32, *, parts: bool = False
    ) -> Iterator[tuple[list[Box], View]]:
        """What the networks see in the tiles of a picture (H, W, C), a few tiles at a time.

        However large the batch asked for, the tiles of one hold no more than PIXELS_TOGETHER pixels:
        the networks' activations would need gigabytes.
        """
        side, (height, width) = tiling.side, self.config.size
        together = min(batch_size, max(1, PIXELS_TOGETHER // (height * width)))
        boxes = tiling.boxes((pixels.shape[0], pixels.shape[1]))
        while batch := list(islice(boxes, together)):
            tiles = [pixels[b.top : b.top + side, b.left : b.left + side] for b in batch]
            yield batch, self.look(stacked([resize(tile, self.config.size) for tile in tiles]), parts=parts)

    def predict(
        self,
        images: OneImage | Iterable[OneImage],
        *,
        batch_size: int = 32,
        reconstruct: bool = False,
        maps: bool = False,
    ) -> list[Prediction]:
        """Judges images of any size; one alone or a thousand in any batches get the same scores.

        Args:
            images: one image or several: paths (a folder stands for the images in it), PIL images,
                arrays (H, W), (H, W, C) or (N, H, W, C), tensors (C, H, W) or (N, C, H, W). Arrays and
                tensors hold bytes or floats in [0, 1].
            batch_size: images, or tiles of one, that go through the networks together.
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
        images: OneImage | Iterable[OneImage],
        *,
        batch_size: int = 32,
        reconstruct: bool = False,
        maps: bool = False,
    ) -> Iterator[Prediction]:
        """As `predict`, yielding each result as it comes; the next files are decoded meanwhile."""
        if batch_size < 1:
            raise InputError(f"a batch size of {batch_size} is impossible: give 1 or more")
        if maps and self.anomaly_map is None:
            raise InputError("this detector knows no anomaly maps, as an older gannext made it: train it again")
        if self.tiling:  # large pictures: one in hand, the next one on its way
            for prepared in prepare(spread(images), None, self.config.channels, ahead=1):
                yield self._judge_tiles(prepared, self.tiling, batch_size, reconstruct, maps)
            return
        stream = prepare(spread(images), self.config.size, self.config.channels, ahead=2 * batch_size)
        while batch := list(islice(stream, batch_size)):
            yield from self._judge(batch, reconstruct, maps)

    def _judge(self, batch: Sequence[Prepared], reconstruct: bool, maps: bool) -> Iterator[Prediction]:
        good = [p.pixels for p in batch if not isinstance(p.pixels, InputError)]
        if good:
            view = self.look(stacked(good), parts=maps)
            pictures = to_pictures(view.x_hat) if reconstruct else None
            values = self._maps(view) if maps else None
        index = 0
        for prepared in batch:
            if isinstance(prepared.pixels, InputError):
                yield Prediction(prepared.name, error=str(prepared.pixels))
                continue
            yield self._prediction(
                prepared.name,
                view.scores[index],
                None if pictures is None else pictures[index],
                None if values is None else resize_map(values[index], prepared.size),
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
        for batch, view in self.look_at_tiles(pixels, tiling, batch_size, parts=maps):
            score = max(score, float(view.scores.max()))
            for box, tile in zip(batch, to_pictures(view.x_hat) if picture else (), strict=False):
                picture.add(box, resize(tile, side))  # type: ignore[union-attr]
            for box, tile_map in zip(batch, self._maps(view) if values else (), strict=False):
                values.add(box, resize_map(tile_map, side)[..., None])  # type: ignore[union-attr]
        for blend in (picture, values):
            if blend:
                blend.finish()
        return self._prediction(prepared.name, score, picture.out if picture else None, values.out[..., 0] if values else None)

    def _maps(self, view: View) -> NDArray[np.float32]:
        """Maps (n, H, W) at the detector's size."""
        assert self.anomaly_map is not None and view.parts is not None
        return self.anomaly_map.combine(view.parts)

    def _prediction(
        self, name: str, score: float, reconstruction: Pixels | None, anomaly_map: NDArray[np.float32] | None
    ) -> Prediction:
        return Prediction(
            name,
            float(score),
            float(self.calibration.p_values(score)),
            bool(self.calibration.is_abnormal(score)),
            reconstruction,
            anomaly_map,
        )


def read_anomaly_map(metadata: Mapping[str, Any]) -> AnomalyMap:
    """The AnomalyMap that `asdict` made this of."""
    pixels = metadata["pixels"]
    calibration = PixelCalibration(tuple(pixels["rates"]), tuple(pixels["thresholds"]), pixels["fpr"])
    return AnomalyMap(metadata["kind"], tuple(metadata["scales"]), metadata["smoothing"], calibration)


def stacked(pixels: Sequence[Pixels]) -> Tensor:
    """Arrays (H, W, C) of one size as a tensor (N, C, H, W)."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()


def to_pictures(x_hat: Tensor) -> NDArray[np.uint8]:
    """Reconstructions (N, C, H, W) in about [-1, 1] as bytes (N, H, W, C)."""
    return np.asarray(denormalise(x_hat).permute(0, 2, 3, 1).cpu().numpy())
