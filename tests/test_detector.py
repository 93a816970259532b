"""The Detector and its file: the same score whatever the batch, and nothing believed of a file that was altered."""

import hashlib
import io
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import SMALL, Command, picture
from gannext import Detector
from gannext.detection.score import score_batch
from gannext.runtime import InputError, Tiling

PICTURES = [picture(i, spot=i % 3 == 0) for i in range(37)]


@pytest.fixture(scope="module")
def detector(detector_file: Path) -> Detector:
    return Detector.load(detector_file)


def test_one_image_or_many_in_any_batch_score_the_same(detector: Detector) -> None:
    alone = np.array([detector.predict(p)[0].score for p in PICTURES])
    for batch_size in (1, 5, 37):
        order = np.random.default_rng(batch_size).permutation(37)
        together = np.array([p.score for p in detector.predict([PICTURES[i] for i in order], batch_size=batch_size)])
        assert np.abs(together - alone[order]).max() < 1e-5 * max(1.0, alone.max())


def test_of_large_images_fewer_go_together(
    detector: Detector, gannext: Command, detector_file: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever batch is asked for: the networks' activations would need gigabytes. Here three images of 32x32 are many."""
    expected = [p.score for p in detector.predict(PICTURES)]
    accuracy = gannext("evaluate", detector_file).out
    seen: list[int] = []

    def score(*networks_and_scoring: Any) -> object:
        seen.append(len(networks_and_scoring[3]))
        return score_batch(*networks_and_scoring)

    monkeypatch.setattr("gannext.runtime.predictor.PIXELS_TOGETHER", 3 * 32 * 32)
    for module in ("detector", "score"):
        monkeypatch.setattr(f"gannext.detection.{module}.score_batch", score)
    assert [p.score for p in detector.predict(PICTURES)] == pytest.approx(expected, rel=1e-5)
    assert seen == 12 * [3] + [1]
    seen.clear()
    assert gannext("evaluate", detector_file).out == accuracy and max(seen) == 3
    seen.clear()
    options = ("--data-root", parts, "--budget", "1e9", "--batch-size", 16, *SMALL, "--output", tmp_path)
    outcome = gannext("train", *options)  # which calibrates, measures, and draws pictures of eight images
    assert outcome.code == 0 and {n for n in seen if n > 3} == {8}, outcome.err


def test_every_kind_of_input_scores_the_same(detector: Detector, tmp_path: Path) -> None:
    image = PICTURES[0]
    image.save(tmp_path / "0.png")
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    inputs = [tmp_path / "0.png", str(tmp_path / "0.png"), image, array, array / 255, tensor, tensor / 255]
    scores = [detector.predict(i)[0].score for i in inputs]
    scores += [detector.predict(i)[0].score for i in (tmp_path, array[None], tensor[None], [tensor])]
    assert max(scores) - min(scores) < 1e-6
    assert [p.image for p in detector.predict([tmp_path / "0.png", image])] == [str(tmp_path / "0.png"), "1"]


def test_reconstruction_on_demand(detector: Detector) -> None:
    assert detector.predict(PICTURES[0])[0].reconstruction is None
    reconstruction = detector.predict(PICTURES[0], reconstruct=True)[0].reconstruction
    assert reconstruction is not None and reconstruction.shape == (32, 32, 3) and reconstruction.dtype == np.uint8


def test_an_unreadable_file_is_a_row_and_the_others_get_theirs(detector: Detector, tmp_path: Path) -> None:
    for i in range(5):
        PICTURES[i].save(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_bytes(b"broken")
    rows = detector.predict(tmp_path, batch_size=2)
    assert [row.verdict == "error" for row in rows] == [False, False, True, False, False]
    assert "2.png" in str(rows[2].error) and rows[3].score == pytest.approx(detector.predict(PICTURES[3])[0].score)


def test_a_gpu_that_is_not_there_is_a_sentence(
    detector_file: Path, gannext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    PICTURES[0].save(tmp_path / "0.png")
    outcome = gannext("predict", detector_file, tmp_path / "0.png", "--device", "gpu")
    assert outcome.code == 2 and "no CUDA GPU" in outcome.err and outcome.err.count("\n") == 1


def test_nonsense_is_refused(detector: Detector) -> None:
    for bad in (3, [None], np.zeros((2, 2, 2), np.uint8), torch.full((3, 8, 8), 7.0)):
        with pytest.raises(InputError):
            detector.predict(bad)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="batch size"):
        detector.predict(PICTURES, batch_size=0)


def test_saving_and_loading_keeps_everything(detector: Detector, tmp_path: Path) -> None:
    detector.save(tmp_path / "copy")
    copy = Detector.load(tmp_path / "copy")
    assert copy.config == detector.config and copy.scoring == detector.scoring
    assert copy.calibration == detector.calibration and copy.provenance == detector.provenance
    assert copy.predict(PICTURES) == detector.predict(PICTURES)


def test_the_file_is_safetensors_and_json_with_its_origin(detector_file: Path) -> None:
    with zipfile.ZipFile(detector_file) as archive:
        assert sorted(archive.namelist()) == ["metadata.json", "sha256.json", "weights.safetensors"]
        metadata = json.loads(archive.read("metadata.json"))
    assert metadata["provenance"]["recipe"]["name"] == "published" and metadata["provenance"]["trained_on"] == 70
    assert len(metadata["calibration"]["scores"]) == 50 and metadata["threshold"] > 0


def repacked(source: Path, target: Path, **parts: bytes) -> Path:
    """A copy of a detector's file with some parts replaced, named by their stem."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, parts.get(name.split(".")[0], old.read(name)))
    return target


def metadata_of(source: Path, **changes: object) -> bytes:
    with zipfile.ZipFile(source) as archive:
        return json.dumps({**json.loads(archive.read("metadata.json")), **changes}).encode()


def truncated(source: Path, target: Path) -> Path:
    target.write_bytes(source.read_bytes()[:-3000])
    return target


def encrypted(source: Path, target: Path) -> Path:
    """As if every entry had a password: bit 0 of the flags, in the entries' own headers and in the directory."""
    return with_field(source, target, {b"PK\x03\x04": 6, b"PK\x01\x02": 8}, 1)


def strangely_packed(source: Path, target: Path) -> Path:
    """As if every entry were compressed by a method that nobody knows."""
    return with_field(source, target, {b"PK\x03\x04": 8, b"PK\x01\x02": 10}, 77)


def with_field(source: Path, target: Path, offsets: dict[bytes, int], value: int) -> Path:
    """A copy of a zip with one byte of each header set, at an offset that depends on the kind of header."""
    content = bytearray(source.read_bytes())
    with zipfile.ZipFile(source) as archive:
        starts = [entry.header_offset for entry in archive.infolist()]
        place = archive.start_dir
    while content[place : place + 4] == b"PK\x01\x02":
        starts.append(place)
        lengths = content[place + 28 : place + 34]
        place += 46 + sum(int.from_bytes(lengths[i : i + 2], "little") for i in (0, 2, 4))
    for start in starts:
        content[start + offsets[bytes(content[start : start + 4])]] = value
    target.write_bytes(content)
    return target


def flipped(source: Path, target: Path) -> Path:
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    return target


def lower_threshold(source: Path, target: Path) -> Path:
    return repacked(source, target, metadata=metadata_of(source, calibration={"scores": [1e9], "fpr": 0.5}))


def newer(source: Path, target: Path) -> Path:
    return repacked(source, target, metadata=metadata_of(source, format_version=99, gannext_version="9.0"))


def of_another_score(source: Path, target: Path) -> Path:
    """As another version's file, whose score has a part that this version does not know; its checksums are right."""
    metadata = metadata_of(source, scoring={"kind": "neighbours", "shape": 1.0}, gannext_version="0.0.1")
    with zipfile.ZipFile(source) as archive:
        weights = archive.read("weights.safetensors")
    sums = {"metadata.json": hashlib.sha256(metadata).hexdigest(), "weights.safetensors": hashlib.sha256(weights).hexdigest()}
    return repacked(source, target, metadata=metadata, sha256=json.dumps(sums).encode())


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/gannext-was-exploited",)


def a_pickle(source: Path, target: Path) -> Path:
    target.write_bytes(pickle.dumps(Exploit()))
    return target


def a_torch_file(source: Path, target: Path) -> Path:
    torch.save({"state": Exploit()}, target)
    return target


def a_picture(source: Path, target: Path) -> Path:
    PICTURES[0].save(target, "PNG")
    return target


def nothing(source: Path, target: Path) -> Path:
    return target


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncated, "cut short"),
        (flipped, "damaged"),
        (encrypted, "damaged (File 'metadata.json' is encrypted"),
        (strangely_packed, "damaged (That compression method is not supported"),
        (lower_threshold, "altered"),
        (newer, "upgrade gannext"),
        (of_another_score, "made by gannext 0.0.1"),
        (a_pickle, "pickle"),
        (a_torch_file, "pickle"),
        (a_picture, "no GanNeXt detector"),
        (nothing, "does not exist"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(
    spoil: Callable[[Path, Path], Path], words: str, detector_file: Path, tmp_path: Path, gannext: Command
) -> None:
    marker = Path("/tmp/gannext-was-exploited")
    marker.unlink(missing_ok=True)
    PICTURES[0].save(tmp_path / "0.png")
    outcome = gannext("predict", spoil(detector_file, tmp_path / "spoilt.gannext"), tmp_path / "0.png")
    assert outcome.code == 2 and words in outcome.err and "spoilt.gannext" in outcome.err
    assert outcome.err.count("\n") == 1 and outcome.out == ""
    assert not marker.exists()


def full_disk() -> None:
    """In a new process: no file may grow beyond 20,000 bytes, so that writing stops halfway with an OSError."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_full_disk_leaves_the_old_file(trained: Path, tmp_path: Path) -> None:
    """Resuming a run that is complete has nothing to train and saves its detector again."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    done = subprocess.run(
        [sys.executable, "-m", "gannext.cli.main", "train", "--resume", str(run)],
        capture_output=True, text=True, check=False, preexec_fn=full_disk,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "detector.gannext could not be written" in done.stderr and done.stderr.count("\n") == 1
    assert (run / "detector.gannext").read_bytes() == (trained / "detector.gannext").read_bytes()
    assert not list(run.glob(".*"))  # and no half of a file lies about


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, gannext, gannext.runtime, gannext.cli.main; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_it_also_works_at_one_channel_and_not_square(detector: Detector) -> None:
    from dataclasses import replace

    config = replace(detector.config, channels=1, size=(32, 48))
    grey = Detector(config, config.build_generator(), config.build_discriminator(), detector.scoring, detector.calibration)
    image = io.BytesIO()
    PICTURES[0].save(image, "PNG")
    row = grey.predict(Image.open(image), reconstruct=True)[0]
    assert row.reconstruction is not None and row.reconstruction.shape == (32, 48, 1)


def test_a_score_that_is_no_number_is_an_error_and_no_verdict(detector_file: Path) -> None:
    detector = Detector.load(detector_file)
    with torch.no_grad():
        next(detector.generator.parameters()).fill_(float("nan"))
    large = picture(1).resize((80, 80))
    whole = detector.predict(picture(1))[0]
    detector.tiling = Tiling(32)
    tiled = detector.predict(large)[0]
    for found in (whole, tiled):
        assert found.verdict == "error" and found.score is None and "nan" in str(found.error)
