"""The page's table of runs, live, and what holds of the whole page: keyboard, names, contrast, widths."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from visiting import IN_A_BROWSER, WIDTHS, Serving, Visit, again

pytestmark = IN_A_BROWSER
pytest_plugins = ["page_fixtures"]
Open = Callable[..., Visit]
PARTS = ("picture", "inside", "runs")


def line(one: Visit, name: str) -> Any:
    return one.page.get_by_role("row").filter(has=one.page.get_by_role("rowheader", name=name))


def ask_for_demo(one: Visit) -> None:
    one.page.locator("#demo-pictures button").nth(4).click()
    one.answered()


def test_the_table_of_runs(visit: Open, page_server: Serving) -> None:
    one = visit("#runs")
    one.page.wait_for_selector(".runs tbody tr")
    assert one.page.locator(".runs tbody tr").count() == 3
    assert "demo pictures, not photographs" in line(one, "drawn").inner_text()
    assert one.page.locator(".runs .badge").count() == 1
    result = page_server.served[0].record.result
    assert result
    text = one.page.locator(".runs tbody tr").filter(has_text="seed 0").first.inner_text()
    assert f"{100 * result.top1:.2f}" in text
    assert f"{100 * result.top1_low:.2f} to {100 * result.top1_high:.2f} of 30" in text
    assert one.page.locator("#runs-apart").is_visible()
    one.check()


def test_the_table_is_sorted_by_its_headings(visit: Open) -> None:
    one = visit("#runs")
    heading = one.page.get_by_role("columnheader", name="network")
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    names = one.page.locator(".runs tbody .toggle").all_inner_texts()
    assert names == sorted(names)
    heading.get_by_role("button").click()
    assert one.page.locator(".runs tbody .toggle").all_inner_texts() == names[::-1]


def test_curves_of_chosen_runs(visit: Open, page_server: Serving) -> None:
    one = visit("#runs")
    toggles = one.page.locator(".runs tbody .toggle:enabled")
    toggles.nth(1).wait_for()
    assert one.page.locator(".runs [aria-pressed=true]").count() == 1
    one.page.locator(".runs .toggle[aria-pressed=false]:enabled").click()
    assert one.page.locator("#curves svg").count() == 3
    assert one.page.locator("#curves svg").nth(1).locator("polyline:not(.select)").count() == 2
    names = one.page.locator("#curves-key li").all_inner_texts()
    assert len(set(names)) == 2 and all("seed" in name for name in names)
    alt = one.page.get_by_role("img", name="Accuracy, %").get_attribute("aria-label")
    assert "epoch 4" in alt
    one.page.get_by_text("The same in figures").click()
    history = page_server.served[0].history()
    one.until(f"document.getElementById('curves-tables').textContent.includes('{history[0]['loss']:.4f}')")
    one.check()


def test_a_training_is_shown_while_it_goes_on(visit: Open, page_server: Serving) -> None:
    run = again(page_server.served[0], "just training", status="running", finished=None, result=None)
    entry = page_server.served[0].history()[0]
    one = visit("#runs")
    one.page.wait_for_selector(".runs tbody tr")
    with run.held():
        run.append_history(entry | {"epoch": 1, "select_top1": 0.5})
        one.until("document.getElementById('runs-live').textContent.includes('epoch 1 done, accuracy 50.0')")
        row = line(one, "just training")
        assert "training" in row.inner_text()
        assert row.locator(".toggle").get_attribute("aria-pressed") == "true", "what trains is drawn without being asked for"
        row.locator(".toggle").focus()
        run.append_history(entry | {"epoch": 2, "select_top1": 0.75})
        one.until("document.getElementById('runs-live').textContent.includes('epoch 2 done, accuracy 75.0')")
        assert "just training" in one.page.evaluate("document.activeElement.textContent"), "the focus was lost to a refresh"
        assert "(2 of 4)" in row.inner_text()
    one.until("document.getElementById('runs-live').textContent === ''")
    assert "killed" in row.inner_text()
    one.check()


def test_runs_are_asked_for_only_while_they_are_looked_at(visit: Open) -> None:
    one = visit()
    one.page.wait_for_timeout(2500)
    assert not [url for url in one.asked if url.endswith("/api/runs")]
    one.page.get_by_role("tab", name="Runs").click()
    with one.page.expect_response(lambda response: response.url.endswith("/api/runs") and response.status == 304):
        pass
    one.page.get_by_role("tab", name="Picture").click()
    before = len(one.asked)
    one.page.wait_for_timeout(2500)
    assert [url for url in one.asked[before:] if "/api/" in url] == []


@pytest.mark.parametrize("locale", ["en-GB", "pl-PL"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_never_wider_than_the_window(visit: Open, width: int, locale: str) -> None:
    one = visit(width=width, locale=locale)
    ask_for_demo(one)
    for part in PARTS:
        one.page.locator(f"#tab-{part}").click()
        one.page.wait_for_selector({"picture": ".card", "inside": ".strip", "runs": ".runs tbody tr"}[part])
        one.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width
        cut = "[...document.querySelectorAll('.runs, #curves svg')].filter((one) => one.getBoundingClientRect().right > innerWidth).length"
        assert one.page.evaluate(cut) == 0
    one.check()


CONTRAST = """
() => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const read = (colour, ground) => {
    pen.fillStyle = ground;
    pen.fillRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const groundOf = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!colour.startsWith("rgba(0, 0, 0, 0")) return colour;
    }
    return "white";
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || !element.checkVisibility() || element.closest("noscript, option")) continue;
    const ground = groundOf(element);
    const style = getComputedStyle(element);
    const ink = luminance(read(element instanceof SVGElement ? style.fill : style.color, ground));
    const paper = luminance(read(ground, "white"));
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    found.push([contrast, texts.currentNode.textContent.trim()]);
  }
  return found;
}
"""
"""The contrast of every text that can be seen with its ground (WCAG 2.1), and that text."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(visit: Open, scheme: str) -> None:
    one = visit(color_scheme=scheme)
    ask_for_demo(one)
    drop_words = one.page.evaluate_handle("new DataTransfer()")
    one.page.dispatch_event("body", "drop", {"dataTransfer": drop_words})
    for part in PARTS:
        one.page.locator(f"#tab-{part}").click()
        one.page.wait_for_selector({"picture": ".card", "inside": ".strip", "runs": "#curves svg"}[part])
        found = one.page.evaluate(CONTRAST)
        assert len(found) > 20
        assert [text for contrast, text in found if contrast < 4.5] == []


