"""Pictures of the page of `tench serve` for the documentation, of demo pictures alone: docs/images/serve*.png.

With TENCH_RUNS two finished runs on demo pictures are taken from there, else the quick study is trained on demo pictures in a
temporary folder, which takes minutes. Needs Chromium and playwright.
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from tench.records import list_runs

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
TENCH = str(Path(sys.executable).parent / "tench")
MOST_BYTES = 200_000
PICTURE = 4
"""Of the demo pictures: a church."""


def main() -> None:
    """Serve, look, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=IMAGES, help="where the pictures go")
    parser.add_argument("--picture", type=int, default=PICTURE, help="which demo picture is asked about, 0 to 9")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("There is no Chromium to look with. As root: apt-get install chromium")
    with tempfile.TemporaryDirectory() as temporary:
        runs = Path(os.environ.get("TENCH_RUNS") or trained(Path(temporary)))
        with serving(served(runs), runs) as address:
            look(chromium, address, options.picture, options.folder)


def trained(folder: Path) -> Path:
    """A runs folder with the quick study on demo pictures."""
    environment = os.environ | {"TENCH_RUNS": str(folder / "runs"), "TENCH_CACHE": str(folder / "cache")}
    command = [TENCH, "study", "--quick", "--data", "pictograms"]
    subprocess.run(command, env=environment, check=True)
    return folder / "runs"


def served(runs: Path) -> list[str]:
    """The ids of the two best finished runs on demo pictures, of different networks where there are any."""
    listing = [run for run in list_runs(runs).runs if run.record.status == "finished" and run.record.data.is_demo]
    best = sorted(
        (run for run in listing if run.weights_path.is_file()), key=lambda run: -(run.record.result.top1 if run.record.result else 0)
    )
    if not best:
        sys.exit(f"{runs} has no finished run on demo pictures; leave TENCH_RUNS away to train some.")
    others = [run for run in best if run.record.network.name != best[0].record.network.name] or best[1:]
    # What tench trained from scratch comes first, then what it is set against.
    return [run.id for run in sorted((best[0], *others[:1]), key=lambda run: run.record.kind != "train")]


@contextmanager
def serving(models: list[str], runs: Path) -> Iterator[str]:
    """The address of a server of `models`."""
    environment = os.environ | {"TENCH_RUNS": str(runs)}
    process = subprocess.Popen([TENCH, "serve", *models, "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout
        yield next(match.group() for line in process.stdout if (match := re.search(r"http://\S+/", line)))
    finally:
        process.terminate()
        process.wait(20)


def look(chromium: str, address: str, picture: int, folder: Path) -> None:
    """Write serve.png, serve-runs.png and serve-phone.png into `folder`."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1120, "height": 900}, locale="en-GB", color_scheme="light", reduced_motion="reduce")
        asked(page, address, picture)
        write(page.screenshot(full_page=True), folder / "serve.png")
        page.click("#tab-runs")
        page.wait_for_selector("#curves svg")
        toggles = page.locator(".toggle:enabled")
        for i in range(1, min(3, toggles.count())):
            toggles.nth(i).click()
        page.evaluate("document.activeElement.blur()")
        write(page.screenshot(full_page=True), folder / "serve-runs.png")
        phone = browser.new_page(
            viewport={"width": 390, "height": 844}, locale="en-GB", color_scheme="dark", has_touch=True, is_mobile=True
        )
        asked(phone, address, picture)
        write(phone.screenshot(clip={"x": 0, "y": 0, "width": 390, "height": 1500}, full_page=True), folder / "serve-phone.png")
        browser.close()


def asked(page: Any, address: str, picture: int) -> None:
    """The page, answered about a demo picture."""
    page.goto(address)
    page.locator("#demo-pictures button").nth(picture).click()
    page.wait_for_selector(".card")
    for card in page.locator(".card").all():
        card.locator("figcaption", has_text=re.compile("Grad-CAM|Occlusion")).wait_for()
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")


def write(png: bytes, path: Path) -> None:
    """As a palette PNG of as many colours as MOST_BYTES let there be."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (256, 128, 64, 32):
        file = io.BytesIO()
        palette = image.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=6)
        image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(file, "PNG", optimize=True)
        if file.tell() <= MOST_BYTES:
            break
    else:
        sys.exit(f"{path.name} does not become smaller than {MOST_BYTES:,} bytes.")
    path.write_bytes(file.getvalue())
    print(f"{path}: {image.width} x {image.height}, {colours} colours, {file.tell():,} bytes")


if __name__ == "__main__":
    main()
