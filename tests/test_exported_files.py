"""What is refused of exported files, in one sentence; and the runtime alone, without torch."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from conftest import Command, picture
from gannext import Detector
from gannext.detection import export_detector
from gannext.runtime import Exported, InputError, read_exported
from gannext.runtime.sealed import seal_graph
from test_export import noise, random_detector, saved

ROOT = Path(__file__).parent.parent


def cut(content: bytes) -> bytes:
    return content[:-100]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def threshold_moved(content: bytes) -> bytes:
    return content.replace(b'"fpr": 0.05', b'"fpr": 0.15', 1)


def extended(content: bytes) -> bytes:
    return content + content[:1000]


def newer(content: bytes) -> bytes:
    return seal_graph(b"\x08\x0a\x12\x07gannext", {"format": "gannext-export", "format_version": 99, "gannext_version": "9.0"})


def others(content: bytes) -> bytes:
    import onnx

    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    return bytes(onnx.helper.make_model(graph).SerializeToString())


def no_graph(content: bytes) -> bytes:
    return seal_graph(b"\x08\x0a\x12\x07gannext", {"format": "gannext-export", "format_version": 1, "precision": "fp32"})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut, "cut short"),
        (flipped, "altered"),
        (threshold_moved, "altered"),
        (extended, "cut short or was altered"),
        (newer, "upgrade gannext"),
        (others, "no file of `gannext export`"),
        (no_graph, "cannot be run here"),
        (lambda _: b"", "no file of `gannext export`"),
        (lambda _: b"\x89PNG", "no file of `gannext export`"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(
    spoil: Callable[[bytes], bytes], words: str, exported_file: Path, gannext: Command, tmp_path: Path
) -> None:
    picture(0).save(tmp_path / "0.png")
    (tmp_path / "spoilt.onnx").write_bytes(spoil(exported_file.read_bytes()))
    outcome = gannext("predict", tmp_path / "spoilt.onnx", tmp_path / "0.png")
    assert outcome.code == 2 and words in outcome.err and "spoilt.onnx" in outcome.err, outcome.err
    assert outcome.err.count("\n") == 1 and outcome.out == ""


def test_openvino_s_two_files_belong_together(gannext: Command, tmp_path: Path) -> None:
    picture(0).save(tmp_path / "0.png")
    detector = random_detector("ganomaly")
    path = saved(export_detector(detector, openvino=True), tmp_path / "d.xml")
    xml, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    assert read_exported(path).metadata["provenance"] == {"origin": "nowhere"}
    for bad_xml, bad_weights, words in (
        (cut(xml), weights, "cut short or was altered"),
        (xml, cut(weights), "cut short or was altered"),
        (xml, flipped(weights), "cut short or was altered"),
        (b"<net/>", weights, "no metadata of ours"),
    ):
        path.write_bytes(bad_xml)
        path.with_suffix(".bin").write_bytes(bad_weights)
        outcome = gannext("predict", path, tmp_path / "0.png")
        assert outcome.code == 2 and words in outcome.err and outcome.err.count("\n") == 1, outcome.err
    path.write_bytes(xml)
    path.with_suffix(".bin").unlink()
    outcome = gannext("predict", path, tmp_path / "0.png")
    assert outcome.code == 2 and "not beside it" in outcome.err


@pytest.mark.usefixtures("traced_once")
def test_what_cannot_be_done_is_a_sentence(
    exported_file: Path, detector_file: Path, gannext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "0.png"
    picture(0).save(image)
    (tmp_path / "file").touch()
    cases: list[tuple[tuple[object, ...], str]] = [
        (("export", image), "no GanNeXt detector"),
        (("export", exported_file), "name the detector that it was exported from"),
        (("export", tmp_path / "none.gannext"), "does not exist"),
        (("export", detector_file, "-o", tmp_path / "file" / "x.onnx"), "could not be written"),
        (("export", detector_file, "-o", tmp_path / "x.pt"), "end it in .onnx or .xml"),
        (("export", detector_file, "-o", tmp_path / "x.onnx", "--format", "openvino"), "end it in .xml"),
        (("export", detector_file, "--precision", "bf16", "-o", tmp_path / "x.onnx"), "export to .xml"),
        (("evaluate", exported_file), "can only predict and be calibrated"),
        (("predict", tmp_path / "none.onnx", image), "does not exist"),
        (("predict", exported_file, image, "--device", "gpu"), "runs on the CPU"),
        (("predict", detector_file, image, "--engine", "openvino"), "no exported file"),
    ]
    for arguments, words in cases:
        outcome = gannext(*arguments)
        assert outcome.code == 2 and words in outcome.err and outcome.err.count("\n") == 1, outcome.err
    monkeypatch.setitem(sys.modules, "openvino", None)
    for arguments in (
        ("predict", exported_file, image, "--engine", "openvino"),
        ("export", detector_file, "--format", "openvino", "-o", tmp_path / "x.xml"),
    ):
        outcome = gannext(*arguments)
        assert outcome.code == 2 and "openvino is not installed" in outcome.err and outcome.err.count("\n") == 1
    exported = Exported.load(exported_file)
    for bad in (noise(32, 32, 2), noise(32, 32, 5)):
        with pytest.raises(InputError, match="is no image"):
            exported.predict(bad)
    with pytest.raises(InputError, match=r"a tensor of shape \(32, 40, 3\) is no image: .*channels first"):
        exported.predict(torch.from_numpy(noise(32, 40, 3)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    outcome = gannext("predict", exported_file, image)
    assert outcome.code == 1 and "million pixels" in outcome.out


def test_judging_by_an_exported_file_imports_no_torch(exported_file: Path, parts: Path) -> None:
    code = (
        "import sys; from gannext.cli.main import main; code = main(sys.argv[1:]);"
        "print(sorted({'torch', 'scipy', 'onnx', 'tqdm'} & set(sys.modules)) if code == 0 else code)"
    )
    arguments = ["predict", str(exported_file), str(parts / "test" / "1.abnormal")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] in ("[]", "['tqdm']"), done.stdout


@pytest.mark.slow
def test_the_runtime_alone(
    exported_file: Path, detector_file: Path, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new environment with `pip install .` and nothing else."""
    environment = tmp_path / "edge"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    source = tmp_path / "source"
    subprocess.run(["cp", "-r", ROOT / "src", ROOT / "pyproject.toml", ROOT / "README.md", ROOT / "LICENSE", "."],
                   cwd=make_folder(source), check=True)  # fmt: skip
    subprocess.run([python, "-m", "pip", "install", "--quiet", source], check=True)
    size = sum(file.stat().st_size for file in environment.rglob("*") if file.is_file() and not file.is_symlink())
    with capsys.disabled():
        print(f"\nthe environment without extras takes {size / 1e6:.0f} MB")

    def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [str(a) for a in arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"})

    for package in ("torch", "scipy", "onnx", "tqdm", "yaml"):
        assert run(python, "-c", f"import {package}").returncode == 1
    gannext = environment / "bin" / "gannext"
    done = run(gannext, "predict", exported_file, parts / "test", "--maps", "maps", "--report", "r.html", "--output", "r.csv")
    assert done.returncode == 0, done.stderr
    rows = Detector.load(detector_file).predict(parts / "test")
    assert [line.split()[-1] for line in done.stdout.splitlines()[1:]] == [row.verdict for row in rows]
    assert (tmp_path / "maps" / "regions.json").exists() and (tmp_path / "r.html").exists()
    done = run(gannext, "calibrate", exported_file, parts / "test" / "0.normal", "-o", "anew.onnx")
    assert done.returncode == 0 and run(gannext, "predict", "anew.onnx", parts / "test").returncode == 0, done.stderr
    for arguments, words in (
        (("predict", detector_file, parts / "test"), "gannext export"),
        (("train",), "gannext[train]"),
        (("predict", exported_file, parts, "--engine", "openvino"), "gannext[openvino]"),
        (("predict", "--config", "x.yaml", exported_file, parts), "PyYAML"),
    ):
        done = run(gannext, *arguments)
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr
    for name in ("Detector", "train"):
        done = run(python, "-c", f"import gannext; gannext.{name}")
        assert done.returncode == 1 and "takes torch" in done.stderr and "gannext[train]" in done.stderr, done.stderr


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path
