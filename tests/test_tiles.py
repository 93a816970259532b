"""Large pictures in tiles: the grid, the seams, training, prediction, memory, and pictures that do not fit."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from conftest import SMALL, Command
from gannext import Detector
from gannext.data import DataConfig, EpochSampler, TileImages, load_split, make_loader
from gannext.runtime import Blend, Tiling

PERIOD = 20


def weave(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A periodic texture with a little noise, bytes (height, width)."""
    rows, columns = np.mgrid[0:height, 0:width] * (2 * np.pi / PERIOD)
    values = 100 + 30 * np.sin(rows) + 30 * np.sin(columns)
    return (values + np.random.default_rng(seed).normal(0, 4, values.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def cloth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of a fabric, each larger than a tile of 32 pixels, some with a hole."""
    root = tmp_path_factory.mktemp("folders") / "cloth"
    for folder, count, hole in (("train/good", 24, False), ("test/good", 6, False), ("test/hole", 4, True)):
        first = 100 * len(folder)
        (root / folder).mkdir(parents=True)
        for i in range(count):
            pixels = weave(70 + i % 3, 100 - i % 5, seed=first + i)
            if hole:
                pixels[20:28, 50 + i : 60 + i] = 255
                (root / "ground_truth" / "hole").mkdir(parents=True, exist_ok=True)
                mask = np.zeros_like(pixels)
                mask[20:28, 50 + i : 60 + i] = 255
                Image.fromarray(mask).save(root / "ground_truth" / "hole" / f"{i:03d}_mask.png")
            Image.fromarray(pixels).save(root / folder / f"{i:03d}.png")
    return root


@pytest.fixture(scope="module")
def tiled(cloth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector trained on tiles through the command line."""
    from gannext.cli.main import main

    output = tmp_path_factory.mktemp("runs")
    options = ["--data-root", cloth, "--tile", 32, "--epochs", 30, "--batch-size", 16, "--lr", 0.004, "--output", output]
    assert main([str(a) for a in ["train", *options, *SMALL]]) == 0
    return next(output.rglob("detector.gannext"))


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("length", [32, 33, 60, 100, 257])
def test_tiles_cover_an_axis_and_their_windows_add_up_to_1(length: int, overlap: float) -> None:
    tiling = Tiling(32, overlap)
    starts = tiling.starts(length)
    assert starts[0] == 0 and starts[-1] == length - 32
    assert all(b - a <= 32 * (1 - overlap) + 1 for a, b in itertools.pairwise(starts))
    total = np.zeros(length)
    for start, window in zip(starts, tiling.windows(length), strict=True):
        assert (window >= 0).all()
        total[start : start + 32] += window
    assert np.allclose(total, 1, atol=1e-6)


def test_blending_the_tiles_of_a_picture_gives_the_picture() -> None:
    tiling, picture = Tiling(32, 0.3), np.random.default_rng(0).integers(0, 256, (75, 110, 3), dtype=np.uint8)
    blends = Blend(tiling, np.empty((75, 110, 3), np.uint8)), Blend(tiling, np.empty((75, 110, 3), np.float32))
    for blend in blends:
        for box in tiling.boxes((75, 110)):
            blend.add(box, picture[box.top : box.top + 32, box.left : box.left + 32])
        blend.finish()
    assert np.array_equal(blends[0].out, picture) and np.allclose(blends[1].out, picture, atol=1e-3)


def test_even_tiles_that_disagree_meet_without_a_step() -> None:
    """Tiles whose maps are 0 and 1 in turn: the worst that can happen."""
    for overlap, highest in ((0.25, np.pi / 2 / 8), (0.5, np.pi / 2 / 16), (0.0, 1)):
        tiling = Tiling(32, overlap)
        blend = Blend(tiling, np.empty((200, 224, 1), np.float32))
        for box in tiling.boxes((200, 224)):
            blend.add(box, np.full((32, 32, 1), float((box.row + box.column) % 2)))
        blend.finish()
        assert max(np.abs(np.diff(blend.out, axis=axis)).max() for axis in (0, 1)) == pytest.approx(highest, rel=0.05)


def test_seams_do_not_show(tiled: Path) -> None:
    """On a periodic texture, the steps of the map across tiles' borders are no higher than those inside of tiles.

    The texture begins elsewhere in its period in each picture: the map has a period too, of which a border sees all then.
    """
    detector = Detector.load(tiled)
    assert detector.tiling is not None
    whole = weave(200 + PERIOD, 260 + PERIOD)
    pictures = [whole[start : start + 200, start : start + 260] for start in range(0, PERIOD, 2)]
    values = np.stack([np.asarray(p.anomaly_map) for p in detector.predict(pictures, maps=True)])
    for axis, length in enumerate(values.shape[1:]):
        steps = np.abs(np.diff(values, axis=1 + axis)).mean((0, 2 - axis))
        borders = {edge - 1 for start in detector.tiling.starts(length) for edge in (start, start + 32)}
        seen = range(16, length - 17)  # the picture's own border is another matter
        at_border, inside = ([steps[i] for i in seen if (i in borders) is wanted] for wanted in (True, False))
        assert len(at_border) > 8 and max(at_border) <= 1.05 * max(inside) and np.mean(at_border) <= 1.1 * np.mean(inside)


def test_train_predict_and_evaluate_on_tiles(tiled: Path, cloth: Path, gannext: Command, tmp_path: Path) -> None:
    detector = Detector.load(tiled)
    assert detector.tiling == Tiling(32, 0.25) and detector.config.size == (32, 32)
    assert len(detector.calibration.scores) == 12  # pictures, not tiles
    outcome = gannext("evaluate", tiled, "--output", tmp_path / "e.json", "--report", tmp_path / "r.html")
    assert outcome.code == 0 and "6 normal and 4 abnormal" in outcome.out, outcome.err
    numbers = json.loads((tmp_path / "e.json").read_text())
    assert numbers["honest"]["auroc"] > 0.8 and numbers["localisation"]["auroc"] > 0.9
    trained = json.loads((tiled.parent / "evaluation.json").read_text())
    assert trained["honest"] == pytest.approx(numbers["honest"], abs=1e-6)

    outcome = gannext("predict", tiled, cloth / "test", "--maps", tmp_path / "maps", "--format", "json")
    assert outcome.code == 0, outcome.err
    scores = {row["image"]: row["score"] for row in json.loads(outcome.out)}
    content = json.loads((tmp_path / "maps" / "regions.json").read_text())
    for entry in content["images"]:
        size = entry["width"], entry["height"]
        assert {Image.open(tmp_path / "maps" / entry[n]).size for n in ("overlay", "map", "reconstruction")} == {size}
        tiles = list(Tiling(32).boxes((size[1], size[0])))
        pixels = np.asarray(Image.open(entry["file_name"]).convert("RGB"))
        batch = np.stack([pixels[b.top : b.top + 32, b.left : b.left + 32] for b in tiles]).transpose(0, 3, 1, 2)
        assert scores[entry["file_name"]] == pytest.approx(float(detector.see(torch.from_numpy(batch)).scores.max()), rel=1e-4)

    other = gannext("predict", tiled, cloth / "test" / "good", "--overlap", 0.5)
    assert other.code == 0 and "calibrated with other tiles" in other.err
    assert gannext("predict", tiled, tiled.parent / "examples").code == 0


def test_an_exported_file_tiles_as_its_detector_does(tiled: Path, cloth: Path, gannext: Command, tmp_path: Path) -> None:
    exported = tmp_path / "cloth.onnx"
    assert gannext("export", tiled, "-o", exported).code == 0
    files = sorted((cloth / "test").rglob("*.png"))
    for options in ([], ["--overlap", 0.5]):
        rows = [json.loads(gannext("predict", file, *files, "--format", "json", *options).out) for file in (tiled, exported)]
        assert [row["score"] for row in rows[1]] == pytest.approx([row["score"] for row in rows[0]], rel=1e-4)
        assert [row["verdict"] for row in rows[1]] == [row["verdict"] for row in rows[0]]
    small = gannext("export", tiled, "-o", tmp_path / "small.onnx", "--precision", "int8", "--force")
    assert small.code == 0 and "AUROC on 10 test images" in small.out, small.err
    outcome = gannext("predict", tmp_path / "small.onnx", cloth / "test", "--maps", tmp_path / "maps")
    assert outcome.code == 0 and (tmp_path / "maps" / "regions.json").exists(), outcome.err


def test_an_epoch_has_a_tile_for_every_tile_s_area_at_new_places(cloth: Path) -> None:
    for cache in ("memory", "stream"):
        split = load_split(DataConfig("cloth", cloth, tile=32, cache=cache))  # type: ignore[arg-type]
        assert isinstance(split.train, TileImages) and split.train.streams == (cache == "stream")
        sizes = split.train.sizes
        assert len(split.train) == sum(-(-h // 32) * -(-w // 32) for h, w in sizes) and len(sizes) == len(split.held_out) == 12
        epochs = []
        for epoch in (0, 1):
            sampler = EpochSampler(len(split.train), 3, shuffle=split.train.shuffle)
            sampler.set_epoch(epoch)
            positions = list(sampler)
            assert sorted(p % len(split.train) for p in positions) == list(range(len(split.train)))
            epochs.append(torch.cat(list(make_loader(split.train, 16, sampler, workers=2))))
            assert torch.equal(epochs[-1], split.train.__getitems__(positions[: len(epochs[-1])]))  # and again the same
        assert epochs[0].shape[1:] == (3, 32, 32) and not torch.equal(*epochs)


def test_a_resumed_run_on_tiles_ends_with_the_same_weights(cloth: Path, gannext: Command, tmp_path: Path) -> None:
    options = ["--data-root", cloth, "--tile", 32, "--image-size", 48, "--batch-size", 16, *SMALL, "--output"]
    assert gannext("train", *options, tmp_path / "whole", "--epochs", 3).code == 0
    assert gannext("train", *options, tmp_path / "parts", "--epochs", 1).code == 0
    assert gannext("train", *options, tmp_path / "parts", "--epochs", 3, "--resume").code == 0
    whole, parts = (Detector.load(next((tmp_path / n).rglob("detector.gannext"))) for n in ("whole", "parts"))
    assert whole.config.size == (48, 48) and whole.calibration == parts.calibration
    assert all(torch.equal(a, b) for a, b in zip(whole.generator.parameters(), parts.generator.parameters(), strict=True))


def test_pictures_that_do_not_fit_are_named_and_the_others_judged(
    tiled: Path, cloth: Path, gannext: Command, tmp_path: Path
) -> None:
    root = tmp_path / "cloth"
    shutil.copytree(cloth, root)
    Image.fromarray(weave(20, 90)).save(root / "train" / "good" / "small.png")
    Image.fromarray(weave(20, 90)).save(root / "test" / "good" / "small.png")
    outcome = gannext(
        "train", "--data-root", root, "--tile", 32, "--epochs", 1, "--batch-size", 16, *SMALL, "--output", tmp_path
    )
    assert outcome.code == 0 and outcome.err.count("smaller than a tile of 32x32") == 2, outcome.err
    assert "leave it out" in outcome.err and "--tile of at most" not in outcome.err  # 20, which no command takes
    outcome = gannext("predict", tiled, root / "test" / "good", "--format", "json")
    rows = json.loads(outcome.out)
    assert outcome.code == 1 and [r["verdict"] for r in rows if r["error"]] == ["error"] and len(rows) == 7
    for arguments, words in (
        (["--tile", 20], "32 to 8192"),
        (["--tile", 2000], "pass --image-size"),
        (["--overlap", 0.5], "pass --tile too"),
        (["--tile", 32, "--protocol", "published"], "knows no tiles"),
    ):
        outcome = gannext("train", "--data-root", cloth, *arguments, "--output", tmp_path)
        assert outcome.code == 2 and words in outcome.err and outcome.err.count("\n") == 1
    outcome = gannext("train", "--tile", 32, "--output", tmp_path)
    assert outcome.code == 2 and "too small to be tiled" in outcome.err


def test_a_picture_too_large_names_tiles(
    detector_file: Path, tiled: Path, gannext: Command, tmp_path: Path, parts: Path
) -> None:
    """40,000 x 40,000 pixels, and one good picture beside it. The large one is never decoded."""
    folder = tmp_path / "new"
    shutil.copytree(parts / "test" / "1.abnormal", folder)
    write_huge(folder / "huge.png", 40_000)
    outcome = gannext("predict", detector_file, folder)
    assert outcome.code == 1 and "1 of 11" in outcome.err
    assert len(re.findall("huge.png.*89 million pixels.*--tile", outcome.out)) == 1, outcome.out
    outcome = gannext("predict", tiled, folder / "huge.png")
    assert outcome.code == 1 and "178 million pixels: cut it up first" in outcome.out


def write_huge(path: Path, side: int) -> None:
    """A black PNG of one bit a pixel, row by row."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(b"\0" * (1 + side // 8)) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how much memory a process had at most")
def test_a_picture_of_24_million_pixels_takes_less_than_2_gigabytes(cloth: Path, gannext: Command, tmp_path: Path) -> None:
    options = ["--data-root", cloth, "--tile", 64, "--image-size", 32, "--epochs", 1, "--batch-size", 16, *SMALL]
    assert gannext("train", *options, "--output", tmp_path).code == 0
    detector = next(tmp_path.rglob("detector.gannext"))
    pixels = np.tile(weave(400, 600)[..., None], (10, 10, 3))
    pixels[1000:1100, 3000:3200] = 255
    Image.fromarray(pixels).save(tmp_path / "large.jpg", quality=90)
    code = (  # what getrusage says has the parent's memory in it
        "import sys; from gannext.cli.main import main; code = main(sys.argv[1:]);"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'));"
        "print(int(peak.split()[1]) // 1024); sys.exit(code)"
    )
    arguments = [
        "predict",
        detector,
        tmp_path / "large.jpg",
        "--tile",
        256,
        "--maps",
        tmp_path / "m",
        "--report",
        tmp_path / "r.html",
    ]
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 2000, done.stdout
    overlay = Image.open(tmp_path / "m" / "00000_large_overlay.png")
    assert overlay.size == (6000, 4000)