def test_everything_is_reached_by_keyboard_and_shows_that_it_is(visit: Open) -> None:
    one = visit()
    one.page.wait_for_selector("#demo-pictures button")
    one.page.keyboard.press("Tab")
    assert one.page.evaluate("document.activeElement.className") == "skip"
    one.page.keyboard.press("Tab")
    assert one.page.evaluate("document.activeElement.id") == "tab-picture"
    for _ in range(4):
        one.page.keyboard.press("Tab")
    assert one.page.evaluate("document.activeElement.id") == "choose"
    one.page.keyboard.press("Tab")
    one.page.keyboard.press("Enter")
    one.answered()
    seen = walk(one)
    every = one.page.evaluate("[...document.querySelectorAll(':is(button, a, input, select, summary)')].filter(reachable).length")
    assert len(seen) == every
    one.page.locator("#tab-picture").focus()
    one.page.keyboard.press("ArrowRight")
    one.page.keyboard.press("ArrowRight")
    assert one.page.get_by_role("tabpanel", name="Runs").is_visible()
    assert one.page.url.endswith("#runs")
    one.page.keyboard.press("Home")
    assert one.page.get_by_role("tabpanel", name="Picture").is_visible()
    slider = one.page.get_by_role("slider", name="Heat map")
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "51 %"
    one.check()


def walk(one: Visit) -> list[str]:
    """Tab through the whole page once; every stop must show where it is."""
    one.page.evaluate("""() => {
      window.reachable = (element) => element.checkVisibility() && element.tabIndex >= 0 && !element.disabled;
      document.querySelector(".skip").focus();
    }""")
    stops: list[str] = []
    for _ in range(200):
        place, outline = one.page.evaluate("""() => {
          const at = document.activeElement;
          if (at === document.body) return ["", ""];
          at.stop ??= String(Math.random());
          const style = getComputedStyle(at);
          return [at.stop, style.outlineStyle === "none" ? "" : style.outlineWidth];
        }""")
        if not place or place in stops:
            break
        stops.append(place)
        assert outline == "3px", one.page.evaluate("document.activeElement.outerHTML")
        one.page.keyboard.press("Tab")
    return stops


def test_names_and_roles(visit: Open) -> None:
    one = visit()
    ask_for_demo(one)
    page = one.page
    assert [tab.inner_text() for tab in page.get_by_role("tab").all()] == ["Picture", "Inside the network", "Runs"]
    assert page.get_by_role("tab", selected=True).inner_text() == "Picture"
    assert page.get_by_role("tabpanel").count() == 1
    assert page.locator("#summary").get_attribute("aria-live") == "polite"
    card = page.get_by_role("article").first
    assert card.get_by_role("listitem").count() == 3
    name = card.get_by_role("button", pressed=True).inner_text()
    assert card.get_by_role("img", name="what speaks for").count() == 1 and "%" in name
    nameless = """[...document.querySelectorAll('button, a, input:not([hidden]), select, [role=img], [role=tabpanel]')]
      .filter((one) => one.checkVisibility() && !(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length
        || one.querySelector('img[alt]:not([alt=""])') || one.getAttribute('aria-labelledby'))).length"""
    for part in PARTS:
        page.locator(f"#tab-{part}").click()
        page.wait_for_selector({"picture": ".card", "inside": ".strip", "runs": "#curves svg"}[part])
        assert page.evaluate(nameless) == 0
        levels = page.evaluate(
            "[...document.querySelectorAll('h1, h2, h3')].filter((h) => h.checkVisibility()).map((h) => Number(h.tagName[1]))"
        )
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))


def test_nothing_moves_for_those_who_do_not_want_it(visit: Open) -> None:
    one = visit(reduced_motion="reduce")
    ask_for_demo(one)
    assert one.page.locator(".bar i").first.evaluate("(bar) => getComputedStyle(bar).transitionDuration") == "0s"
    moving = visit()
    ask_for_demo(moving)
    assert moving.page.locator(".bar i").first.evaluate("(bar) => getComputedStyle(bar).transitionDuration") != "0s"


@pytest.mark.parametrize("width", WIDTHS)
def test_the_api_is_shown(visit: Open, width: int) -> None:
    one = visit("api", width=width)
    text = one.page.locator("#operations").inner_text()
    for path in ("/api/models", "/api/predict", "/api/explain", "/api/way", "/api/filters", "/api/runs", "/api/demo"):
        assert path in text
    links = one.page.locator("#operations a").evaluate_all("(all) => all.map((one) => one.hash.slice(1))")
    assert links
    assert one.page.evaluate("(ids) => ids.filter((id) => !document.getElementById(id))", links) == []
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    one.check()


def test_the_wheel_carries_the_page() -> None:
    import fnmatch
    import tomllib

    root = Path(__file__).parents[2]
    patterns = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]["tench"]
    for path in (root / "src" / "tench" / "serve" / "static").iterdir():
        name = path.relative_to(root / "src" / "tench").as_posix()
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name
