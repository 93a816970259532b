"""The textures of `gannext demo textures`, by this project and by anomalib's GANomaly and DRAEM, for the same seconds.

    pip install -e '.[train]' anomalib
    python benchmarks/rivals.py --seeds 0,1,2
    python benchmarks/rivals.py --times 5        # the rivals train five times as long

A rival trains as long as `gannext train` took beside it, in its own trainer, with its own settings but for the side, which is
the images' own, 64, rather than 256: it sees sixteen times as many. DRAEM's textures to draw defects from, DTD, are a
download; without them it draws from Perlin noise, as its code provides for. An image's score and map are the model's own.
A line that the table has already is not measured again.
"""

import argparse
import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from anomalib.data import Folder
from anomalib.engine import Engine
from anomalib.models import Draem, Ganomaly
from anomalib.models.components import AnomalibModule
from lightning.pytorch.callbacks import Timer
from numpy.typing import NDArray
from PIL import Image

from gannext.cli.demo import BUDGET, latest_run
from gannext.cli.main import run_command
from gannext.data.textures import DEFECTS, TEXTURES, make_textures
from gannext.detection import Detector
from gannext.evaluation import Localisation, measure
from measuring import Table

SIDE = 64
MANY = 100_000  # epochs: it is the time that ends
OURS = "gannext, robust-textures"


@dataclass(frozen=True)
class Trial:
    """A training, and what it finds in the test images: scores (N,), and maps (N, H, W), or (0,) where a model makes none."""

    seconds: float
    steps: int
    scores: NDArray[np.float64]
    maps: NDArray[np.float32]


def rivals(empty: Path) -> Mapping[str, AnomalibModule]:
    """Fresh networks; `empty` is a folder for the textures that DRAEM does not get."""
    size = (SIDE, SIDE)
    return {
        "anomalib, GANomaly": Ganomaly(pre_processor=Ganomaly.configure_pre_processor(size), visualizer=False, evaluator=False),
        "anomalib, DRAEM": Draem(empty, pre_processor=Draem.configure_pre_processor(size), visualizer=False, evaluator=False),
    }


def by_rival(model: AnomalibModule, images: Path, seconds: float, root: Path) -> Trial:
    """A training of so many seconds, and to the end of the step that was begun."""
    data = Folder("images", "train/good", images, num_workers=0, val_split_mode="none", test_split_mode="none")
    timer = Timer(timedelta(seconds=seconds))
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    engine = Engine([timer], default_root_dir=root, accelerator="cpu", max_epochs=MANY, limit_val_batches=0, **quiet)
    start = time.perf_counter()
    engine.fit(model, datamodule=data)
    took = time.perf_counter() - start
    model.eval()
    scores, maps = [], []
    with torch.inference_mode():
        for some in batched([path for path, _ in test_images(images)]):
            pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in some])
            found = model(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)
            scores.append(found.pred_score.flatten().numpy())
            if found.anomaly_map is not None:
                maps.append(found.anomaly_map.flatten(1).unflatten(1, (SIDE, SIDE)).numpy())
    return Trial(
        took, engine.trainer.global_step, np.concatenate(scores), np.concatenate(maps) if maps else np.empty(0, np.float32)
    )


def batched(paths: list[Path], size: int = 25) -> Iterator[list[Path]]:
    """So many at a time."""
    return (paths[start : start + size] for start in range(0, len(paths), size))


def test_images(root: Path) -> list[tuple[Path, Path | None]]:
    """The test images, normal ones first, each with its mask."""
    normal = [(path, None) for path in sorted((root / "test" / "good").iterdir())]
    masks = root / "ground_truth"
    defects = [(p, masks / kind / f"{p.stem}_mask.png") for kind in DEFECTS for p in sorted((root / "test" / kind).iterdir())]
    return [*normal, *defects]


def by_us(images: Path, seed: int, root: Path) -> Trial:
    """A training by the command that the demo runs; the seconds are the whole command's, its own tests included."""
    options = ("--image-size", str(SIDE), "--channels", "1", "--budget", f"{BUDGET:g}", "--seed", str(seed))
    start = time.perf_counter()
    code = run_command("train", ("--data-root", str(images), "--output", str(root), *options), "gannext train")
    took = time.perf_counter() - start
    assert code == 0
    detector = Detector.load(latest_run(root, images.name) / "detector.gannext")
    rows = list(detector.predict_iter([path for path, _ in test_images(images)], maps=True))
    maps = [row.anomaly_map for row in rows if row.anomaly_map is not None]
    return Trial(took, detector.provenance["steps"], np.array([row.score for row in rows], np.float64), np.stack(maps))


def columns(images: Path, trial: Trial) -> dict[str, str]:
    """What the table says of a trial."""
    labels = torch.tensor([mask is not None for _, mask in test_images(images)])
    row = {"seconds": f"{trial.seconds:.0f}", "steps": str(trial.steps)}
    row |= {"auroc": f"{measure(trial.scores, labels, np.inf).auroc:.4f}", "pixel_auroc": "", "aupro": ""}
    if len(trial.maps):
        localisation = Localisation()
        for anomaly_map, (_, mask) in zip(trial.maps, test_images(images), strict=True):
            localisation.add(anomaly_map, np.asarray(Image.open(mask)) > 0 if mask else None)
        found = localisation.result(np.inf)
        row |= {"pixel_auroc": f"{found.auroc:.4f}", "aupro": f"{found.aupro:.4f}"}
    return row


def main() -> None:
    """Measures what is missing, and writes the table after each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--times", type=int, default=1, help="the rivals train so many times as long")
    parser.add_argument("--output", type=Path, default=Path("results/robust/rivals.csv"))
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    table = Table(args.output)
    for seed in args.seeds.split(","):
        for texture in TEXTURES:
            with TemporaryDirectory() as folder:
                root, images = Path(folder), Path(folder) / texture
                make_textures(images, texture, int(seed))
                ours = table.find(texture=texture, seed=seed, model=OURS)
                if ours is None:
                    key = {"texture": texture, "seed": seed, "times": "1", "model": OURS}
                    ours = {**key, **columns(images, by_us(images, int(seed), root))}
                    table.add(ours)
                (root / "empty").mkdir()
                torch.manual_seed(int(seed))
                for name, model in rivals(root / "empty").items():
                    key = {"texture": texture, "seed": seed, "times": str(args.times), "model": name}
                    if table.find(**key):
                        continue
                    seconds = float(ours["seconds"]) * args.times
                    table.add({**key, **columns(images, by_rival(model, images, seconds, root))})


if __name__ == "__main__":
    main()
