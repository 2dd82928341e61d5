"""A real server on a real socket: what clients do that no test client does."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from served import picture

from tench.records import Run
from tench.serve.desk import Desk
from tench.serve.start import bind, server_of

pytest_plugins = ["served_fixtures"]

MakeDesk = Callable[..., Desk]
RED = picture()


@contextmanager
def serving(desk: Desk) -> Iterator[int]:
    """The port of a server in a thread."""
    place = bind("127.0.0.1", 0)
    server = server_of(desk, place.door)
    thread = threading.Thread(target=server.run, args=([place.listening],))
    thread.start()
    try:
        yield place.door.port
    finally:
        server.should_exit = True
        thread.join(10)


def answer(port: int, request: bytes, then: bytes = b"", pause_s: float = 0.0) -> bytes:
    """All that comes back for these very bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        time.sleep(pause_s)
        if then:
            connection.sendall(then)
        received = b""
        with suppress(ConnectionResetError):  # the server did not wait for the rest
            while chunk := connection.recv(65536):
                received += chunk
        return received


def get(port: int, path: str, host: str = "localhost") -> bytes:
    return answer(port, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())


def post_head(length: str, more: str = "") -> bytes:
    return f"POST /api/predict?models=m1 HTTP/1.1\r\nHost: localhost\r\n{length}\r\nConnection: close\r\n{more}\r\n".encode()


def is_well(port: int) -> bool:
    """Whether the server answers as ever."""
    return answer(port, post_head(f"Content-Length: {len(RED)}"), RED).startswith(b"HTTP/1.1 200")


def held(desk: Desk) -> int:
    """Bytes of bodies in memory, once what has ended is over."""
    for _ in range(250):
        if not desk.intake.held_bytes:
            break
        time.sleep(0.02)
    return desk.intake.held_bytes


def test_a_chunked_body_that_is_too_large_is_refused_while_it_streams(make_desk: MakeDesk) -> None:
    desk = make_desk(max_bytes=100_000, linger_s=0.2)
    with serving(desk) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(post_head("Transfer-Encoding: chunked"))
        chunk = b"2710\r\n" + bytes(10_000) + b"\r\n"
        for _ in range(12):  # and it never ends
            connection.sendall(chunk)
        received = b""
        while b'"too_large"' not in received:
            received += connection.recv(65536) or pytest.fail(received.decode())
        assert received.startswith(b"HTTP/1.1 413")
        assert desk.intake.held_bytes == 0
        assert is_well(port)


def test_the_sender_of_a_whole_body_that_is_too_large_hears_why(make_desk: MakeDesk) -> None:
    """Were the connection closed upon it, it would be reset."""
    with serving(make_desk(max_bytes=100_000)) as port:
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", "/api/predict", bytes(8_000_000))
            response = connection.getresponse()
            assert response.status == 413
            assert json.loads(response.read())["error"]["code"] == "too_large"
            connection.close()


def test_a_length_that_lies_is_not_believed(make_desk: MakeDesk) -> None:
    desk = make_desk(max_bytes=100_000, linger_s=0.2)
    with serving(desk) as port:
        assert answer(port, post_head("Content-Length: 1000000000000", "Expect: 100-continue\r\n")).startswith(b"HTTP/1.1 413")
        longer = answer(port, post_head(f"Content-Length: {len(RED)}"), RED + bytes(200_000))
        assert longer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400")), "what comes after the body is no part of it, nor a request"
        for nonsense in ("Content-Length: -1", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: x", "Content-Length: 1e9"):
            assert answer(port, post_head(nonsense)).startswith(b"HTTP/1.1 400"), nonsense
        both = answer(port, post_head("Content-Length: 3\r\nTransfer-Encoding: chunked"), b"0\r\n\r\n")
        assert both.startswith((b"HTTP/1.1 400", b"HTTP/1.1 415")), "an empty body, if anything"
        assert held(desk) == 0
        assert is_well(port)


def test_a_slow_upload_is_given_up(make_desk: MakeDesk) -> None:
    desk = make_desk(upload_s=0.3)
    with serving(desk) as port:
        received = answer(port, post_head("Content-Length: 1000"), bytes(10), pause_s=0.1)
        assert received.startswith(b"HTTP/1.1 408")
        assert b'"upload_too_slow"' in received
        assert held(desk) == 0


def test_an_upload_that_is_broken_off_leaves_nothing_behind(make_desk: MakeDesk, capfd: pytest.CaptureFixture[str]) -> None:
    desk = make_desk()
    with serving(desk) as port:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(post_head("Content-Length: 1000000") + bytes(100_000))
        assert held(desk) == 0
        assert desk.intake.working == 0
        assert is_well(port)
    assert capfd.readouterr().err == "", "nothing to complain of"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/../../../../../../etc/passwd",
        "/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/..%5capp.py",
        "/static/.",
        "/static/..",
        "/static/",
        "/../../etc/passwd",
        "//etc/passwd",
        "/api/demo/../../../etc/passwd",
        "/api/demo/..%2f..%2fapp.png",
    ],
)
def test_no_path_leads_out(live_port: int, path: str) -> None:
    received = get(live_port, path)
    assert received.startswith((b"HTTP/1.1 404", b"HTTP/1.1 422")), received[:200]
    assert b"root:" not in received
    assert b"FastAPI" not in received


