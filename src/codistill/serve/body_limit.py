"""The limits of a request's body: bytes, and the seconds in which it must have come.

An ASGI middleware. A body that says it is too long is refused unread; one that lies is cut off when it passes the limit.
"""

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class _RefusedError(Exception):
    """Ends the application's reading."""

    def __init__(self, status: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.status, self.reason, self.text = status, reason, text


class BodyLimit:
    """The middleware.

    Args:
        app: what it guards.
        max_body: bytes.
        seconds: from the request's start to the end of its body.
        refused: is told reason and text of every refusal (`body`, `slow`).
    """

    def __init__(
        self, app: ASGIApp, max_body: int, seconds: float, refused: Callable[[str, str], None]
    ) -> None:
        self.app, self.max_body, self.seconds, self.refused = app, max_body, seconds, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            if length.isdigit() and int(length) > self.max_body:
                raise self._too_long(f"{length} bytes")
            await self.app(scope, self._counted(receive), sending)
        except _RefusedError as refusal:
            self.refused(refusal.reason, refusal.text)
            if began:
                raise
            answer = JSONResponse({"detail": refusal.text}, refusal.status, headers={"connection": "close"})
            await answer(scope, receive, send)

    def _counted(self, receive: Receive) -> Receive:
        received, ended = 0, False
        until = asyncio.get_running_loop().time() + self.seconds

        async def counting() -> Message:
            nonlocal received, ended
            if ended:  # only "the client has left" can follow, at any time
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise _RefusedError(
                    408, "slow", f"the request's body did not come within {self.seconds:g} seconds"
                ) from None
            received += len(message.get("body", b""))
            ended = message["type"] != "http.request" or not message.get("more_body", False)
            if received > self.max_body:
                raise self._too_long("more")
            return message

        return counting

    def _too_long(self, given: str) -> _RefusedError:
        return _RefusedError(
            413, "body", f"a request has at most {self.max_body} bytes; this one has {given}: reduce the picture"
        )
