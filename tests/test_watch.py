"""`gannext watch`, as a process of its own: what arrives, what is half written, what comes back, and its end."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import Command, picture, write_pictures


@contextmanager
def watching(*arguments: object) -> Iterator[Callable[[str], str]]:
    """Starts the command; gives what waits for a line with a word in it. In the end it is interrupted as by Ctrl-C."""
    command = [sys.executable, "-u", "-m", "gannext.cli.main", "watch", *map(str, arguments), "--interval", "0.3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        patience = threading.Timer(60, process.kill)
        patience.start()
        try:
            yield lambda word: next((line for line in lines if word in line), f"never said {word}")
        finally:
            patience.cancel()
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=30)
        assert process.returncode == 0 and not errors, rest + errors


def rows_of(table: Path) -> list[tuple[str, str]]:
    with table.open(newline="") as file:
        return [(Path(row["image"]).name, row["verdict"]) for row in csv.DictReader(file)]


def test_what_arrives_is_judged_once(exported_file: Path, gannext: Command, tmp_path: Path) -> None:
    inbox, table, overlays = tmp_path / "inbox", tmp_path / "verdicts.csv", tmp_path / "overlays"
    write_pictures(inbox, 2)
    (inbox / "line2").mkdir()
    options = (exported_file, inbox, "--output", table, "--overlays", overlays)
    with watching(*options) as line_with:
        assert " normal " in line_with("000.png") and " normal " in line_with("001.png")
        picture(9, spot=True).save(tmp_path / "spot.png")
        whole = (tmp_path / "spot.png").read_bytes()
        with (inbox / "line2" / "spot.png").open("wb") as file:  # half of it, and the other half while it is looked at
            step = len(whole) // 30
            for start in range(0, len(whole), step):
                file.write(whole[start : start + step])
                file.flush()
                time.sleep(0.04)
        assert " abnormal " in line_with("spot.png")
        (inbox / "broken.png").write_bytes(whole[:100])
        assert " error " in line_with("broken.png")
    expected = [("000.png", "normal"), ("001.png", "normal"), ("spot.png", "abnormal"), ("broken.png", "error")]
    assert rows_of(table) == expected and [p.name for p in overlays.iterdir()] == ["00002_spot.png"]
    assert gannext("predict", exported_file, inbox / "line2", "--format", "csv").out.splitlines()[1] in table.read_text()

    with table.open("a") as file:
        file.write(f"{inbox / 'next.png'},0.3")  # the power failed
    picture(9, spot=True).save(inbox / "next.png")
    with watching(*options) as line_with:  # goes on, and says nothing twice
        assert " abnormal " in line_with("next.png")
        os.utime(inbox / "000.png")  # written anew, as a camera does that has one name for all
        assert " normal " in line_with("000.png")
    assert rows_of(table) == [*expected, ("next.png", "abnormal"), ("000.png", "normal")]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("none",), "is not a folder"),
        (("inbox", "--output", "x.json"), "end it in .csv"),
        (("inbox", "--output", "inbox/000.png.csv"), "is no table of results"),
        (("inbox", "--overlays", "inbox/overlays"), "would arrive too"),
        (("inbox", "--interval", "0"), "out of range"),
    ],
)
def test_what_cannot_be_watched_is_a_sentence(
    options: tuple[str, ...], words: str, exported_file: Path, gannext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "inbox", 1)
    (tmp_path / "inbox" / "000.png.csv").write_text("a,b\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gannext.cli.watch.arriving", lambda *_: [])  # or what is wrongly taken would be watched for ever
    outcome = gannext("watch", exported_file, *options)
    assert outcome.code == 2 and words in outcome.err and outcome.err.count("\n") == 1, outcome.err
