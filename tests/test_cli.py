"""The command line: help, options, YAML, results, the original's commands, and every kind of bad input."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from conftest import ROOT, SMALL, TINY_NETWORKS, Command, picture, shell, write_pictures
from gannext import Detector
from gannext.cli.main import COMMANDS, run_command
from gannext.data import DATASETS
from test_data import write_cifar10, write_idx


def test_help_of_everything(gannext: Command) -> None:
    overview = gannext("-h")
    assert overview.code == 0 and all(name in overview.out for name in COMMANDS)
    for name in COMMANDS:
        outcome = gannext(name, "-h")
        assert outcome.code == 0 and "usage: gannext" in outcome.out
    text = " ".join(gannext("train", "-h").out.split())
    assert all(name in text for name in DATASETS)
    assert gannext("--version").out.startswith("gannext 0.")
    assert gannext().out == overview.out


def test_original_names_are_aliases(gannext: Command) -> None:
    text = gannext("train", "-h").out
    flags = (
        "--niter --isize --batchsize --abnormal_class --outf --manualseed --lr --beta1 --w_adv --w_con --w_lat --nz --ngf "
        "--ndf --dim --gen --norm --workers --resume --device --gpu_ids --dataset --dataroot --display --nc"
    )
    for flag in flags.split():
        assert f"{flag} " in text or f"{flag}," in text, flag


def test_original_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "usage: train.py" in shell(sys.executable, "train.py", "-h").stdout
    write_cifar10(tmp_path / "data", monkeypatch)
    monkeypatch.chdir(tmp_path)
    original = "--dataset cifar10 --niter 1 --abnormal_class airplane --display"
    small = [*SMALL, "--batchsize", "32"]
    assert run_command("train", ["--recipe", "published", *original.split(), *small], "train.py") == 0
    out = capsys.readouterr().out
    assert "'airplane' left out" in out and "http://localhost:" in out
    run = next((tmp_path / "output" / "gannext" / "cifar10").iterdir())
    assert list((run / "tensorboard").glob("events.*")) and (run / "detector.gannext").exists()


def test_original_command_on_a_folder(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.copytree(parts, tmp_path / "data" / "parts")
    original = "--dataset parts --isize 48 --niter 1 --display"
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", *original.split(), "--batchsize", "32", *SMALL],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "20 normal and 10 abnormal to test" in done.stdout and "http://localhost:" in done.stdout
    config = yaml.safe_load(next(tmp_path.rglob("config.yaml")).read_text())
    assert config["image_size"] == "48x48" and config["recipe"] == "published"


def test_experiment_scripts_run_the_benchmark(tmp_path: Path) -> None:
    for name, dataset in (("cifar", "cifar10"), ("stl10", "stl10"), ("mnist", "mnist")):
        assert f"--dataset {dataset} --preset paper" in (ROOT / "experiments" / f"run_{name}.sh").read_text()
    write_idx(tmp_path / "data" / "MNIST" / "raw")
    done = shell(
        "sh", "experiments/run_mnist.sh", "--dataroot", tmp_path / "data", "--outf", tmp_path, "--batchsize", 32, "--dim", 4,
        "--seeds", 0, NITER="1", CLASSES="3,7", MODELS="gannext,knn", PYTHON=sys.executable,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "4 cells, 0 of them finished" in done.stdout and done.stdout.count("AUROC ") == 4


def test_yaml_stands_for_flags_and_flags_win(gannext: Command, parts: Path, tmp_path: Path) -> None:
    options = {"data_root": str(parts), "epochs": 1, "batch-size": 16, "depths": [1, 1], "dim": 4, "ndf": 8, "niter": 1}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(options))
    outcome = gannext("train", "--config", tmp_path / "c.yaml", "--output", tmp_path, "--nz", 12, "--dim", 6, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    written = yaml.safe_load(next(tmp_path.rglob("config.yaml")).read_text())
    assert (written["dim"], written["nz"], written["depths"], written["epochs"]) == (6, 12, "1,1", 1)
    again = gannext("train", "--config", next(tmp_path.rglob("config.yaml")))
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("text", "words"),
    [("epoch: 3", "did you mean 'epochs'"), ("- 1", "no list of options"), ("a: [", "cannot be read as YAML"), (None, "exist")],
)
def test_bad_yaml(text: str | None, words: str, gannext: Command, tmp_path: Path) -> None:
    if text:
        (tmp_path / "c.yaml").write_text(text)
    outcome = gannext("train", "--config", tmp_path / "c.yaml")
    assert outcome.code == 2 and words in outcome.err and "c.yaml" in outcome.err and outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("trian", "did you mean 'train'"),
        ("train --epoch 3", "did you mean '--epochs'"),
        ("train stray", "belongs to no option"),
        ("train --epochs 0", "1 or more"),
        ("train --epochs many", "no whole number"),
        ("train --image-size 16", "from 32 to 1024 work, and 32 is the nearest"),
        ("train --image-size 2000", "1024 is the nearest"),
        ("train --image-size 3x3x3", "no image size"),
        ("train --kernel 4", "even"),
        ("train --depths 2,0", "no list of depths"),
        ("train --fpr 1", "between 0 and 1"),
        ("train --channels 2", "invalid choice"),
        ("train --model resnet", "the known ones are gannext"),
        ("train --model skipganomaly --kernel 7", "has no option 'kernel'"),
        ("train --model anotrans --dim 10", "a multiple of 4"),
        ("train --recipe robuts", "did you mean 'robust'"),
        ("train --dataset cifar", "did you mean 'cifar10'"),
        ("train --dataset digits --abnormal-class ten", "the known ones are 0, 1, 2"),
        ("train --dataset digits --abnormal-class 11", "the known ones are 0, 1, 2"),
        ("train --dataset fashion_mnist --abnormal-class sneeker", "did you mean 'sneaker'"),
        ("train --dataset digits --device gpu", "no CUDA GPU"),
        ("train --dataset digits --gpu-ids 0", "no CUDA GPU"),
        ("profile --device gpu", "no CUDA GPU"),
        ("train --gpu-ids a", "no list of GPUs"),
        ("train --dataset digits --device cpu --precision 16-mixed", "needs a GPU"),
        ("train --dataset digits --recipe published --train-images 20", "--batch-size"),
        ("predict nothing.gannext .", "holds no image"),
        ("demo textiles", "the known ones are digits"),
        ("profile --image-size 8", "32 is the nearest"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: str, words: str, gannext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    outcome = gannext(*arguments.split())
    assert outcome.code == 2 and words in outcome.err, outcome.err
    assert outcome.err.count("\n") == 1 and "Traceback" not in outcome.err


def test_large_images_are_not_shrunk_in_silence(gannext: Command, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    for i in range(60):
        picture(i, side=90).save(folder / f"{i:03d}.png")
    options = ("train", "--data-root", folder, "--epochs", 1, "--batch-size", 10, *SMALL, "--output", tmp_path)
    for size, noted in (((), True), (("--image-size", 32), False)):
        outcome = gannext(*options, *size)
        assert outcome.code == 0, outcome.err
        assert ("90x90, are shrunk to 32x32" in outcome.err and "--image-size" in outcome.err) is noted, outcome.err


def test_pictures_of_a_folder_choose_the_size_that_they_are_looked_at_in(gannext: Command, tmp_path: Path) -> None:
    """Of their own shape, and as large as a training of minutes allows; a run goes on in that size, by what was chosen."""
    for name, size in (("wide", (400, 300)), ("small", (70, 50)), ("tiny", (8, 9))):
        (tmp_path / name).mkdir()
        for i in range(8):
            picture(i, side=16).resize(size).save(tmp_path / name / f"{i:03d}.png")
    options = ("--recipe", "robust-textures", "--budget", "1e8", "--device", "cpu", "--output", tmp_path / "runs")
    for name, size in (("wide", "112x144"), ("small", "48x64"), ("tiny", "32x32")):
        outcome = gannext("train", "--data-root", tmp_path / name, *options)
        assert outcome.code == 0 and f"on images of {size}" in outcome.out, outcome.err
        assert outcome.out.count("images/s  ") == outcome.out.count(" left\n") > 0  # each epoch says how long the rest takes
        assert ("300x400, are shrunk to 112x144" in outcome.err) is (name == "wide"), outcome.err
        run = next((tmp_path / "runs" / "gannext" / name).iterdir())
        assert yaml.safe_load((run / "config.yaml").read_text())["image_size"] == size
    outcome = gannext("train", "--resume", run, "--recipe", "robust", "--device", "cpu")
    assert outcome.code == 0, outcome.err
    outcome = gannext("train", "--resume", run, "--recipe", "robust-objects", "--device", "cpu")
    assert outcome.code == 2 and "was started with --recipe robust-textures" in outcome.err


def test_bad_folders(gannext: Command, parts: Path, tmp_path: Path) -> None:
    cases: list[tuple[list[object], str]] = []
    (tmp_path / "empty" / "train" / "good").mkdir(parents=True)
    cases.append((["--data-root", tmp_path / "empty"], "no images to train on"))
    write_pictures(tmp_path / "one" / "train" / "good", 1)
    cases.append((["--data-root", tmp_path / "one"], "too few"))
    write_pictures(tmp_path / "few" / "train" / "good", 10)
    cases.append((["--data-root", tmp_path / "few"], "fewer than a batch of 128"))
    (tmp_path / "broken" / "train" / "good").mkdir(parents=True)
    (tmp_path / "broken" / "train" / "good" / "a.png").write_bytes(b"x")
    cases.append((["--data-root", tmp_path / "broken"], "none of the 1 training images"))
    cases.append((["--data-root", tmp_path / "absent"], "is not a folder"))
    cases.append((["--data-root", parts, "--abnormal-class", "3"], "has no meaning"))
    for arguments, words in cases:
        outcome = gannext("train", *arguments, "--output", tmp_path / "output", *SMALL)
        assert outcome.code == 2 and words in outcome.err and outcome.err.count("\n") == 1, outcome.err
        assert not (tmp_path / "output").exists()


def test_no_permission_to_write(gannext: Command, parts: Path, tmp_path: Path) -> None:
    """A file where the output folder should go stands for a place that may not be written, for root too."""
    (tmp_path / "output").touch()
    outcome = gannext("train", "--data-root", parts, *SMALL, "--batch-size", 16, "--epochs", 1, "--output", tmp_path / "output")
    assert outcome.code == 2 and "cannot be made" in outcome.err and outcome.err.count("\n") == 1, outcome.err


def test_normal_images_alone_train_and_calibrate(gannext: Command, tmp_path: Path) -> None:
    write_pictures(tmp_path / "good", 30)
    (tmp_path / "good" / "bad.png").write_bytes(b"")
    outcome = gannext(
        "train", "--data-root", tmp_path / "good", "--batch-size", 8, "--epochs", 1, *SMALL, "--output", tmp_path / "o"
    )
    assert outcome.code == 0, outcome.err
    assert "nothing to measure accuracy on" in outcome.out
    assert "bad.png" in outcome.err and "1 unreadable file was skipped" in outcome.err
    assert "15 held-out normal images cannot promise a false-positive rate of 0.05" in outcome.err
    detector = next(tmp_path.rglob("detector.gannext"))
    assert gannext("predict", detector, tmp_path / "good" / "000.png").code == 0
    outcome = gannext("evaluate", detector)
    assert outcome.code == 2 and "no images to test on" in outcome.err


@pytest.mark.parametrize("model", ["skipganomaly", "ganomaly", "anotrans"])
def test_the_peers_train_and_predict_by_the_same_commands(model: str, gannext: Command, parts: Path, tmp_path: Path) -> None:
    options = ["--data-root", parts, "--model", model, "--dim", 8, "--ndf", 8, "--batch-size", 16, "--epochs", 1]
    outcome = gannext("train", *options, "--device", "cpu", "--output", tmp_path)
    assert outcome.code == 0 and "AUROC  " in outcome.out, outcome.err
    outcome = gannext("predict", next((tmp_path / model).rglob("detector.gannext")), parts / "test" / "1.abnormal")
    assert outcome.code == 0 and len(outcome.out.splitlines()) == 11


def test_profile_prints_the_published_sizes(gannext: Command, tmp_path: Path) -> None:
    outcome = gannext("profile", "--seconds", 0)
    assert outcome.code == 0 and "7,216,763" in outcome.out and "104,215,040" in outcome.out and "17,974,148" in outcome.out
    timed = gannext("profile", *TINY_NETWORKS[:-2], "--seconds", 0.1, "--batch-sizes", "1,4")
    assert "images/s, batch 1" in timed.out and "images/s, batch 4" in timed.out
    table = gannext("profile", "--compare", "--seconds", 0, "--output", tmp_path / "sizes.csv").out
    assert "58.2 % fewer" in table and all(
        n in table for n in ("7,216,763", "16,659,075", "12,536,116", "249,111,552", "3,206,528", "663,296")
    )


TOGETHER = """
import sys
import torch
from dataclasses import replace
from gannext.cli.main import main
from gannext.training import RECIPES, GanModule

