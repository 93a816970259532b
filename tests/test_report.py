"""The HTML report: what is in the file, and what it does in a real browser."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Command, picture, write_pictures
from gannext.inspection import Report
from gannext.runtime import Calibration, InputError, Prediction

KINDS = ["dent", "stain", "normal"]
EVIL = "<script>document.title='owned'<!--\"'&.png"  # all that a file system lets through


def embedded(path: Path) -> dict[str, Any]:
    """The data within a report."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


@pytest.fixture(scope="module")
def line(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test images of `parts`, one of them with a name that would do harm."""
    root = tmp_path_factory.mktemp("line") / "line"
    shutil.copytree(parts / "test", root / "test")
    picture(3000).save(root / "test" / "0.normal" / EVIL)
    return root


@pytest.fixture(scope="module")
def report(detector_file: Path, line: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gannext.cli.main import main

    path = tmp_path_factory.mktemp("reports") / "evaluation.html"
    assert main(["evaluate", str(detector_file), "--data-root", str(line), "--report", str(path)]) == 0
    return path


def test_the_report_is_one_file_that_needs_no_network(report: Path) -> None:
    text = report.read_text()
    page = re.sub(r"data:image/webp;base64,[^\"]*", "", text).replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in page and "https:" not in page and "default-src 'none'" in page and "src=" not in page
    data = embedded(report)
    assert len(data["images"]) == 31 and data["captions"] == ["input", "reconstruction", "heat map"]
    assert sum(image[3] for image in data["images"]) == 10 and len(data["held_out"]) == 50
    assert {"recipe: name", "detector", "versions: torch"} <= {name for name, _ in data["settings"]}
    assert EVIL not in text and any(EVIL in image[0] for image in data["images"])


def test_predict_reports_without_labels_and_names_what_it_could_not_read(
    detector_file: Path, line: Path, gannext: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    write_pictures(folder, 40)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    outcome = gannext("predict", detector_file, folder, "--report", tmp_path / "r.html")
    assert outcome.code == 1
    data = embedded(tmp_path / "r.html")
    assert len(data["images"]) == 40 and all(image[3] is None for image in data["images"])
    assert len(data["errors"]) == 1 and "broken.jpg cannot be read" in data["errors"][0]
    options = ("--report", tmp_path / "none.html", "--output", tmp_path / "none.csv")
    outcome = gannext("predict", detector_file, folder / "broken.jpg", *options)
    assert outcome.code == 1 and "nothing to report" in outcome.err and not (tmp_path / "none.html").exists()
    assert "broken.jpg" in (tmp_path / "none.csv").read_text() and "broken.jpg" in outcome.out
    tall, size = picture(3).resize((40, 900)), (160, 53)
    tall.save(tmp_path / "tall.png")
    assert gannext("predict", detector_file, tmp_path / "tall.png", "--report", tmp_path / "tall.html").code == 0
    assert embedded(tmp_path / "tall.html")["images"][0][-2:] == [size[1], size[0]]


def gravel_report(count: int) -> Report:
    """A report of 64x64 patches of a photograph of gravel, every tenth of them abnormal, by one of two kinds of defect."""
    from skimage.data import gravel

    rng = np.random.default_rng(0)
    report = Report("gravel", Calibration(tuple(rng.gamma(2, 1, 100))), 2.0, count)
    photograph = gravel()
    for i in range(count):
        y, x = rng.integers(0, 448, 2)
        pixels = photograph[y : y + 64, x : x + 64, None]
        score = float(rng.gamma(2, 1) + (i % 10 == 0) * rng.gamma(2, 2))
        values = pixels[..., 0].astype(np.float32) / 80
        prediction = Prediction(f"{i:05d}.png", score, 0.5, score > 5, pixels[::-1], values)
        report.add(prediction, pixels, i % 10 == 0, ("normal" if i % 10 else "dent" if i % 20 else "stain"))
    return report


def test_even_noise_keeps_within_the_size(tmp_path: Path) -> None:
    """What no codec likes, and little of it: but the report is told to expect 10,000 images."""
    rng = np.random.default_rng(0)
    report = Report("noise", Calibration((1.0,)), 1.0, 10_000)
    for i in range(20):
        pixels, values = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8), rng.gamma(1, 1, (200, 300)).astype(np.float32)
        report.add(Prediction(f"{i}.png", 1.0, 0.5, False, pixels[::-1], values), pixels)
    report.write(tmp_path / "r.html", "", {})
    assert all(100 < len(image[5]) < 5000 for image in embedded(tmp_path / "r.html")["images"])


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to report"):
        Report("none", Calibration((1.0,)), None, 0).write(tmp_path / "r.html", "", {})


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium import webdriver

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium and driver, "install a browser: apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars",
                 "--no-first-run", "--window-size=1280,2000", f"--user-data-dir={tmp_path / 'browser'}"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as page:
        yield page


def text_of(page: Any, name: str) -> str:
    return str(page.find_element("id", name).text)


def wait_for(page: Any, script: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(page, 20).until(lambda page: page.execute_script(f"return {script}"))


@pytest.mark.slow
def test_the_report_in_a_browser(report: Path, detector_file: Path, line: Path, gannext: Command, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(report.as_uri())
    wait_for(browser, "document.querySelectorAll('#all .card').length === 31")
    assert browser.get_log("browser") == []
    assert browser.title == "line: inspection report"  # the harmful name is a name
    names = browser.execute_script("return [...document.querySelectorAll('#all .name')].map(n => n.textContent)")
    assert EVIL in names
    pictures = "[...document.querySelectorAll('#all img')]"
    wait_for(browser, f"{pictures}.slice(0, 6).every(i => i.complete && i.naturalWidth === 96)")

    data = embedded(report)
    shown = browser.execute_script("return [...document.querySelectorAll('#all .score')].map(n => Number(n.textContent))")
    assert shown == sorted(shown, reverse=True)

    def counts() -> list[int]:
        return [int(text_of(browser, name)) for name in ("hits", "misses", "alarms", "quiet")]

    def expected(threshold: float) -> list[int]:
        hits = sum(i[1] > threshold for i in data["images"] if i[3])
        alarms = sum(i[1] > threshold for i in data["images"] if not i[3])
        return [hits, 10 - hits, alarms, 21 - alarms]

    assert counts() == expected(data["threshold"])
    printed = gannext("evaluate", detector_file, "--data-root", line).out
    assert f"AUROC              {browser.find_elements('css selector', '.tile b')[1].text}" in printed

    slider = browser.find_element("id", "slider")
    seen = set()
    for key in [Keys.HOME, *[Keys.PAGE_UP] * 6, *[Keys.ARROW_RIGHT] * 3, Keys.END]:
        slider.send_keys(key)
        threshold = browser.execute_script("return threshold")
        assert counts() == expected(threshold)
        seen.add(tuple(counts()))
    assert (10, 0, 21, 0) in seen and (0, 10, 0, 21) in seen and len(seen) > 4
    wait_for(browser, "pending === 0 && document.querySelectorAll('#worst-misses .card').length === 4")
    browser.find_element("id", "reset").click()
    assert counts() == expected(data["threshold"])

    wait_for(browser, "pending === 0")
    browser.execute_script("document.querySelector('[data-filter=hit]').click()")
    wait_for(browser, f"document.querySelectorAll('#all .card').length === {counts()[0]}")
    browser.find_element("css selector", "#all .card button").send_keys(Keys.ENTER)
    assert browser.find_element("id", "dialog").is_displayed()
    first = text_of(browser, "dialog-name")
    browser.find_element("id", "next").send_keys(Keys.ENTER)
    assert text_of(browser, "dialog-name") != first
    browser.find_element("id", "close").send_keys(Keys.ENTER)
    assert not browser.find_element("id", "dialog").is_displayed()
    browser.find_element("id", "theme").click()
    assert browser.execute_script("return document.documentElement.dataset.theme") == "dark"
    assert browser.get_log("browser") == []


@pytest.mark.slow
def test_a_report_without_labels_has_no_curves(
    detector_file: Path, line: Path, gannext: Command, tmp_path: Path, browser: Any
) -> None:
    path = tmp_path / "r.html"
    assert gannext("predict", detector_file, line / "test", "--report", path).code == 0
    browser.get(path.as_uri())
    wait_for(browser, "document.querySelectorAll('#all .card').length === 31")
    assert not any(browser.find_element("id", name).is_displayed() for name in ("curves", "mistakes", "confusion", "errors"))
    data = embedded(path)
    assert int(text_of(browser, "tile-called")) == sum(i[1] > data["threshold"] for i in data["images"])
    assert browser.get_log("browser") == []


@pytest.mark.slow
def test_ten_thousand_images(tmp_path: Path, browser: Any) -> None:
    path = tmp_path / "many.html"
    gravel_report(10_000).write(path, "10,000 patches", {})
    assert path.stat().st_size < 60e6
    browser.get(path.as_uri())
    wait_for(browser, "document.querySelectorAll('#all .card').length >= 48")
    assert browser.execute_script("return document.querySelectorAll('.card').length") < 200
    before = text_of(browser, "hits")
    data = embedded(path)
    called = {kind: [image[1] > data["threshold"] for image in data["images"] if image[4] == kind] for kind in KINDS}
    worst_first = [*sorted(KINDS[:2], key=lambda kind: np.mean(called[kind])), "normal"]
    shown = [row.text.split(maxsplit=2) for row in browser.find_elements("css selector", "#kinds tr")]
    assert shown == [
        [kind, "normal" if kind == "normal" else "abnormal", f"{sum(called[kind]):,} of {len(called[kind]):,}"]
        for kind in worst_first
    ]
    browser.execute_script("slider.value = 0; slider.dispatchEvent(new Event('input'));")
    assert text_of(browser, "hits") != before
    assert "500 of 500" in browser.find_element("css selector", "#kinds tr").text
    browser.find_element("id", "search").send_keys("dent")
    wait_for(browser, "document.getElementById('shown').textContent.endsWith('of 500 shown')")
    assert browser.get_log("browser") == []
