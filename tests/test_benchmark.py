"""The benchmark through its command: its table, going on, failing cells, damaged tables, and the floors."""

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import Command, write_pictures
from gannext.data.textures import make_textures
from gannext.evaluation import FLOORS
from gannext.evaluation.benchmark import run_cell, threads_of_each
from gannext.runtime import as_option
from test_data import write_cifar10, write_stl10

TINY = ["--dataset", "digits", "--dim", "4", "--batch-size", "32", "--budget", "2e10", "--device", "cpu"]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small benchmark: a GAN and two floors, two classes, one seed, the honest protocol alone."""
    from gannext.cli.main import main

    folder = tmp_path_factory.mktemp("benchmark")
    options = ["--models", "ganomaly,knn,brightness", "--classes", "0,3", "--protocols", "honest"]
    assert main(["benchmark", *TINY, *options, "--output", str(folder)]) == 0
    return folder


def test_a_row_a_cell_with_the_command_that_makes_it_again(finished: Path, gannext: Command, tmp_path: Path) -> None:
    rows = table(finished)
    assert [(r["model"], r["abnormal_class"]) for r in rows] == [
        (model, c) for model in ("ganomaly", "knn", "brightness") for c in "03"
    ]  # fmt: skip
    assert all(r["status"] == "ok" and 0 < float(r["auroc"]) < 1 and r["test_normal"] != "" for r in rows)
    assert float(rows[0]["macs"]) <= 2e10 < float(rows[0]["macs"]) * 1.5 and float(rows[0]["train_seconds"]) > 0
    assert float(rows[2]["auroc"]) > 0.9  # nearest neighbours know a digit that they have never seen

    gan, floor = rows[1], rows[3]
    outcome = gannext(*shlex.split(gan["command"])[1:], "--device", "cpu", "--output", tmp_path)
    assert outcome.code == 0
    evaluation = json.loads(next(tmp_path.rglob("evaluation.json")).read_text())["honest"]
    # Equal but for rounding, which depends on the number of threads.
    assert float(gan["auroc"]) == pytest.approx(evaluation["auroc"], abs=0.02)
    assert floor["command"].startswith("gannext benchmark --models knn --classes 3 --seeds 0 --dataset digits")


def test_the_page_and_the_plots(finished: Path) -> None:
    page = (finished / "results.md").read_text()
    assert "`gannext benchmark --dataset digits --models ganomaly,knn,brightness" in page
    for row in table(finished):
        assert f"{float(row['auroc']):.3f}" in page
    assert (finished / "results.png").stat().st_size > 10_000
    assert "leak" not in page and not (finished / "leak.png").exists()


def test_it_goes_on_where_it_stopped(finished: Path, gannext: Command) -> None:
    """Nothing is run twice: a protocol more is measured on the weights that are there."""
    options = [*TINY, "--models", "ganomaly,knn,brightness", "--classes", "0,3", "--output", finished]
    outcome = gannext("benchmark", *options, "--protocols", "honest")
    assert outcome.code == 0 and "6 cells, 6 of them finished before" in outcome.out
    before = table(finished)
    logs = {path: path.read_text() for path in finished.glob("cells/ganomaly*/log.txt")}
    assert len(logs) == 2 and all("epoch" in text for text in logs.values())

    file = finished / "results.csv"
    file.write_text(file.read_text()[:-30])  # as if it had been cut off while it was copied
    outcome = gannext("benchmark", *options)
    assert outcome.code == 0 and "6 cells, 3 of them finished before" in outcome.out
    assert "last line" in outcome.err and "was cut off" in outcome.err
    after = table(finished)
    assert [r["auroc"] for r in after] == [r["auroc"] for r in before]
    assert after[0]["auroc_published"] != "" and after[0]["auroc_shuffled"] != "" and after[2]["auroc_published"] == ""
    assert {path: path.read_text() for path in logs} == logs  # no epoch was trained again
    assert "## The leak" in (finished / "results.md").read_text() and (finished / "leak.png").exists()


def test_other_settings_and_damage_are_refused(finished: Path, gannext: Command, tmp_path: Path) -> None:
    options = ["--models", "ganomaly", "--classes", "0", "--output", finished]
    outcome = gannext("benchmark", *TINY, *options, "--lr", "0.01")
    assert outcome.code == 2 and "made by `gannext train --model ganomaly" in outcome.err and "another --output" in outcome.err

    lines = (finished / "results.csv").read_text().splitlines()
    for text, sentence in (
        ("\n".join([*lines[:2], lines[2][:40], *lines[3:]]) + "\n", "is damaged in line 3"),
        ("a,b\n1,2\n", "is no table of this version"),
        (lines[0][:20], "is no table of this version"),
    ):
        (tmp_path / "results.csv").write_text(text)
        outcome = gannext("benchmark", *TINY, "--models", "knn", "--classes", "0", "--output", tmp_path)
        assert outcome.code == 2 and sentence in outcome.err
        assert (tmp_path / "results.csv").read_text() == text


def test_a_folder_of_data_sets_is_a_benchmark(gannext: Command, tmp_path: Path) -> None:
    """MVTec AD's layout, with masks: each data set in turn, in its images' own size, and how well defects' places are found."""
    for side, texture in ((64, "brick"), (80, "gravel")):
        make_textures(tmp_path / "surfaces" / texture, texture, 0, side=side, train=40, validation=20, good=20, each=4)
    shutil.copytree(tmp_path / "surfaces" / "brick" / "train", tmp_path / "surfaces" / "untested" / "train")
    options = ["--data-root", tmp_path / "surfaces", "--models", "gannext/robust,knn", *TINY[2:]]
    outcome = gannext("benchmark", *options, "--output", tmp_path / "results")
    assert outcome.code == 0, outcome.err
    rows = table(tmp_path / "results")
    assert [(r["model"], r["abnormal_class"]) for r in rows] == [
        (m, t) for m in ("gannext", "knn") for t in ("brick", "gravel")
    ]
    assert {r["dataset"] for r in rows} == {"surfaces"} and {r["test_abnormal"] for r in rows} == {"20"}
    assert [r["command"].split("--image-size ")[1].split()[0] for r in rows] == ["64x64", "80x80"] * 2
    page = (tmp_path / "results" / "results.md").read_text()
    assert page.startswith("# surfaces: each of its data sets") and "## Where the defects are" in page
    for gan in rows[:2]:
        assert 0 < float(gan["aupro"]) < 1 and f"{float(gan['pixel_auroc']):.3f} / " in page
    assert rows[2]["pixel_auroc"] == ""

    again = gannext(*shlex.split(rows[3]["command"])[1:], "--output", tmp_path / "again")
    assert again.code == 0 and table(tmp_path / "again")[0]["auroc"] == rows[3]["auroc"]
    assert f"gannext train --model gannext --recipe robust --data-root {tmp_path / 'surfaces' / 'gravel'}" in rows[1]["command"]
    shutil.rmtree(tmp_path / "surfaces" / "brick")
    outcome = gannext("benchmark", *options, "--output", tmp_path / "results")
    assert outcome.code == 0 and "2 cells, 2 of them finished before" in outcome.out and table(tmp_path / "results") == rows
    for wrong, sentence in (
        ("--classes=brik", "unknown data set in"),
        (f"--data-root={tmp_path / 'results'}", "nothing to compare"),
    ):
        outcome = gannext("benchmark", *options, wrong)
        assert outcome.code == 2 and sentence in outcome.err and outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--models gannex", "did you mean 'gannext'"),
        ("--models gannext/robbust", "unknown recipe 'robbust'"),
        ("--preset smok", "did you mean 'smoke'"),
        ("--protocols honnest", "did you mean 'honest'"),
        ("--classes 11", "unknown class of digits '11'"),
        ("--dataset parts", f"or put your own images into {Path('data', 'parts')}"),
        ("--data-root nowhere", "nowhere is not a folder"),
        ("--epochs 2 --budget 1e9", "leave one out"),
        ("--seeds 0,x", "'x' is no whole number"),
        ("--seeds 0,4294967296", "out of range: give from 0 to"),
    ],
)
def test_bad_options_are_one_sentence(options: str, sentence: str, gannext: Command, tmp_path: Path) -> None:
    outcome = gannext("benchmark", *options.split(), "--output", tmp_path / "new")
    assert outcome.code == 2 and sentence in outcome.err and outcome.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_cell_that_fails_is_a_row_and_the_others_finish(gannext: Command, tmp_path: Path) -> None:
    options = ["--models", "gannext,pca", "--classes", "0", "--train-images", "20", "--output", tmp_path]
    outcome = gannext("benchmark", *TINY, *options)
    gan, floor = table(tmp_path)
    assert outcome.code == 1 and "1 of the cells failed" in outcome.err
    assert gan["status"].startswith("failed: 20 images to train on are fewer than a batch") and gan["auroc"] == ""
    assert floor["status"] == "ok" and gan["status"] in (tmp_path / "results.md").read_text()