def save(self):
    ended(self)
    torch.save(dict(self.named_parameters()), f"{sys.argv[1]}/{self.global_rank}.pt")

ended, GanModule.on_train_end = GanModule.on_train_end, save
RECIPES["published"] = replace(RECIPES["published"], restart_below=100.0)  # a new discriminator after each step
sys.exit(main(sys.argv[2:]))
"""


def test_several_devices_train_together(parts: Path, tmp_path: Path) -> None:
    """They print and save once, and end with the same weights, though they saw other images and drew other numbers."""
    (tmp_path / "together.py").write_text(TOGETHER)
    done = shell(
        sys.executable, tmp_path / "together.py", tmp_path, "train", "--data-root", parts, "--epochs", 2, "--batch-size", 16,
        "--devices", 2, "--output", tmp_path, *SMALL, OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Data: ") == 1 and done.stdout.count("AUROC  ") == 1
    detector = Detector.load(next(tmp_path.rglob("detector.gannext")))
    assert detector.provenance["steps"] == 2 * (detector.provenance["trained_on"] // 32)
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(one["generator.stem_in.0.weight"], detector.generator.state_dict()["stem_in.0.weight"])


def test_a_folder_named_like_a_data_set_is_still_one_s_own(parts: Path, gannext: Command, tmp_path: Path) -> None:
    shutil.copytree(parts, tmp_path / "digits")
    outcome = gannext(
        "train", "--data-root", tmp_path / "digits", "--epochs", 1, "--batch-size", 16, *SMALL, "--gpu-ids", -1,
        "--output", tmp_path / "o",
    )  # fmt: skip
    assert outcome.code == 0 and "Data: digits-folder: 70 normal images" in outcome.out, outcome.err
    run = next(tmp_path.rglob("config.yaml")).parent
    outcome = gannext("train", "--resume", run, "--epochs", 2, "--fpr", 0.05)
    assert outcome.code == 0 and "epoch 2/2" in outcome.out and "Data: digits-folder: 70" in outcome.out, outcome.err
    assert "images/s  0 s left" in outcome.out  # what the run took before it went on does not count
    for options in ((), ("--data-root", tmp_path / "digits")):
        outcome = gannext("evaluate", run / "detector.gannext", *options)
        assert outcome.code == 0 and "20 normal and 10 abnormal" in outcome.out, outcome.err


def test_resuming_takes_an_option_that_is_given_at_its_default(parts: Path, gannext: Command, tmp_path: Path) -> None:
    options = ("--data-root", parts, "--epochs", 1, "--batch-size", 16, *SMALL, "--output", tmp_path)
    assert gannext("train", *options, "--fpr", 0.1).code == 0
    assert gannext("train", *options, "--resume").code == 0
    assert Detector.load(next(tmp_path.rglob("detector.gannext"))).calibration.fpr == 0.1
    assert gannext("train", *options, "--resume", "--fpr", 0.05).code == 0
    assert Detector.load(next(tmp_path.rglob("detector.gannext"))).calibration.fpr == 0.05
    outcome = gannext("train", *options, "--resume", "--devices", 2)
    assert outcome.code == 2 and "trained on 1 devices, not 2" in outcome.err


def test_options_that_would_do_nothing_are_refused(gannext: Command, detector_file: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (["demo", "--budget", 1], "demo textures"),
        (["demo", "textures", "--abnormal-class", 1], "demo digits"),
        (["profile", "--compare", "--dim", 8], "leave out --dim"),
        (["profile", "--batch-sizes", "a"], "no list of batch sizes"),
        (["export", detector_file, "--images", tmp_path, "-o", tmp_path / "x.onnx"], "--images is for"),
        (["predict", detector_file, tmp_path, "--map-format", "npy"], "pass --maps"),
        (["predict", detector_file, tmp_path, "--pixel-fpr", 1e-7], "out of range"),
        (["benchmark", "--models", "knn/robust"], "has no recipe"),
    ):
        outcome = gannext(*arguments)
        assert outcome.code == 2 and words in outcome.err and outcome.err.count("\n") == 1, (arguments, outcome.err)
