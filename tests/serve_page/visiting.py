"""Chromium, a server to visit with it, and a page that is listened to."""

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tench.records import Run, create_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MAX_MIB = 1
IN_A_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: the page was not looked at in a browser. As root: apt-get install chromium"),
]
WIDTHS = (390, 820, 1440)


@dataclass(frozen=True)
class Serving:
    """A server's address, and the runs folder it shows: two runs that are served, and one that says it learnt demo pictures."""

    address: str
    runs: Path
    served: tuple[Run, Run]
    demo: Run


def again(run: Run, name: str, **changes: Any) -> Run:
    """Another run with the same record but for its name and `changes`."""
    facts = run.record.model_dump() | {"run_id": name, "identity": name.ljust(64, "0"), "row": name} | changes
    return create_run(run.folder.parent, type(run.record).model_validate(facts))


WATCH = """
window.refusedByPolicy = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.refusedByPolicy.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


class Visit:
    """The page in a context of its own, all that it said, and all that it asked for."""

    def __init__(self, browser: Any, serving: Serving, path: str = "", width: int = 1440, locale: str = "en-GB", **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, locale=locale, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.add_init_script(WATCH)
        self.serving = serving
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(serving.address + path)
        self.page.wait_for_selector("#page:not([hidden]), #operations > *")

    def check(self, allowed: str = r"$.") -> None:
        """Nothing on the console but what matches `allowed`, nothing refused by the content policy, nothing asked of other servers."""
        assert [text for text in self.said if not re.search(allowed, text)] == []
        assert self.page.evaluate("window.refusedByPolicy") == []
        own = (self.serving.address, "data:", f"blob:{self.serving.address}")
        assert [url for url in self.asked if not url.startswith(own)] == []

    def until(self, expression: str, seconds: float = 20) -> None:
        """Wait until a JavaScript expression is true. Playwright's own way evaluates strings in the page, which its policy forbids."""
        for _ in range(round(seconds / 0.05)):
            if self.page.evaluate(expression):
                return
            time.sleep(0.05)
        raise AssertionError(f"This did not come true: {expression}\n{self.page.locator('body').inner_text()}")

    def answered(self, cards: int = 2) -> None:
        """Wait until all networks have answered and their heat maps are there."""
        self.until(f"document.querySelectorAll('.card').length === {cards}")
        self.until("[...document.querySelectorAll('.seen figcaption')].every((one) => one.textContent.includes('Grad-CAM'))")