@pytest.fixture(scope="module")
def live_port(served_run: Run, served_runs: Path) -> Iterator[int]:
    """A server of one small network, for requests that change nothing."""
    from served import Colours

    from tench.serve.models import Models

    desk = Desk(Models([Colours]), runs=served_runs)
    with serving(desk) as port:
        yield port
    desk.close()


def test_a_foreign_host_is_refused_on_the_wire(live_port: int) -> None:
    assert get(live_port, "/api/models", "evil.example").startswith(b"HTTP/1.1 403")
    assert get(live_port, "/api/models", f"127.0.0.1:{live_port}").startswith(b"HTTP/1.1 200")
    forwarded = b"GET /api/models HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\nConnection: close\r\n\r\n"
    assert answer(live_port, forwarded).startswith(b"HTTP/1.1 403")
    assert answer(live_port, b"GET /api/models HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403")
    assert answer(live_port, b"GET /api/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_what_is_no_http_is_refused(live_port: int) -> None:
    assert answer(live_port, b"\x16\x03\x01rubbish\r\n\r\n").startswith(b"HTTP/1.1 400")
    endless = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000
    assert b" 200 " not in answer(live_port, endless)[:20]
    assert get(live_port, "/api/models").startswith(b"HTTP/1.1 200")
    websocket = b"GET /api/models HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with socket.create_connection(("127.0.0.1", live_port), timeout=10) as connection:
        connection.sendall(websocket)
        assert b"101 Switching" not in connection.recv(1000)


# --- the command in a process of its own -----------------------------------------------------------------------------


@contextmanager
def command(*words: object, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`tench serve` with `words`, and the line of its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tench", "serve", "--port", "0", "--threads", "1", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(2)]
        if not lines[1]:
            raise AssertionError(process.communicate()[1])
        yield process, "".join(lines)
    finally:
        process.kill()
        process.communicate()


def port_in(lines: str) -> int:
    return int(re.findall(r"http://[^/]+:(\d+)/", lines)[0])


def test_ctrl_c_ends_it_in_peace(served_run: Run, served_runs: Path) -> None:
    """Also with a connection that is kept open, and one that is half way through an upload."""
    with command(TENCH_RUNS=str(served_runs)) as (process, lines):
        assert re.fullmatch(rf"Serving {served_run.id}\nhttp://127\.0\.0\.1:\d+/  Ctrl-C ends it\.\n", lines)
        port = port_in(lines)
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        kept.request("POST", "/api/predict", RED)
        assert json.loads(kept.getresponse().read())["answers"][0]["model"] == "m0"
        with socket.create_connection(("127.0.0.1", port)) as half_way:
            half_way.sendall(post_head("Content-Length: 1000"))
            process.send_signal(signal.SIGINT)
            assert process.wait(15) == 0
        assert process.communicate() == ("", "")
        kept.close()


def test_the_best_finished_run_is_served_with_nothing_named_and_the_token_is_printed(served_run: Run, served_runs: Path) -> None:
    with command("--host", "0.0.0.0", "--max-mib", "0.5", TENCH_RUNS=str(served_runs)) as (process, lines):
        token = re.findall(r"/\?token=([\w-]{43})  Ctrl-C ends it", lines)[0]
        port = port_in(lines)
        assert get(port, "/api/models").startswith(b"HTTP/1.1 403")
        request = f"GET /api/models HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        received = answer(port, request.encode())
        found: Any = json.loads(received.partition(b"\r\n\r\n")[2])
        assert found["limits"]["max_bytes"] == 2**19
        assert [model["name"] for model in found["models"]] == [served_run.id]
        process.terminate()
        assert process.wait(15) == 0


def resident_mib(pid: int) -> float:
    """Memory of a process, in MiB."""
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory of another process is read as Linux tells it")
def test_fifty_clients_at_once_and_memory_stays_flat(served_run: Run, served_runs: Path) -> None:
    """500 requests, most of large pictures, some of rubbish and some broken off."""
    large = picture(size=(2000, 1500), form="JPEG")
    statuses: list[int] = []

    def client(number: int, requests: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for turn in range(requests):
            body = RED if turn % 5 == 0 else b"rubbish" if turn % 5 == 1 else large
            connection.request("POST", "/api/explain?model=m0" if turn % 5 == 4 else "/api/predict", body)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()
        with socket.create_connection(("127.0.0.1", port)) as broken_off:
            broken_off.sendall(post_head("Content-Length: 9000000") + bytes(100_000))

    def all_at_once(requests: int) -> None:
        clients = [threading.Thread(target=client, args=(number, requests)) for number in range(50)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()

    with command(served_run.folder, TENCH_RUNS=str(served_runs)) as (process, lines):
        port = port_in(lines)
        all_at_once(5)
        before = resident_mib(process.pid)
        statuses.clear()
        all_at_once(10)
        assert resident_mib(process.pid) - before < 60
        assert len(statuses) == 500
        assert {status: statuses.count(status) for status in set(statuses)} == {200: 400, 415: 100}
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
