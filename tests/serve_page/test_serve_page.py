"""The page of `tench serve` in Debian's Chromium, with a real server behind it."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from visiting import IN_A_BROWSER, Serving, Visit

pytestmark = IN_A_BROWSER
pytest_plugins = ["page_fixtures"]
Open = Callable[..., Visit]
STATUS_OF_REFUSAL = r"Failed to load resource.* 41[35] "
"""Chromium itself notes every answer that is an error."""


@pytest.fixture
def red(tiny_folder: Path) -> Path:
    """A picture that both networks know."""
    return tiny_folder / "val" / "red" / "000.png"


def carried(page: Any, content: bytes, name: str, kind: str) -> Any:
    """A file as the mouse carries it."""
    make = """([name, type, text]) => {
      const carried = new DataTransfer();
      carried.items.add(new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], name, { type }));
      return carried;
    }"""
    return page.evaluate_handle(make, [name, kind, base64.b64encode(content).decode()])


def drop(one: Visit, content: bytes, name: str = "red.png", kind: str = "image/png") -> None:
    one.page.dispatch_event("body", "drop", {"dataTransfer": carried(one.page, content, name, kind)})


def first_answers(one: Visit) -> list[str]:
    return [str(text) for text in one.page.locator(".card .first").all_inner_texts()]


def problem(one: Visit) -> str:
    one.page.wait_for_selector("#problem:not(:empty)")
    return str(one.page.locator("#problem").inner_text())


def familiar(found: dict[str, Any]) -> None:
    """No network calls the picture strange: whether such small ones do depends on how the processor rounds."""
    for answer in found["answers"]:
        answer.update(familiarity=0.5, not_one_of_these=False)


def test_a_dropped_picture_is_answered_by_both_networks_side_by_side(visit: Open, red: Path, page_server: Serving) -> None:
    one = visit()
    changed(one, familiar)
    drop(one, red.read_bytes())
    one.answered()
    assert len(found := first_answers(one)) == 2 and all(text.startswith("red ") for text in found)
    headings = one.page.locator(".card h3").all_inner_texts()
    assert headings == [run.id for run in page_server.served]
    shares = one.page.locator(".card").first.locator(".row .n").all_inner_texts()
    assert len(shares) == 3
    boxes = [card.bounding_box() for card in one.page.locator(".card").all()]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]
    assert "all networks" in one.page.locator("#summary").inner_text()
    result = page_server.served[0].record.result
    assert result
    assert f"{100 * result.top1:.1f}\xa0% of 30" in one.page.locator(".score").first.text_content()
    one.check()


def test_bars_are_as_long_as_their_shares(visit: Open, red: Path) -> None:
    one = visit()
    drop(one, red.read_bytes())
    one.answered()
    one.page.wait_for_timeout(400)
    for row in one.page.locator(".card").first.locator(".row").all():
        share = float(row.locator(".n").inner_text().strip("<>\xa0 %").replace(",", ".")) / 100
        whole, part = (row.locator(selector).bounding_box()["width"] for selector in (".bar", ".bar i"))
        assert part == pytest.approx(max(1, whole * share), abs=0.02 * whole + 1)


def test_another_class_shows_its_own_heat(visit: Open, red: Path) -> None:
    one = visit()
    drop(one, red.read_bytes())
    one.answered()
    card = one.page.locator(".card").first
    pixels = "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data].join()"
    before = card.locator("canvas").evaluate(pixels)
    with one.page.expect_response(lambda response: "/api/explain" in response.url and "class=blue" in response.url):
        card.locator("[data-class=blue]").click()
    one.until("document.querySelector('.seen figcaption').textContent.includes('blue')")
    one.answered()
    assert card.locator("[aria-pressed=true]").get_attribute("data-class") == "blue"
    assert "blue" in card.locator("canvas").get_attribute("aria-label")
    assert card.locator("canvas").evaluate(pixels) != before
    one.page.locator("#strength").fill("0")
    plain = card.locator("canvas").evaluate(pixels)
    one.page.locator("#strength").fill("100")
    assert card.locator("canvas").evaluate(pixels) != plain
    one.check()


def test_without_heat_the_picture_has_its_own_colours(visit: Open, red: Path) -> None:
    one = visit()
    drop(one, red.read_bytes())
    one.answered()
    one.page.locator("#strength").fill("0")
    middle = "(canvas) => [...canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data]"
    r, g, b, _ = one.page.locator(".card canvas").first.evaluate(middle)
    assert r > 150 > 100 > max(g, b)


def test_a_pasted_picture(visit: Open, red: Path) -> None:
    one = visit(permissions=["clipboard-read", "clipboard-write"])
    write = """async (text) => {
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })]);
    }"""
    one.page.evaluate(write, base64.b64encode(red.read_bytes()).decode())
    one.page.keyboard.press("Control+V")
    one.answered()
    assert all(text.startswith("red") for text in first_answers(one))
    one.page.evaluate("navigator.clipboard.writeText('no picture')")
    one.page.keyboard.press("Control+V")
    assert "no picture file" in problem(one)
    assert one.page.locator(".card").count() == 2
    one.check()


def test_a_chosen_picture_and_the_same_again(visit: Open, red: Path) -> None:
    one = visit()
    for _ in range(2):
        with one.page.expect_file_chooser() as chooser:
            one.page.get_by_role("button", name="Choose a picture").click()
        with one.page.expect_response("**/api/predict*"):
            chooser.value.set_files(red)
    one.answered()
    assert "000.png" in one.page.locator("#summary").inner_text()
    one.check()


def test_a_photograph_can_be_taken_where_fingers_point(visit: Open, red: Path) -> None:
    assert not visit().page.get_by_role("button", name="Take a photograph").is_visible()
    one = visit(width=390, has_touch=True, is_mobile=True)
    assert one.page.locator("#camera").get_attribute("capture") == "environment"
    with one.page.expect_file_chooser() as chooser:
        one.page.get_by_role("button", name="Take a photograph").tap()
    chooser.value.set_files(red)
    one.answered()
    one.check()


def test_a_demo_picture(visit: Open) -> None:
    one = visit()
    buttons = one.page.locator("#demo-pictures button")
    buttons.first.wait_for()
    assert buttons.count() == 10
    one.page.get_by_role("button", name="church").click()
    one.answered()
    assert one.page.locator("#summary").inner_text().startswith("“church”")
    one.check()


@pytest.mark.parametrize("locale", ["en-GB", "pl-PL"])
def test_what_cannot_be_used_is_said_and_what_was_there_stays(visit: Open, red: Path, locale: str) -> None:
    words = {
        "large": {"en-GB": "larger than 1\xa0MiB", "pl-PL": "większy niż 1\xa0MiB"},
        "text": {"en-GB": "not a picture that can be read", "pl-PL": "nie jest obrazem"},
        "empty": {"en-GB": "is empty", "pl-PL": "jest pusty"},
    }
    one = visit(locale=locale)
    drop(one, red.read_bytes())
    one.answered()
    before = one.page.locator("#answer").inner_text()
    asked = len(one.asked)
    drop(one, bytes(1024 * 1024 + 1), "huge.png")
    assert words["large"][locale].replace("\xa0", " ") in problem(one).replace("\xa0", " ")
    assert len(one.asked) == asked, "it was sent although it was known to be too large"
    drop(one, b"these are words", "words.jpg", "image/jpeg")
    one.until(f"document.getElementById('problem').textContent.includes({words['text'][locale]!r})")
    drop(one, b"", "nothing.png")
    one.until(f"document.getElementById('problem').textContent.includes({words['empty'][locale]!r})")
    assert one.page.locator("#answer").inner_text() == before
    drop(one, red.read_bytes())
    one.until("!document.getElementById('problem').textContent && !document.getElementById('busy').textContent")
    one.check(STATUS_OF_REFUSAL)


def test_a_picture_that_the_browser_cannot_show_is_answered_all_the_same(visit: Open, red: Path) -> None:
    content = io.BytesIO()
    Image.open(red).save(content, "TIFF")
    one = visit()
    drop(one, content.getvalue(), "red.tif", "image/tiff")
    one.answered()
    assert all(text.startswith("red") for text in first_answers(one))
    assert "cannot show a file of this kind" in one.page.locator(".seen figcaption").first.inner_text()
    one.check()


def test_of_several_files_the_first_is_taken_and_said_so(visit: Open, red: Path) -> None:
    one = visit()
    add = "(carried) => carried.items.add(new File([], 'second.png', { type: 'image/png' }))"
    both = carried(one.page, red.read_bytes(), "first.png", "image/png")
    both.evaluate(add)
    one.page.dispatch_event("body", "drop", {"dataTransfer": both})
    one.answered()
    assert "first.png" in one.page.locator("#summary").inner_text()
    assert "one at a time" in problem(one)


def changed(one: Visit, change: Callable[[dict[str, Any]], None]) -> None:
    """Let what the server says of pictures be changed on its way."""

    def pass_on(route: Any) -> None:
        response = route.fetch()
        found = response.json()
        change(found)
        route.fulfill(response=response, body=json.dumps(found))

    one.page.route("**/api/predict*", pass_on)


def test_not_one_of_these_is_said_plainly(visit: Open, red: Path) -> None:
    def strange(found: dict[str, Any]) -> None:
        familiar(found)
        found["answers"][0].update(familiarity=0.02, not_one_of_these=True)

    one = visit()
    changed(one, strange)
    drop(one, red.read_bytes())
    one.answered()
    note = one.page.locator(".strange")
    assert note.count() == 1
    assert note.inner_text().replace("\xa0", " ") == "Not one of these, it seems. The picture looks less familiar than 98 % of known ones."
    assert "not one of these" in one.page.locator("#summary").inner_text()
    trust = one.page.locator(".card details").first
    assert trust.get_attribute("open") is None
    trust.locator("summary").click()
    assert "left out" in trust.inner_text()


def test_names_from_the_server_are_text(visit: Open, red: Path) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    one = visit()
    changed(one, lambda found: [guess.update(english=hostile) for answer in found["answers"] for guess in answer["guesses"]])
    drop(one, red.read_bytes(), name=f"{hostile}.png")
    one.answered()
    assert hostile in first_answers(one)[0]
    assert one.page.locator("#answer img, #answer script").count() == 0
    one.check()


def test_a_busy_server_is_asked_again(visit: Open, red: Path) -> None:
    one = visit()
    times = []

    def busy_once(route: Any) -> None:
        times.append(1)
        if len(times) == 1:
            body = {"error": {"code": "busy", "message": "Later."}}
            route.fulfill(status=503, headers={"Retry-After": "1"}, body=json.dumps(body))
        else:
            route.continue_()

    one.page.route("**/api/predict*", busy_once)
    drop(one, red.read_bytes())
    one.answered()
    assert len(times) == 2


def test_polish(visit: Open, red: Path) -> None:
    one = visit(locale="pl-PL")
    assert one.page.locator("html").get_attribute("lang") == "pl"
    assert one.page.locator("h1").first.inner_text() == "Co jest na obrazie?"
    one.page.get_by_role("button", name="waltornia").click()
    one.answered()
    assert "waltornia" in one.page.locator("#summary").inner_text()
    assert "ostatniej konwolucji" in one.page.locator(".seen figcaption").first.inner_text()
    trust = one.page.locator(".card details p").first
    assert "pominiętymi klasami" in trust.text_content()
    assert trust.locator("[lang=en]").count() == 0
    one.page.get_by_role("button", name="English").click()
    assert one.page.locator("html").get_attribute("lang") == "en"
    assert "French horn" in one.page.locator("#summary").inner_text()
    one.page.reload()
    one.page.wait_for_selector("#page:not([hidden])")
    assert one.page.locator("h1").first.inner_text() == "What is on the picture?"
    one.check()


def test_both_languages_have_the_same_texts_and_places() -> None:
    import re

    from tench.report.words import texts as report_texts

    folder = Path(__file__).parents[2] / "src" / "tench" / "serve" / "static"
    texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
    places = {lang: {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in texts[lang].items()} for lang in ("en", "pl")}
    assert places["en"] == places["pl"]
    used = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*") if path.suffix in (".js", ".html"))
    named = set(re.findall(r'(?:\bt\(|data-t(?:-label)?=|own\("\w+", )"([\w.-]+)"', used))
    assert len(named) > 60
    assert named - texts["en"].keys() == set()
    for section in ("names", "notes", "changes", "changed", "methods"):
        for english, polish in report_texts("pl")[section].items():
            assert texts["said"][english] == polish


def test_the_looks_can_be_switched_and_are_remembered(visit: Open) -> None:
    one = visit(color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = one.page.evaluate(paper)
    switch = one.page.get_by_role("button", name="Dark look")
    assert switch.get_attribute("aria-pressed") == "true"
    switch.click()
    light = one.page.evaluate(paper)
    assert (switch.get_attribute("aria-pressed"), light != dark) == ("false", True)
    one.page.reload()
    assert one.page.evaluate(paper) == light
    assert visit(color_scheme="light").page.evaluate(paper) == light
    one.check()


def test_the_way_through_the_network_and_its_first_filters(visit: Open, red: Path) -> None:
    one = visit()
    one.page.get_by_role("tab", name="Inside the network").click()
    one.until("document.getElementById('way-words').textContent.includes('no picture yet')")
    drop(one, red.read_bytes())
    one.answered()
    assert one.page.get_by_role("tab", name="Picture").first.get_attribute("aria-selected") == "true"
    one.page.get_by_role("tab", name="Inside the network").click()
    strip = one.page.get_by_role("tablist", name="Layers")
    strip.wait_for()
    titles = strip.locator(".title").all_inner_texts()
    assert titles[:3] == ["picture", "Conv, 3x3, 8", "MaxPool, 2x2"]
    assert "8 maps of 16 × 16" in one.page.get_by_role("tabpanel", name=titles[1]).inner_text()
    strip.get_by_role("tab").nth(1).press("ArrowRight")
    assert "8 maps of 8 × 8" in one.page.locator("#layer").inner_text()
    assert one.page.locator(".maps img").count() == 8
    strip.get_by_role("tab").nth(2).press("Home")
    assert "16 × 16 pixels" in one.page.locator("#layer").inner_text()
    assert one.page.locator("#filters img").count() == 8
    one.page.get_by_label("Network", exact=True).select_option(index=1)
    one.page.get_by_role("tablist", name="Layers").wait_for()
    one.check()
