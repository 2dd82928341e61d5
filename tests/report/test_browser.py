"""The page in Debian's Chromium: silent, whole at any width, usable by click and by keyboard, light and dark."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_runs import made_run

from tench.report.write import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="NO CHROMIUM: the report was not looked at in a browser. As root: apt-get install chromium"
    ),
]
WIDTHS = (390, 820, 1440)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module", params=["en", "pl"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        made_run(folder, "one", seed, exhibits=True)
    made_run(folder, "two", skill=0.9)
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    write_report([], path, request.param, folder=folder)
    return path.as_uri()


class Opened:
    """A page, what it said, and what it asked for beside itself."""

    def __init__(self, browser: Any, address: str, width: int = 1440, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        self.asked = [url for url in self.asked if not url.startswith("data:") and url != address]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_silent_and_never_wider_than_the_window(browser: Any, address: str, width: int) -> None:
    opened = Opened(browser, address, width)
    assert (opened.said, opened.asked) == ([], [])
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def first_names(page: Any) -> list[str]:
    return [str(text) for text in page.locator("table.results tbody > tr:first-child > th").all_inner_texts()]


def test_the_table_is_sorted_by_click_and_by_keyboard(browser: Any, address: str) -> None:
    page = Opened(browser, address).page
    before = first_names(page)
    heading = page.locator("table.results thead th").nth(1)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert first_names(page) == before[::-1]
    assert (
        page.locator("table.results tbody").first.locator("tr").count() + page.locator("table.results tbody").last.locator("tr").count()
        == 4
    )


def test_a_cell_shows_its_pictures_by_click_and_by_keyboard(browser: Any, address: str) -> None:
    page = Opened(browser, address).page
    matrix = page.locator("table.confusion").last
    cells = matrix.locator("td.wrong button")
    cells.first.click()
    panel = page.locator(f"#{matrix.get_attribute('data-panel')}")
    assert panel.locator("li").count() == int(cells.first.inner_text())
    assert panel.locator("img").count() == panel.locator("li").count()
    right = matrix.locator("td.right button").first
    right.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    pressed = matrix.locator("[aria-pressed=true]")
    assert (pressed.get_attribute("data-label"), pressed.get_attribute("data-answer")) == ("1", "1")
    assert panel.locator("li").count() == int(pressed.inner_text())


def test_no_name_runs_as_code(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    for cell in opened.page.locator("table.confusion button").all():
        cell.click()
    assert opened.said == []
    assert opened.page.locator(".behind script, .behind b").count() == 0


MEASURE = """
(names) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const luminance = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(document.documentElement);
  return names.map((name) => luminance(style.getPropertyValue(name)));
}
"""
"""Relative luminance, 0 to 1, of colours named by their CSS variables (WCAG 2.1)."""


def test_dark_mode_changes_paper_and_ink_together(browser: Any, address: str) -> None:
    found = {}
    for scheme in ("light", "dark"):
        page = Opened(browser, address, color_scheme=scheme).page
        found[scheme] = [*page.evaluate(MEASURE, ["--paper", "--ink"]), page.evaluate("getComputedStyle(document.body).backgroundColor")]
    assert found["light"][0] > 0.9 > 0.1 > found["light"][1]
    assert found["dark"][0] < 0.1 < 0.7 < found["dark"][1]
    assert found["light"][2] != found["dark"][2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_can_be_read_on_its_ground(browser: Any, address: str, scheme: str) -> None:
    """WCAG 2.1, 1.4.3: at least 4.5 to 1."""
    page = Opened(browser, address, color_scheme=scheme).page
    grounds = page.evaluate(MEASURE, ["--paper", "--raised"])
    inks = ["--ink", "--muted", "--blue", "--orange", "--green", "--purple"]
    for name, ink in zip(inks, page.evaluate(MEASURE, inks), strict=True):
        for ground in grounds:
            assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 4.5, name


def test_it_prints(browser: Any, address: str, tmp_path: Path) -> None:
    Opened(browser, address).page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
