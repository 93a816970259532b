"""The benchmarks: that they start, that their contestants compute the same, and that their tables reach the document."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gannext.data import DATASETS

FOLDER = Path(__file__).parent.parent / "benchmarks"
sys.path.append(str(FOLDER))

import measuring  # noqa: E402
import report  # noqa: E402
import scoring  # noqa: E402


@pytest.mark.parametrize(("name", "table"), [("scoring", "RECIPE/scoring"), ("training", "training"), ("cost", "cost")])
def test_each_starts(name: str, table: str) -> None:
    done = subprocess.run([sys.executable, FOLDER / f"{name}.py", "-h"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and f"results/performance/{table}.csv" in done.stdout, done.stderr


@pytest.mark.parametrize("recipe", ["published", "robust-textures"])
def test_the_plain_score_is_the_detector_s(recipe: str) -> None:
    side = scoring.NETWORKS[recipe]
    detector, pixels = scoring.make_detector(recipe, side), measuring.pictures(3, side)
    assert pixels.shape == (3, side, side, 3)
    assert scoring.Plain(detector)(pixels) == pytest.approx(detector.look(pixels).scores, rel=1e-4)


def test_the_published_score_costs_what_its_networks_do() -> None:
    assert scoring.macs(scoring.make_detector("published", 32)) == 104_215_040 + 2 * 17_974_148


def test_cifar10_is_read_from_its_package_and_nothing_else_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "cifar10", DATASETS["cifar10"])  # which the import replaces
    cifar10 = importlib.import_module("cifar10")
    monkeypatch.chdir(tmp_path)
    cifar10.PACKAGE.mkdir(parents=True)
    images = np.random.default_rng(0).integers(256, size=(20, 32, 32, 3), dtype=np.uint8)
    files = [*(f"data_batch_{number}.png" for number in range(1, 6)), "test_batch.png"]
    for file, batch in zip(files, np.split(images, [2, 4, 6, 8, 10]), strict=True):
        Image.fromarray(batch.reshape(len(batch), -1, 3)).save(cifar10.PACKAGE / file)
    for split in ("train", "test"):
        (cifar10.PACKAGE / f"{split}_lables.json").write_text(json.dumps([*range(9, -1, -1)]))
    read = cifar10.load_packed.__wrapped__  # anew each time
    with pytest.raises(ValueError, match="does not hold CIFAR10: its classes have"):
        read(tmp_path)
    monkeypatch.setattr(cifar10, "A_CLASS", {"train": 1, "test": 1})
    with pytest.raises(ValueError, match="does not hold CIFAR10: its colours' means are"):
        read(tmp_path)
    colours = images[:10].reshape(-1, 3)
    monkeypatch.setattr(cifar10, "MEAN", colours.mean(0))
    monkeypatch.setattr(cifar10, "DEVIATION", colours.std(0))
    train, test = read(tmp_path)
    assert np.array_equal(train.images, images[:10]) and np.array_equal(test.images, images[10:])
    assert train.labels.tolist() == test.labels.tolist() == [*range(9, -1, -1)]


def test_contestants_take_turns() -> None:
    calls: list[str] = []

    def contestant(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    seconds = measuring.in_turn({name: lambda name=name: contestant(name) for name in "ab"}, rounds=2)  # type: ignore[misc]
    assert "".join(calls) == "baabba" and seconds["a"].tolist() == [3.0, 6.0] and seconds["b"].tolist() == [4.0, 5.0]
    calls.clear()
    measuring.in_turn({"a": lambda: contestant("a")}, rounds=1, warm_up=False)
    assert calls == ["a"]
    assert measuring.Spread.of([1, 2, 3, 4, 5]) == measuring.Spread(3, 2, 4)


def test_the_document_has_the_tables_and_the_text(tmp_path: Path) -> None:
    rows = [
        {"task": "score", "varied": "images", "value": n, **measuring.Spread(n / 10, 1, 2).columns("seconds"),
         **measuring.Spread(900, 1, 2).columns("mebibytes")}
        for n in (1000, 10_000)
    ]  # fmt: skip
    measuring.write_table(tmp_path, "cost", rows, threads=2)
    assert json.loads((tmp_path / "cost.json").read_text())["threads"] == 2
    text = "before\n<!-- table cost -->\nthe numbers of before\n<!-- end -->\nbetween\n<!-- table scoring --><!-- end -->\n"
    shown = report.render(text, tmp_path)
    assert "| score, by images | 1000 to 10000 | 100 to 1e+03 | 1.00 | 900 to 900 |" in shown
    assert (
        "the numbers of before" not in shown
        and shown.startswith("before\n")
        and "between" in shown
        and "`scoring.csv` is missing" in shown
    )
    assert report.render(shown, tmp_path) == shown


def test_the_document_has_every_table_as_it_was_measured() -> None:
    text = report.DOCUMENT.read_text(encoding="utf-8")
    assert report.render(text, measuring.RESULTS) == text and "Not measured yet" not in text
    of_recipes = {f"{recipe}/{name}" for recipe in scoring.NETWORKS for name in ("scoring", "folder")}
    assert all(f"<!-- table {name} -->" in text for name in {*report.TABLES, *of_recipes} - {"scoring", "folder"})
    assert report.power(np.array([1.0, 10.0]), np.array([2.0, 200.0])) == pytest.approx(2)
