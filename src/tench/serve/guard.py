"""Who may ask: this machine alone, or whoever has the token; never a foreign page. And what every response forbids the browser."""

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tench.serve.refusals import Refusal

LOOPBACK = frozenset(("127.0.0.1", "localhost", "[::1]"))
CONTENT_POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ALWAYS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=()",
}
"""Of every response."""


@dataclass(frozen=True)
class Door:
    """Who is let in. `host` is what the server is bound to, `token` what must be known; None: nothing, for it is loopback."""

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None

    @property
    def cookie(self) -> str:
        """Its name; browsers keep cookies by host and not by port."""
        return f"tench-{self.port}"

    def knows_host(self, header: str) -> bool:
        """Whether a request for this Host is meant for this server, and not for a name that a stranger made point here.

        Where it is bound to all addresses these are any address in digits, which no stranger can give another meaning, and the
        machine's own name.
        """
        name = host_name(header)
        if name in LOOPBACK or name == _bracketed(self.host.lower()):
            return True
        return self.host in ("0.0.0.0", "::", "") and (_is_address(name) or name in _own_names())

    def knows_token(self, given: str | None) -> bool:
        """Whether it is the right token, found out in a time that does not tell how much of it is."""
        return self.token is None or (given is not None and secrets.compare_digest(given.encode(), self.token.encode()))


def host_name(header: str) -> str:
    """A Host header without its port, in small letters."""
    name, colon, port = header.strip().lower().rpartition(":")
    return name if colon and port.isdecimal() else header.strip().lower()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _own_names() -> tuple[str, str]:
    name = socket.gethostname().lower()
    return name, f"{name}.local"


class Guard:
    """Stands before the whole application."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(ALWAYS)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        try:
            self._check(scope)
        except Refusal as refusal:
            await refusal.response()(scope, receive, guarded)
            return
        if token := self._token_in_address(scope):
            await self._entered(token)(scope, receive, guarded)
            return
        await self.app(scope, receive, guarded)

    def _check(self, scope: Scope) -> None:
        """Raises Refusal."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self.door.knows_host(host):
            raise Refusal(403, "foreign_host", f"This server is not called '{host[:100]}'; open it by the address it printed.")
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host.lower():
            raise Refusal(403, "foreign_page", "Another site's page may not use this server; open the server's own page.")
        if not self.door.knows_token(_token(headers, self.door.cookie)) and not self._token_in_address(scope):
            message = "This server asks for its token: open the address it printed, or send the token as Authorization: Bearer."
            raise Refusal(403, "no_token", message)

    def _token_in_address(self, scope: Scope) -> str | None:
        """The right token, where the page is opened with it: `/?token=...`."""
        if self.door.token is None or scope["path"] != "/" or scope["method"] != "GET":
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return given if self.door.knows_token(given) else None

    def _entered(self, token: str) -> RedirectResponse:
        """The token goes into a cookie that no script reads, and out of the address, which browsers remember and show."""
        response = RedirectResponse("/", 303)
        response.set_cookie(self.door.cookie, token, httponly=True, samesite="strict", path="/")
        return response


def _token(headers: Headers, cookie: str) -> str | None:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    return cookie_parser(headers.get("cookie", "")).get(cookie)
