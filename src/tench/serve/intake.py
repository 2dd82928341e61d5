"""Bodies of requests, taken in within bounds: counted while they stream, never on disk."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import Request
from starlette.requests import ClientDisconnect

from tench.serve.limits import MIB, Limits
from tench.serve.refusals import Refusal, busy


class Intake:
    """Takes bodies in, and counts the requests in work."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held_bytes = 0
        """Of all bodies that are in memory now."""
        self.working = 0
        """Requests whose bodies are there and whose answers are not."""

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The whole body, in memory until the block ends. Raises Refusal for one that is too large, too slow, or one too many."""
        held = _Held(self)
        try:
            data = await self._received(request, held)
            if self.working >= self.limits.waiting:
                raise busy()
            self.working += 1
            try:
                yield data
            finally:
                self.working -= 1
        finally:
            held.let_go()

    async def _received(self, request: Request, held: "_Held") -> bytes:
        # A length that is announced need not be true: it is only good enough to refuse early.
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced[:20]) > self.limits.max_bytes:
            await self._linger(request)
            raise self._too_large()
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(self.limits.upload_s):
                async for chunk in request.stream():
                    held.hold(len(chunk))
                    chunks.append(chunk)
        except TimeoutError:
            message = f"The request had not arrived after {self.limits.upload_s:g} seconds; send a smaller picture."
            raise Refusal(408, "upload_too_slow", message, {"Connection": "close"}) from None
        except _TooLarge:
            chunks.clear()
            held.let_go()
            await self._linger(request)
            raise self._too_large() from None
        return b"".join(chunks)

    def _too_large(self) -> Refusal:
        most = f"{self.limits.max_bytes / MIB:g} MiB"
        message = f"The request is larger than {most}, the most this server takes; send a smaller picture, or fewer at once."
        return Refusal(413, "too_large", message, {"Connection": "close"})

    async def _linger(self, request: Request) -> None:
        """Read on and keep nothing: a connection closed upon a sender is reset, and the sender never sees the answer."""
        if "expect" in request.headers:
            return  # it has not begun to send
        with suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(self.limits.linger_s):
                while (message := await request.receive())["type"] == "http.request" and message.get("more_body"):
                    pass


class _TooLarge(Exception):  # noqa: N818 (caught here)
    pass


class _Held:
    """The bytes that one request holds."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.n = 0

    def hold(self, n: int) -> None:
        limits = self.intake.limits
        self.n += n
        self.intake.held_bytes += n
        if self.n > limits.max_bytes:
            raise _TooLarge
        if self.intake.held_bytes > limits.bodies * limits.max_bytes:
            raise busy()

    def let_go(self) -> None:
        self.intake.held_bytes -= self.n
        self.n = 0
