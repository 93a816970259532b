"""The Detector: all that it takes to judge an image, and nothing else."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gannext import __version__
from gannext.detection.device import find_device
from gannext.detection.file import read_detector, write_detector
from gannext.detection.fold import folded
from gannext.detection.maps import MAPS, AnomalyMap
from gannext.detection.score import Description, denormalise, normalise, score_batch, score_batches
from gannext.detection.scorings import AnyScoring, scoring_as_dict, scoring_of
from gannext.networks import NetworkConfig
from gannext.runtime import BITS, Calibration, InputError, PixelCalibration, Pixels, Predictor, Tiling, View


@dataclass(frozen=True)
class Seen:
    """What the networks see in n images at the detector's size, as tensors on their device.

    Attributes:
        scores: raw scores (n,).
        described: what they were made of.
        parts: the anomaly map's parts (n, K, H, W), where asked for.
    """

    scores: Tensor
    described: Description
    parts: Tensor | None = None

    @property
    def x_hat(self) -> Tensor:
        """Reconstructions (n, C, H, W) in about [-1, 1]; where no score needed them, they are made now."""
        with torch.inference_mode():
            return self.described.x_hat


class Detector(Predictor):
    """Judges images by a trained generator and discriminator and a calibration on normal images.

    It scores with folded copies of the networks, made when they are first needed; they compute the same but for rounding.

    Attributes:
        config: how the networks are built, and the image size and channels they work at.
        generator, discriminator: the networks, in evaluation mode.
        scoring: makes the score of what the networks see.
        calibration: turns a score into a p-value and a verdict.
        provenance: where the detector came from: recipe, data, versions. Plain JSON.
        tiling: how pictures are cut into tiles, which then go through the networks; None where they are
            resized as a whole. A picture's score is the largest of its tiles'.
        anomaly_map: how anomaly maps are made; None in files of a gannext that made none.
        bits: how many bits the greys of 16-bit images have.
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
        bits: int = BITS[1],
    ) -> None:
        super().__init__(calibration, provenance, tiling, bits)
        self.config = config
        self.generator = generator.eval().requires_grad_(False)
        self.discriminator = discriminator.eval().requires_grad_(False)
        self.scoring = scoring
        self.anomaly_map = anomaly_map
        self._folded: tuple[nn.Module, nn.Module] | None = None

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> "Detector":
        """Reads a detector's file; neither training data nor training code is needed.

        Args:
            path: the file.
            device: where the networks shall run, as `find_device` names it.

        Raises:
            InputError: the file is missing, no detector, damaged, altered, or of another version; or
                the device is not there.
        """
        content = read_detector(path)
        metadata = content.metadata
        try:
            networks = metadata["networks"]
            levels = tuple((black, white) for black, white in networks.get("levels", ()))
            config = NetworkConfig(**{**networks, "size": tuple(networks["size"]), "levels": levels})
            with torch.device("meta"):
                generator, discriminator = config.build_generator(), config.build_discriminator()
            generator.load_state_dict(content.weights("generator"), assign=True)
            discriminator.load_state_dict(content.weights("discriminator"), assign=True)
            calibration = Calibration(tuple(metadata["calibration"]["scores"]), metadata["calibration"]["fpr"])
            scoring = scoring_of(metadata["scoring"], content.weights("scoring"))
            tiling = Tiling(**metadata["tiling"]) if metadata.get("tiling") else None
            anomaly_map = read_anomaly_map(metadata["anomaly_map"]) if metadata.get("anomaly_map") else None
            bits = int(metadata.get("bits", BITS[1]))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            # The checksums hold, so that this is no damage: the code has changed since.
            raise InputError(
                f"{path} was made by gannext {metadata.get('gannext_version')}, and this gannext {__version__} cannot use it "
                f"({reason}): train it again"
            ) from None
        provenance = metadata.get("provenance")
        detector = cls(config, generator, discriminator, scoring, calibration, provenance, tiling, anomaly_map, bits)
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
            "bits": self.bits,
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
        self._folded = None
        return self

    @property
    def device(self) -> torch.device:
        """The device that the networks are on."""
        return next(self.generator.parameters()).device

    @property
    def for_scoring(self) -> tuple[nn.Module, nn.Module]:
        """The generator and the discriminator, folded; `to` has them made anew, as must whoever changes the weights."""
        if self._folded is None:
            self._folded = folded(self.generator), folded(self.discriminator)
        return self._folded

    @property
    def networks(self) -> dict[str, Any]:
        return asdict(self.config)

    @property
    def size(self) -> tuple[int, int]:
        return self.config.size

    @property
    def channels(self) -> int:
        return self.config.channels

    @property
    def pixel_calibration(self) -> PixelCalibration | None:
        return self.anomaly_map.pixels if self.anomaly_map else None

    @pixel_calibration.setter
    def pixel_calibration(self, calibration: PixelCalibration) -> None:
        assert self.anomaly_map is not None
        self.anomaly_map = replace(self.anomaly_map, pixels=calibration)

    def score_batches(self, batches: Iterable[Tensor]) -> NDArray[np.float64]:
        """Raw scores (N,) of all images of an iterable of byte batches (n, C, H, W) at the detector's size."""
        return score_batches(*self.for_scoring, self.scoring, batches, self.config.levels)

    def score(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Raw scores (N,) and reconstructions, bytes (N, C, H, W), of such bytes at the detector's size."""
        seen = self.see(images)
        return seen.scores, denormalise(seen.x_hat, self.config.levels)

    def see(self, images: Tensor, *, parts: bool = False) -> Seen:
        """What the networks see in bytes (n, C, H, W) at the detector's size; `parts` of a map cost a little more."""
        networks = self.for_scoring
        with torch.inference_mode():
            images = images.to(self.device)
            scores, described = score_batch(*networks, self.scoring, images, self.config.levels)
            made = None
            if parts:
                assert self.anomaly_map is not None
                made = MAPS[self.anomaly_map.kind].parts(networks[1], normalise(images, self.config.levels), described)
        return Seen(scores, described, made)

    def look(self, pixels: Pixels, *, reconstruct: bool = False, maps: bool = False) -> View:
        seen = self.see(to_tensor(pixels), parts=maps)
        pictures = denormalise(seen.x_hat, self.config.levels).permute(0, 2, 3, 1).cpu().numpy() if reconstruct else None
        values = self.anomaly_map.combine(seen.parts) if self.anomaly_map and seen.parts is not None else None
        return View(seen.scores.cpu().double().numpy(), pictures, values)


def read_anomaly_map(metadata: Mapping[str, Any]) -> AnomalyMap:
    """The AnomalyMap that `asdict` made this of."""
    calibration = PixelCalibration.read(metadata["pixels"])
    return AnomalyMap(metadata["kind"], tuple(metadata["scales"]), metadata["smoothing"], calibration)


def to_tensor(pixels: Pixels) -> Tensor:
    """An array (N, H, W, C) as a tensor (N, C, H, W) of the same memory, which is channels last as the networks like it."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)
