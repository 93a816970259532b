"""The live display in a real browser."""

import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import SMALL, Command


@pytest.mark.slow
def test_display_shows_curves_histograms_and_pictures_while_training(parts: Path, tmp_path: Path) -> None:
    from selenium import webdriver

    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert browser and driver, "install a browser: apt-get install chromium chromium-driver"
    command = [sys.executable, "train.py", "--dataroot", str(parts), "--niter", "2000", "--batchsize", "16", *SMALL]
    root = Path(__file__).parent.parent
    with subprocess.Popen(
        [*command, "--display", "--outf", str(tmp_path)], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if "Live display" in line)
            address = line.split()[-1]
            end = time.monotonic() + 180
            while len(list(tmp_path.rglob("epoch_*.png"))) < 3:
                assert time.monotonic() < end and process.poll() is None
                time.sleep(0.2)
            assert b"TensorBoard" in urllib.request.urlopen(address, timeout=20).read()

            options = webdriver.ChromeOptions()
            options.binary_location = browser
            for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                         "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic",
                         "--window-size=1400,1400", f"--user-data-dir={tmp_path / 'browser'}"):  # fmt: skip
                options.add_argument(flag)
            with webdriver.Chrome(options, webdriver.ChromeService(driver)) as page:
                for tab, words in (
                    ("scalars", ("AUROC/test images", "loss/generator", "loss/reconstruction", "loss/held_out_l1")),
                    ("histograms", ("score/normal", "score/abnormal")),
                    ("images", ("input, reconstruction, difference/normal", "difference/abnormal")),
                ):
                    end = time.monotonic() + 180
                    while not all(word in everything(page) for word in words):
                        assert time.monotonic() < end, f"{tab} never showed {words}"
                        page.get("about:blank")  # a change of the fragment alone would not load the tab
                        page.get(f"{address}#{tab}")
                        time.sleep(5)
                    page.save_screenshot(str(tmp_path / f"{tab}.png"))
                    assert (tmp_path / f"{tab}.png").stat().st_size > 20_000
            assert process.poll() is None  # still training
        finally:
            process.terminate()


def everything(page: object) -> str:
    """The page's text, with that inside its web components."""
    script = """
        const all = [];
        (function walk(node) {
            if (node.shadowRoot) walk(node.shadowRoot);
            for (const child of node.childNodes) {
                if (child.nodeType === Node.TEXT_NODE) all.push(child.textContent);
                else walk(child);
            }
        })(document.body);
        return all.join("");
    """
    return str(page.execute_script(script))  # type: ignore[attr-defined]


@pytest.mark.parametrize("recipe", ["robust-objects", "robust-textures"])
def test_every_recipe_can_be_watched(recipe: str, gannext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gannext.evaluation.open_display", lambda run: "http://nowhere")
    options = ("--dataset", "digits", "--channels", 1, "--train-images", 96, "--test-images", 40, "--epochs", 1)
    outcome = gannext("train", *options, "--recipe", recipe, "--device", "cpu", "--display", "--output", tmp_path)
    assert outcome.code == 0, outcome.err
    events = EventAccumulator(str(next(tmp_path.rglob("events.out.tfevents*")).parent)).Reload()
    (watched,) = events.Scalars("AUROC/test images, for watching only")
    assert 0 <= watched.value <= 1 and events.Histograms("score/normal")
