"""Starting a server and ending it."""

import ipaddress
import secrets
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from tench.errors import UsageError
from tench.serve.app import application
from tench.serve.desk import Desk
from tench.serve.guard import Door

CONNECTIONS = 512
"""At once; more are told to come again."""
GRACE_S = 3
"""For answers that are being computed when the server is ended."""


@dataclass(frozen=True)
class Place:
    """A bound and listening socket, and the door before it."""

    listening: socket.socket
    door: Door

    @property
    def address(self) -> str:
        """What to open; with the token where there is one. Bound to all addresses, it is the machine's name."""
        host = self.door.host
        shown = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.door.port}/" + (f"?token={self.door.token}" if self.door.token else "")


def bind(host: str, port: int) -> Place:
    """Listen on `host`; port 0 is any free one. Elsewhere than on loopback a token is made. Raises UsageError where that cannot be."""
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(where[:2], family=family, backlog=128)
        # Connections inherit it. asyncio sets it on sockets of its own making only, and without it an answer that is sent in two parts
        # waits for the first one's receipt: 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, UnicodeError, OverflowError) as error:
        raise UsageError(
            f"The server cannot listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}."
            " Name another --port, 0 for any free one, or another --host."
        ) from None
    address, bound = listening.getsockname()[:2]
    token = None if ipaddress.ip_address(address).is_loopback else secrets.token_urlsafe(32)
    return Place(listening, Door(host, bound, token))


def run(desk: Desk, place: Place, browser: bool = False, say: Callable[[str], None] = print) -> None:
    """Serve until Ctrl-C or SIGTERM; `browser`: open the page in one."""
    server = server_of(desk, place.door)
    say(f"Serving {', '.join(model.answering.name for model in desk.models.all)}")
    say(f"{place.address}  Ctrl-C ends it.")
    sys.stdout.flush()
    if browser:
        # The socket listens already: a browser that is quicker than the server waits.
        threading.Thread(target=webbrowser.open, args=(place.address,), daemon=True).start()
    # uvicorn ends in peace and then gives the signal to whoever had it before, and to them it is over.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[place.listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        desk.close()


def server_of(desk: Desk, door: Door) -> uvicorn.Server:
    """uvicorn, set up to serve `desk` to whom `door` lets in."""
    config = uvicorn.Config(
        application(desk, door),
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_level="error",  # anyone could fill the terminal with warnings of nonsense sent
        access_log=False,
        proxy_headers=False,  # whoever sends such headers is not believed
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=GRACE_S,
    )
    return uvicorn.Server(config)
