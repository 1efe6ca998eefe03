"""ASGI middleware that limits a request's body: its bytes, and the seconds in which it must arrive.

A body whose Content-Length exceeds the limit is refused unread. A body that is longer than it says is cut off at the
limit.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class _RefusedError(Exception):
    """Raised to stop the application from reading the body."""


@dataclass
class _Request:
    """State of one request.

    Attributes:
        until: time of the event loop by which the body must have arrived.
        refusal: status, reason and text, once a limit is exceeded.
        answered: whether the response has begun.
    """

    until: float
    received: int = 0
    ended: bool = False
    refusal: tuple[int, str, str] | None = None
    answered: bool = False


class BodyLimit:
    """The middleware. After a refusal, the application's own response, made from a part of the body, is not sent.

    Args:
        app: the application.
        max_body: largest number of bytes of a body.
        seconds: time allowed from the request's start to the end of its body.
        refused: called with reason (`body`, `slow`) and text of every refusal.
    """

    def __init__(
        self, app: ASGIApp, max_body: int, seconds: float, refused: Callable[[str, str], None]
    ) -> None:
        self.app, self.max_body, self.seconds, self.refused = app, max_body, seconds, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Request(asyncio.get_running_loop().time() + self.seconds)
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length) > self.max_body:
            request.refusal = self._too_long(f"{length} bytes")
        else:
            with suppress(_RefusedError):
                await self.app(scope, self._counted(receive, request), self._sending(send, request))
        if request.refusal is None:
            return
        status, reason, text = request.refusal
        self.refused(reason, text)
        if not request.answered:
            answer = JSONResponse({"detail": text}, status, headers={"connection": "close"})
            await answer(scope, receive, send)

    def _sending(self, send: Send, request: _Request) -> Send:
        async def sending(message: Message) -> None:
            if request.refusal is None or request.answered:
                request.answered = True
                await send(message)

        return sending

    def _counted(self, receive: Receive, request: _Request) -> Receive:
        async def counting() -> Message:
            if request.refusal is not None:
                raise _RefusedError
            if request.ended:  # only the client's disconnect can follow
                return await receive()
            try:
                async with asyncio.timeout_at(request.until):
                    message = await receive()
            except TimeoutError:
                text = f"the request's body did not come within {self.seconds:g} seconds"
                request.refusal = (408, "slow", text)
                raise _RefusedError from None
            request.received += len(message.get("body", b""))
            request.ended = message["type"] != "http.request" or not message.get("more_body", False)
            if request.received > self.max_body:
                request.refusal = self._too_long("more")
                raise _RefusedError
            return message

        return counting

    def _too_long(self, given: str) -> tuple[int, str, str]:
        text = f"a request has at most {self.max_body} bytes; this one has {given}: reduce the picture"
        return 413, "body", text
