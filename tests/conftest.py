"""What the tests share: the command line in this process, small folders of pictures, a small trained detector."""

import copy
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gannext import Detector
from gannext.cli.main import main
from gannext.detection.export import to_onnx

# What a test trains is then the same on any number of cores, and too small to gain by them; subprocesses inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

TINY_NETWORKS = ("--dim", "4", "--depths", "1,1", "--bottom", "1", "--ndf", "8", "--nz", "10", "--device", "cpu")
SMALL = ("--recipe", "published", *TINY_NETWORKS)
ROOT = Path(__file__).parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test begins first: where tests run side by side, it would end long after all others."""
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def gannext(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `gannext ARGUMENTS` in this process."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Outcome(code, *capsys.readouterr())

    return run


def picture(seed: int, spot: bool = False, side: int = 32) -> Image.Image:
    """A smooth slope of colour in a random direction; abnormal with a white spot."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] / side
    a, b = rng.uniform(0.2, 1, 2)
    values = np.stack([rows * a, columns * b, (rows + columns) / 2], axis=-1) * 160 + rng.normal(0, 3, (side, side, 3))
    if spot:
        y, x = rng.integers(4, side - 12, 2)
        values[y : y + 8, x : x + 8] = 255
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def shell(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in the project's root."""
    return subprocess.run(
        [str(a) for a in arguments], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **env}, check=False
    )


def write_pictures(folder: Path, count: int, first: int = 0, spot: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        picture(first + i, spot).save(folder / f"{i:03d}.png")


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the README's layout: 120 normal pictures to train on, 20 normal and 10 abnormal to test."""
    root = tmp_path_factory.mktemp("folders") / "parts"
    write_pictures(root / "train" / "0.normal", 120)
    write_pictures(root / "test" / "0.normal", 20, first=1000)
    write_pictures(root / "test" / "1.abnormal", 10, first=2000, spot=True)
    return root


@pytest.fixture(scope="session")
def trained(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short training run on `parts`, made through the command line."""
    return train_small(parts, 30, tmp_path_factory.mktemp("runs"))


def train_small(parts: Path, epochs: int, output: Path) -> Path:
    """Trains small networks on `parts` through the command line; gives the run's folder."""
    options = ["--data-root", parts, "--epochs", epochs, "--batch-size", 16, "--lr", 0.002, "--output", output]
    assert main([str(a) for a in ["train", *options, *SMALL]]) == 0
    return next((output / "gannext" / "parts").iterdir())


@pytest.fixture(scope="session")
def detector_file(trained: Path) -> Path:
    return trained / "detector.gannext"


@pytest.fixture(scope="session")
def graph(detector_file: Path) -> Any:
    """The small trained detector's ONNX graph: tracing it takes ten seconds, and every export of it has the same."""
    return to_onnx(Detector.load(detector_file))


def share(graph: Any, patch: pytest.MonkeyPatch) -> None:
    """From here on, whatever is exported has that graph."""
    patch.setattr("gannext.detection.export.to_onnx", lambda _: copy.deepcopy(graph))


@pytest.fixture
def traced_once(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that export the small trained detector, and no other."""
    share(graph, monkeypatch)


@pytest.fixture(scope="session")
def exported_file(detector_file: Path, graph: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small trained detector as an ONNX file, made through the command line."""
    path = tmp_path_factory.mktemp("exported") / "part.onnx"
    with pytest.MonkeyPatch.context() as patch:
        share(graph, patch)
        assert main(["export", str(detector_file), "-o", str(path)]) == 0
    return path
