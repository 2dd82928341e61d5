"""What the page's tests share: Chromium, and `tench serve` of two small networks in a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from visiting import CHROMIUM, MAX_MIB, Serving, Visit, again

import tench


@pytest.fixture(scope="session")
def page_server(tiny_net: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """`tench serve` of two networks, in a process of its own."""
    folder = tmp_path_factory.mktemp("page") / "runs"
    how: dict[str, Any] = {"batch_size": 8, "learn_rate": 0.05, "device": "cpu", "threads": 1, "runs": folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tench.confidence.fit.ENOUGH", 6)  # as many as their `select` has
        first, second = (tench.train(tiny_net, tiny_folder, epochs=4, seed=seed, **how) for seed in (0, 1))
    data = first.record.data.model_dump() | {"is_demo": True, "name": "demo pictures (pictograms)"}
    demo = again(first, "drawn", data=data)
    command = [sys.executable, "-m", "tench", "serve", str(first.folder), str(second.folder), "--port", "0", "--max-mib", str(MAX_MIB)]
    process = subprocess.Popen(
        [*command, "--threads", "1"], stdout=subprocess.PIPE, text=True, env=os.environ | {"TENCH_RUNS": str(folder)}
    )
    try:
        assert process.stdout
        address = next(found.group() for line in process.stdout if (found := re.search(r"http://\S+/", line)))
        yield Serving(address, folder, (first, second), demo)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium. Closed after each file: while one is open in a process, no other can be started there."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visit(chromium: Any, page_server: Serving) -> Iterator[Callable[..., Visit]]:
    """Opens the page; what was opened is closed after the test."""
    opened: list[Visit] = []

    def open_(path: str = "", **options: Any) -> Visit:
        opened.append(Visit(chromium, page_server, path, **options))
        return opened[-1]

    yield open_
    for one in opened:
        one.context.close()
