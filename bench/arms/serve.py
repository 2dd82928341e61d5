"""One photograph asked about again and again by several clients at once: `tench serve` over HTTP, or ONNX Runtime in this process."""

import argparse
import contextlib
import http.client
import io
import json
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

Ask = Callable[[], float]
"""Asks once; gives the highest probability."""
Client = Callable[[], Ask]
"""Makes what one client asks with."""


def options_of(words: list[str] | None = None) -> argparse.Namespace:
    """What is to be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=("tench", "onnxruntime"))
    parser.add_argument("model", help="of tench: what `tench serve` is given")
    parser.add_argument("onnx", type=Path, help="the same network")
    parser.add_argument("photograph", type=Path)
    parser.add_argument("--size", type=int, required=True, help="of the network's picture, pixels a side")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--requests", type=int, default=200, help="of each client")
    parser.add_argument("--weights", help="of googlenet")
    return parser.parse_args(words)


@contextlib.contextmanager
def by_tench(options: argparse.Namespace) -> Iterator[Client]:
    """A server in a process of its own; each client keeps its connection."""
    weights = ["--weights", options.weights] if options.weights else []
    command = [sys.executable, "-m", "tench", "serve", options.model, "--port", "0", "--classes", "all", *weights]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    server.stdout.readline()
    port = int(re.findall(r":(\d+)/", server.stdout.readline())[0])
    data = options.photograph.read_bytes()

    def client() -> Ask:
        connection = http.client.HTTPConnection("127.0.0.1", port)

        def ask() -> float:
            connection.request("POST", "/api/predict?top=1", data)
            return float(json.loads(connection.getresponse().read())["answers"][0]["guesses"][0]["probability"])

        return ask

    try:
        yield client
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


@contextlib.contextmanager
def by_onnxruntime(options: argparse.Namespace) -> Iterator[Client]:
    """Decoding, resizing and running, as most scripts do it; clients share the session."""
    import onnxruntime

    session = onnxruntime.InferenceSession(options.onnx.read_bytes(), providers=["CPUExecutionProvider"])
    data = options.photograph.read_bytes()

    def ask() -> float:
        image = Image.open(io.BytesIO(data)).convert("RGB").resize((options.size, options.size), Image.Resampling.BILINEAR)
        logits = session.run(["logits"], {session.get_inputs()[0].name: np.asarray(image)[None]})[0][0]
        shifted = np.exp(logits - logits.max())
        return float((shifted / shifted.sum()).max())

    yield lambda: ask


def latencies(client: Client, clients: int, requests: int) -> list[float]:
    """Seconds of every request, of all clients; each has asked a few times before."""
    found: list[float] = []
    together = threading.Barrier(clients)

    def work() -> None:
        ask = client()
        for _ in range(5):
            ask()
        together.wait()
        for _ in range(requests):
            began = time.perf_counter()
            ask()
            found.append(time.perf_counter() - began)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


if __name__ == "__main__":
    chosen = options_of()
    with (by_tench if chosen.engine == "tench" else by_onnxruntime)(chosen) as made:
        taken = latencies(made, chosen.clients, chosen.requests)
        parts = statistics.quantiles(taken, n=100, method="inclusive")
        print(json.dumps({"p50_s": parts[49], "p99_s": parts[98], "requests": len(taken), "probability": made()()}))
