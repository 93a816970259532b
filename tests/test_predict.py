"""`gannext predict` through the command line: what it prints, writes and keeps, whatever happens to its files."""

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from conftest import Command, picture, shell, write_pictures
from gannext.runtime import InputError, Predictor


def test_predict_prints_and_writes_every_format(detector_file: Path, gannext: Command, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    write_pictures(folder, 3)
    picture(9, spot=True).save(folder / "spot.png")
    (folder / "z.png").write_bytes(b"broken")
    table = gannext("predict", detector_file, folder)
    assert table.code == 1 and "1 of 5 images could not be judged" in table.err and "error: " in table.out
    lines = table.out.splitlines()
    assert len(lines) == 6 and "spot.png" in lines[4] and lines[4].endswith("abnormal") and lines[1].endswith(" normal")

    saved = gannext("predict", detector_file, folder, "--output", tmp_path / "r.csv", "--format", "json",
                    "--reconstructions", tmp_path / "pictures", "--batch-size", 2)  # fmt: skip
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    printed = json.loads(saved.out)
    assert [r["verdict"] for r in rows] == [r["verdict"] for r in printed] == ["normal"] * 3 + ["abnormal", "error"]
    assert float(rows[0]["score"]) == printed[0]["score"] and 0 < float(rows[3]["p_value"]) <= 0.05
    assert len(list((tmp_path / "pictures").iterdir())) == 4

    strict = gannext("predict", detector_file, folder / "spot.png", "--fpr", 0.001)
    assert strict.code == 0 and "cannot promise" in strict.err
    assert gannext("predict", detector_file, folder, "--output", "r.xls").code == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_no_name_of_a_file_loses_the_results(detector_file: Path, tmp_path: Path) -> None:
    """One of bytes that are no text, one that the terminal cannot print, one almost too long; and a reader that has gone."""
    (tmp_path / "new").mkdir()
    for name in (b"lat\xfcn.png", "日本語.png".encode(), b"x" * 250 + b".png"):
        picture(1).save(tmp_path / "one.png")
        (tmp_path / "one.png").rename(tmp_path / "new" / os.fsdecode(name))
    command = f"{sys.executable} -m gannext.cli.main predict {detector_file} {tmp_path / 'new'}"
    options = f"--output {tmp_path / 'results.csv'} --reconstructions {tmp_path / 'r'} --report {tmp_path / 'r.html'}"
    done = shell("bash", "-c", f"{command} {options} | head -c 5", PYTHONIOENCODING="cp1252")
    assert done.returncode == 0 and done.stdout == "image" and not done.stderr, done.stderr
    text = (tmp_path / "results.csv").read_text(encoding="utf-8")
    assert text.count(",normal,") == 3 and "日本語" in text and "lat\\udcfcn" in text
    assert len(list((tmp_path / "r").iterdir())) == 3 and (tmp_path / "r.html").exists()
    (tmp_path / "new" / "broken.png").touch()
    (tmp_path / "new" / "link.png").symlink_to("nowhere.png")
    done = shell("bash", "-o", "pipefail", "-c", f"{command} | true")
    assert done.returncode == 1 and "2 of 5 images could not be judged" in done.stderr  # though nobody read on
    picture(1).save(tmp_path / "two\nlines\x1b[2J.png")
    lines = shell("bash", "-c", f"{command} '{tmp_path}/two\nlines\x1b[2J.png' | tail -n 2").stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ["normal", "normal"] and "two\\nlines\\x1b[2J.png" in lines[1]


def test_places_that_cannot_be_written_are_refused_before_anything_is_judged(
    detector_file: Path, parts: Path, gannext: Command, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for option, place in (("--output", tmp_path / "file" / "x.csv"), ("--report", tmp_path), ("--maps", tmp_path / "file"),
                          ("--reconstructions", tmp_path / "file" / "x")):  # fmt: skip
        outcome = gannext("predict", detector_file, parts / "test" / "0.normal", option, place)
        assert outcome.code == 2 and not outcome.out and outcome.err.count("\n") == 1 and str(place) in outcome.err


def test_what_was_judged_before_an_end_is_kept(
    detector_file: Path, parts: Path, gannext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gannext.inspection import MapsFolder

    add = MapsFolder.add

    def third_stops(self: MapsFolder, *arguments: object) -> None:
        if len(self.images) == 2:
            raise KeyboardInterrupt
        add(self, *arguments)  # type: ignore[arg-type]

    def full(self: MapsFolder) -> None:
        raise InputError("the disk is full")

    monkeypatch.setattr(MapsFolder, "add", third_stops)
    options = ("--maps", tmp_path / "maps", "--output", tmp_path / "results.json")
    outcome = gannext("predict", detector_file, parts / "test" / "0.normal", *options)
    assert outcome.code == 130 and "stopped after 3 of 20 images" in outcome.err
    assert len(json.loads((tmp_path / "results.json").read_text())) == 3 and outcome.out.count("0.normal") == 3
    assert len(json.loads((tmp_path / "maps" / "regions.json").read_text())["images"]) == 2
    monkeypatch.setattr(MapsFolder, "finish", full)
    (tmp_path / "results.json").unlink()
    outcome = gannext("predict", detector_file, parts / "test" / "0.normal", *options)
    assert outcome.code == 130 and "the disk is full" in outcome.err and outcome.out.count("0.normal") == 3
    assert len(json.loads((tmp_path / "results.json").read_text())) == 3


def test_a_picture_that_vanishes_after_it_was_judged_loses_nothing(
    detector_file: Path, parts: Path, gannext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(parts / "test" / "0.normal", tmp_path / "line")
    gone = sorted((tmp_path / "line").iterdir())[1]
    decode = Predictor.decode

    def late(detector: Predictor, path: str) -> object:
        gone.unlink(missing_ok=True)
        return decode(detector, path)

    monkeypatch.setattr(Predictor, "decode", late)
    outcome = gannext("predict", detector_file, tmp_path / "line", "--maps", tmp_path / "maps", "--report", tmp_path / "r.html")
    assert outcome.code == 0 and outcome.out.count(gone.name) == 1  # its verdict
    assert outcome.err.count(str(gone)) == 1 and "has no pictures" in outcome.err
    assert len(json.loads((tmp_path / "maps" / "regions.json").read_text())["images"]) == 19
    assert f"{gone.name} can no longer be read" in (tmp_path / "r.html").read_text()