def test_what_cannot_be_tested_is_not_trained(gannext: Command, tmp_path: Path) -> None:
    write_pictures(tmp_path / "parts" / "train" / "good", 70)
    write_pictures(tmp_path / "parts" / "test" / "good", 4)
    folder = ("--data-root", tmp_path / "parts", "--models", "gannext/published,knn", "--output", tmp_path)
    assert gannext("benchmark", *folder, *TINY[2:]).code == 1
    reason = "failed: The test set holds no abnormal image, so there is no accuracy to measure"
    assert [row["status"] for row in table(tmp_path)] == [reason, reason]
    assert not list(tmp_path.rglob("detector.gannext"))


def test_a_number_keeps_the_digits_that_make_its_run() -> None:
    assert [as_option("lr", value) for value in (2e-4, 1e12, 1.23456789e12)] == ["0.0002", "1e+12", "1234567890000.0"]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker by Linux's /proc")
def test_a_killed_worker_and_ctrl_c_lose_one_cell_at_most(tmp_path: Path) -> None:
    """The first training's process is killed: a failed row. Ctrl-C in the second: it goes on from its checkpoint."""
    options = ["--dataset", "digits", "--dim", "4", "--epochs", "6", "--models", "ganomaly,knn", "--classes", "0,1"]
    command = [sys.executable, "-m", "gannext.cli.main", "benchmark", *options, "--device", "cpu", "--output", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def wait_for_epoch(abnormal_class: str) -> None:
        end = time.monotonic() + 120
        pattern = f"cells/ganomaly_{abnormal_class}_*/log.txt"
        while not any("epoch 2/6" in log.read_text() for log in tmp_path.glob(pattern)):
            assert time.monotonic() < end and process.poll() is None, process.communicate()
            time.sleep(0.02)

    wait_for_epoch("0")
    workers = [c for c in children(process.pid) if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]
    assert len(workers) == 1
    os.kill(workers[0], signal.SIGKILL)
    wait_for_epoch("1")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on from here" in err and "Traceback" not in err
    rows = {(r["model"], r["abnormal_class"]): r["status"] for r in table(tmp_path)}
    assert rows == {("ganomaly", "0"): "failed: its process was killed, most likely for want of memory", ("knn", "0"): "ok"}

    again = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0 and "4 cells, 1 of them finished before" in again.stdout
    assert {r["status"] for r in table(tmp_path)} == {"ok"} and len(table(tmp_path)) == 4
    epochs = next(tmp_path.glob("cells/ganomaly_1_*/log.txt")).read_text()
    assert epochs.count("epoch 1/6") == 1 and epochs.count("epoch 6/6") == 1


@pytest.mark.parametrize("dataset", ["cifar10", "stl10"])
def test_the_paper_s_setting_on_small_copies_of_its_data_sets(
    dataset: str, gannext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In their own file formats; the copies' checksums are known to this process alone, which therefore runs the cells."""
    {"cifar10": write_cifar10, "stl10": write_stl10}[dataset](tmp_path / "data", monkeypatch)
    monkeypatch.setattr("gannext.evaluation.run_cells", lambda s, cells, f, jobs: (run_cell(s, c, f) for c in cells))
    options = ["--epochs", 1, "--dim", 4, "--batch-size", 32, "--models", "gannext,skipganomaly,pca", "--classes", "ship"]
    outcome = gannext(
        "benchmark", "--dataset", dataset, "--preset", "paper", "--data-root", tmp_path / "data", "--output", tmp_path, *options
    )
    assert outcome.code == 0, outcome.err
    rows = table(tmp_path)
    assert len(rows) == 9 and {r["seed"] for r in rows} == {"0", "1", "2"} and {r["status"] for r in rows} == {"ok"}
    assert "--channels 3" in rows[0]["command"]
    page = (tmp_path / "results.md").read_text()
    assert " ± " in page and ("Skip-GANomaly paper (IJCNN 2019), not measured here" in page) == (dataset == "cifar10")


@pytest.mark.slow
def test_the_smoke_preset_on_fashion_mnist(gannext: Command, tmp_path: Path) -> None:
    """Every model and every floor, on the real images."""
    outcome = gannext(
        "benchmark", "--dataset", "fashion_mnist", "--preset", "smoke", "--data-root", tmp_path, "--output", tmp_path
    )
    rows = table(tmp_path)
    assert outcome.code == 0 and len(rows) == 18 and {r["status"] for r in rows} == {"ok"}
    bags = {r["model"]: float(r["auroc"]) for r in rows if r["abnormal_class"] == "bag"}
    assert bags["knn"] > 0.9 and bags["pca"] > 0.85 and set(FLOORS) < set(bags)


def test_floors_find_what_is_far_from_all_they_know() -> None:
    rng = np.random.default_rng(0)
    train = rng.uniform(0.4, 0.6, (200, 90)).astype(np.float32)
    test = np.concatenate([rng.uniform(0.4, 0.6, (20, 90)), rng.uniform(0.8, 1.0, (20, 90))]).astype(np.float32)
    for name, floor in FLOORS.items():
        scores = floor(train, test, 0)
        assert scores[20:].min() > scores[:20].max(), name


@pytest.mark.parametrize(("granted", "jobs", "threads"), [("", 2, 4), ("3", 2, 3), ("16", 2, 4), ("1", 1, 1), ("x", 16, 1)])
def test_no_process_has_more_threads_than_its_share_or_than_granted(
    granted: str, jobs: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gannext.evaluation.benchmark.usable_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", granted)
    assert threads_of_each(jobs) == threads


def test_the_smoke_preset_takes_two_classes_of_any_data_set_and_runs_a_cell_once(gannext: Command, tmp_path: Path) -> None:
    outcome = gannext("benchmark", "--preset", "smoke", "--models", "brightness,brightness", "--output", tmp_path)
    assert outcome.code == 0 and "[2/2]" in outcome.out, outcome.err
    assert [row["abnormal_class"] for row in table(tmp_path)] == ["0", "1"]


def test_a_step_of_few_images_is_the_same_as_by_the_command_of_its_row(gannext: Command, tmp_path: Path) -> None:
    options = ("--models", "gannext/robust-objects", "--classes", "0", "--train-images", 64, "--test-images", 20, "--epochs", 1)
    outcome = gannext("benchmark", *options, "--protocols", "honest", *TINY[:2], "--data-root", tmp_path / "my data",
                      "--output", tmp_path)  # fmt: skip
    assert outcome.code == 0, outcome.out
    (row,) = table(tmp_path)
    words = shlex.split(row["command"])
    assert words[:2] == ["gannext", "train"] and words[words.index("--data-root") + 1] == str(tmp_path / "my data")
    assert gannext(*words[1:], "--output", tmp_path / "again").code == 0
    found = json.loads(next(tmp_path.glob("again/**/evaluation.json")).read_text())["honest"]["auroc"]
    assert found == pytest.approx(float(row["auroc"]), abs=1e-4)
